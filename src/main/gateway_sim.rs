//! `souk gateway-sim` on the command line: what it understands. The work is in `souk::gateway_sim`.

use std::{io::Write, net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;
use souk::{
    app::serve::serve,
    config::Limits,
    gateway_sim::{self, Rule},
};
use tokio::net::TcpListener;

/// Run a payment provider to try a shop with: it moves no money.
#[derive(Args)]
pub(super) struct GatewaySim {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Its ledger: a file of JSON lines, made where it is missing.
    #[arg(long, value_name = "FILE", default_value = "gateway-ledger.jsonl")]
    ledger: PathBuf,
    /// A JSON file with the rules by which it fails (docs/OPERATIONS.md); `PUT /script` replaces them.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// How long every answer takes, in milliseconds, where no rule says otherwise.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    latency_ms: u64,
}

impl GatewaySim {
    /// Serves until it is told to stop.
    pub(super) async fn run(self, stop: impl Future<Output = ()>) -> Result<ExitCode> {
        let named = |path: &PathBuf| path.display().to_string();
        let mut rules: Vec<Rule> = match &self.script {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| named(path))?;
                serde_json::from_str(&text).with_context(|| named(path))?
            }
            None => Vec::new(),
        };
        if self.latency_ms > 0 {
            rules.push(Rule { latency_ms: self.latency_ms, ..Rule::default() });
        }
        let provider = gateway_sim::open(&self.ledger, rules).with_context(|| named(&self.ledger))?;
        let listener = TcpListener::bind(self.listen).await.with_context(|| format!("listening on {}", self.listen))?;
        println!("The simulated provider listens on http://{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        serve(provider, listener, &Limits::default(), stop).await;
        Ok(ExitCode::SUCCESS)
    }
}
