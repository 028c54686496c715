//! The command line of the provider: its options, and serving until it is stopped.
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

/// The prefix of the errors of an address that cannot be listened on, by which a program picks the remedy.
pub const LISTENING: &str = "listening on";
/// The environment variable with the webhook signing secret. It is not an option, because everybody on the machine can
/// see a command line.
const SECRET_VARIABLE: &str = "GATEWAY_SIM_WEBHOOK_SECRET";
/// How long requests in flight may take to finish after the stop.
const DRAIN_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// The options of `souk gateway-sim`.
#[derive(Args)]
pub struct Options {
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// The URL at which customers reach the provider, for the page on which they authenticate themselves; by default
    /// the address that it listens on.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The ledger: a file of JSON lines, created if it is missing.
    #[arg(long, value_name = "FILE", default_value = "gateway-ledger.jsonl")]
    ledger: PathBuf,
    /// A JSON file with the rules by which it fails (docs/OPERATIONS.md); `PUT /script` replaces them.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// How long every answer takes, in milliseconds, unless a rule says otherwise.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    latency_ms: u64,
    /// The URL of the shop's webhook, to which events are sent.
    #[arg(long, value_name = "URL", env = "GATEWAY_SIM_WEBHOOK_URL")]
    webhook_url: Option<String>,
    /// A file with the webhook signing secret; without it, the secret is in `GATEWAY_SIM_WEBHOOK_SECRET`.
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
    /// The address is in use, a file cannot be read, or the script or the webhook is not valid.
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
            Some(url) => Some(Webhook::new(url, self.secret()?).context("the URL of the webhook")?),
            None => None,
        };
        let listener = TcpListener::bind(self.listen).await.with_context(|| format!("{LISTENING} {}", self.listen))?;
        let at = format!("http://{}", listener.local_addr()?);
        let url = self.public_url.as_deref().unwrap_or(&at);
        let provider = Provider::open(Some(&self.ledger), url, script, webhook);
        let provider = provider.with_context(|| self.ledger.display().to_string())?;
        println!("The fake provider listens on {at}");
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
            // A request that the script never answers would block the shutdown for ever.
            () = drained => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The secret that signs events.
    fn secret(&self) -> Result<SecretString> {
        let text = match &self.webhook_secret_file {
            Some(path) => text_of(path)?,
            None => std::env::var(SECRET_VARIABLE)
                .with_context(|| format!("a webhook needs --webhook-secret-file or {SECRET_VARIABLE}"))?,
        };
        let text = text.trim();
        anyhow::ensure!(!text.is_empty(), "the secret of the webhook is empty");
        Ok(SecretString::from(text))
    }
}
