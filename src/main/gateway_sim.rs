//! `souk gateway-sim` on the command line: what it understands. The work is in `souk::gateway_sim`.

use std::{io::Write, net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;
use secrecy::SecretString;
use souk::{
    app::serve::serve,
    config::Limits,
    gateway_sim::{self, Rule, Script, Webhook},
    text_file,
};
use tokio::net::TcpListener;

/// The environment's variable with the secret of the notices: on the command line everybody could see it.
const SECRET_VARIABLE: &str = "GATEWAY_SIM_WEBHOOK_SECRET";

/// Run a payment provider to try a shop with: it moves no money.
#[derive(Args)]
pub(super) struct GatewaySim {
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
    /// A file with the secret that it signs its notices with; without it, the secret is in
    /// `GATEWAY_SIM_WEBHOOK_SECRET`.
    #[arg(long, value_name = "FILE")]
    webhook_secret_file: Option<PathBuf>,
}

impl GatewaySim {
    /// Serves until it is told to stop.
    pub(super) async fn run(self, stop: impl Future<Output = ()>) -> Result<ExitCode> {
        let named = |path: &PathBuf| path.display().to_string();
        let mut rules: Vec<Rule> = match &self.script {
            Some(path) => {
                let text = text_file::read(path).with_context(|| named(path))?;
                serde_json::from_str(&text).with_context(|| named(path))?
            }
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
        let public = self.public_url.as_deref().unwrap_or(&at).trim_end_matches('/');
        let page = format!("{public}/authenticate");
        let provider = gateway_sim::open(&self.ledger, page, script, webhook).with_context(|| named(&self.ledger))?;
        println!("The simulated provider listens on {at}");
        std::io::stdout().flush()?;
        serve(provider, listener, &Limits::default(), stop).await;
        Ok(ExitCode::SUCCESS)
    }

    /// What notices are signed with.
    fn secret(&self) -> Result<SecretString> {
        let text = match &self.webhook_secret_file {
            Some(path) => text_file::read(path).with_context(|| path.display().to_string())?,
            None => std::env::var(SECRET_VARIABLE)
                .with_context(|| format!("a webhook takes --webhook-secret-file or {SECRET_VARIABLE}"))?,
        };
        let text = text.trim();
        anyhow::ensure!(!text.is_empty(), "the secret of the webhook is empty");
        Ok(SecretString::from(text))
    }
}
