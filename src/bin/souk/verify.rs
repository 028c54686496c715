//! The options and the output of `souk verify`. The work is in `verify`.
//!
//! Depends on `verify`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use secrecy::SecretString;
use souk::internals::{
    text_file,
    verify::{self, Access, Login, Source, Subject},
};

use super::password_from_input;

/// Check that a shop keeps its promises.
#[derive(Args)]
pub(super) struct Verify {
    /// A running shop: `http://host:port`. An admin's access token is read from the variable SHOP_TOKEN unless
    /// `--token-file` or `--login` is given.
    #[arg(long)]
    url: Option<String>,
    /// A file with the access token of an admin.
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// Log in as this admin; the password is read from the variable SHOP_PASSWORD, or from standard input.
    #[arg(long, value_name = "EMAIL", requires = "url", conflicts_with = "token_file")]
    login: Option<String>,
    /// How long to wait for a running shop to come to rest.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    patience: u64,
    /// A history: what clients recorded of their requests and answers.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// The provider's ledger [default: the fake provider's in the data directory].
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Also write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Verify {
    /// Checks, prints the report, and returns an exit code that says whether all is well. Checks `data_dir` if it was
    /// given, or if nothing else was.
    pub(super) async fn run(self, data_dir_given: bool, data_dir: PathBuf) -> Result<ExitCode> {
        let offline = self.url.is_none() && (data_dir_given || self.history.is_none());
        let directory = offline.then_some(data_dir);
        let options = self;
        let shop = match (directory, &options.url) {
            (Some(directory), _) => Source::Directory(directory),
            (None, Some(url)) => {
                let patience = Duration::from_secs(options.patience);
                Source::Running(Access { url: url.clone(), login: login(&options)?, patience })
            }
            (None, None) => Source::Nowhere,
        };
        let subject = Subject { history: options.history, ledger: options.ledger, shop };
        // Folding the events of a damaged stream may panic; the report has that as a finding, so no message is printed.
        std::panic::set_hook(Box::new(|_| {}));
        let verdict = verify::verify(subject).await;
        if let Some(path) = options.json {
            let text = serde_json::to_vec_pretty(&verdict.report)?;
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        let clean = verdict.is_clean();
        // Findings from before the check stopped are printed; a check that has read nothing has none.
        if verdict.stopped.is_none() || !verdict.report.looked_at.is_empty() {
            println!("{}", verdict.report);
        }
        match verdict.stopped {
            Some(error) => Err(anyhow::Error::from(error).context("not everything could be checked")),
            None if clean => Ok(ExitCode::SUCCESS),
            None => Ok(ExitCode::FAILURE),
        }
    }
}

/// How to log in to a running shop. Secrets are never on the command line, where every process can read them.
fn login(options: &Verify) -> Result<Login> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    if let Some(email) = &options.login {
        let password = match variable("SHOP_PASSWORD") {
            Some(password) => password,
            None => password_from_input(email)?,
        };
        return Ok(Login::Password { email: email.clone(), password: SecretString::from(password) });
    }
    let token = match &options.token_file {
        Some(path) => text_file::read(path).with_context(|| path.display().to_string())?,
        None => variable("SHOP_TOKEN").context("an admin is needed: give SHOP_TOKEN, --token-file or --login")?,
    };
    Ok(Login::Token(SecretString::from(token.trim().to_owned())))
}
