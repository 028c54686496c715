//! The command line of the provider: its options, and serving until it is told to stop.
//!
//! Depends on `notices`, `provider`, `router` and `script`.

#![allow(clippy::print_stdout, reason = "a command line answers on standard output")]

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use secrecy::SecretString;
use tokio::net::TcpListener;

use crate::{
    notices::Webhook,
    provider::Provider,
    router::router,
    script::{Rule, Script},
};

/// The environment variable with the secret of the events: everybody on the machine can see a command line.
const SECRET_VARIABLE: &str = "GATEWAY_SIM_WEBHOOK_SECRET";
/// How long requests at work may take to finish after it was told to stop.
const DRAIN_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// The options of `souk gateway-sim`.
#[derive(Args)]
pub struct Options {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// How customers reach it, for the page on which they authenticate themselves; without it, where it listens.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Its ledger: a file of JSON lines, made where it is missing.
    #[arg(long, value_name = "FILE", default_value = "gateway-ledger.jsonl")]
    ledger: PathBuf,
    /// A JSON file with the rules by which it fails (docs/OPERATIONS.md); `PUT /script` replaces them.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// How long every answer takes, in milliseconds, where no rule says otherwise.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    latency_ms: u64,
    /// Where it announces what happened.
    #[arg(long, value_name = "URL", env = "GATEWAY_SIM_WEBHOOK_URL")]
    webhook_url: Option<String>,
    /// A file with the secret that it signs events with; without it, the secret is in `GATEWAY_SIM_WEBHOOK_SECRET`.
    #[arg(long, value_name = "FILE")]
    webhook_secret_file: Option<PathBuf>,
}

/// The text of a file, without the byte order mark that programs on Windows write before it.
fn text_of(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

impl Options {
    /// Serves until `stop` resolves.
    ///
    /// # Errors
    /// The address is taken, a file cannot be read, the script or the webhook cannot be used.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<ExitCode> {
        let mut rules: Vec<Rule> = match &self.script {
            Some(path) => serde_json::from_str(&text_of(path)?).with_context(|| path.display().to_string())?,
            None => Vec::new(),
        };
        if self.latency_ms > 0 {
            rules.push(Rule { latency_ms: self.latency_ms, ..Rule::default() });
        }
        let script = Script::new(rules).context("the script")?;
        let webhook = match &self.webhook_url {
            Some(url) => Some(Webhook::new(url, self.secret()?).context("the address of the webhook")?),
            None => None,
        };
        let listener = TcpListener::bind(self.listen).await.with_context(|| format!("listening on {}", self.listen))?;
        let at = format!("http://{}", listener.local_addr()?);
        let url = self.public_url.as_deref().unwrap_or(&at);
        let provider = Provider::open(Some(&self.ledger), url, script, webhook);
        let provider = provider.with_context(|| self.ledger.display().to_string())?;
        println!("The simulated provider listens on {at}");
        std::io::stdout().flush()?;
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let serving = axum::serve(listener, router(provider)).with_graceful_shutdown(async {
            stop.await;
            let _ = stopping.send(());
        });
        let drained = async {
            let _ = stopped.await;
            tokio::time::sleep(DRAIN_MAX).await;
        };
        tokio::select! {
            served = serving.into_future() => served?,
            // A request that the script never answers would hold it for ever.
            () = drained => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What events are signed with.
    fn secret(&self) -> Result<SecretString> {
        let text = match &self.webhook_secret_file {
            Some(path) => text_of(path)?,
            None => std::env::var(SECRET_VARIABLE)
                .with_context(|| format!("a webhook takes --webhook-secret-file or {SECRET_VARIABLE}"))?,
        };
        let text = text.trim();
        anyhow::ensure!(!text.is_empty(), "the secret of the webhook is empty");
        Ok(SecretString::from(text))
    }
}
