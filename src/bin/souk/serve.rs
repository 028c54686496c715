//! `souk serve`: opens the shop, serves it, and closes it when the process is told to end.
//!
//! Depends on `app`, `catalogue`, `domain`, `http` and `shop`.

use std::{
    io::Write,
    net::SocketAddr,
    num::NonZeroU32,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use futures::future::OptionFuture;
use souk::{
    config::Sellers,
    domain::account::Role,
    http::{self, AccessLog, Drained, LogFilter, Tls, TlsFiles},
    internals::{
        app::{
            control::{
                self,
                server::{Control, ControlLimits},
            },
            demo,
            settings::{self, AccessLogTo, Program, Settings, address},
        },
        catalogue::demo::DEMO_PRODUCTS_DEFAULT,
    },
    shop::Shop,
};
use tokio::{net::TcpListener, signal::unix::Signal, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    exit,
    logs::Logs,
    signals::{self, Stops},
};

/// How long the shop may take to finish its work and to write its last checkpoint.
const CLOSE_MAX: Duration = Duration::from_secs(180);

#[derive(Args)]
pub(crate) struct Serve {
    /// Where to listen [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Where to listen for operators: metrics, the log filter, the actors. It asks for no token [default: nowhere].
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    admin_listen: Option<SocketAddr>,
    /// The certificate of the shop and its chain, in PEM, for TLS. It is read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Fill the shop with a demo catalogue and demo logins. Never for a real shop: the passwords are known.
    #[arg(long)]
    demo: bool,
    /// How many products the demo catalogue has.
    #[arg(long, value_name = "N", default_value_t = DEMO_PRODUCTS_DEFAULT, requires = "demo")]
    demo_products: usize,
    /// What the demo catalogue is made from: the same seed makes the same catalogue.
    #[arg(long, value_name = "SEED", default_value_t = 1, requires = "demo")]
    demo_seed: u64,
}

impl Serve {
    /// Puts the options in the place of the settings of the same meaning.
    pub(crate) fn override_settings(&self, program: &mut Program) {
        if let Some(listen) = self.listen {
            program.listen = listen;
        }
        program.admin_listen = self.admin_listen.or(program.admin_listen);
        // clap sees to it that both are given.
        if let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) {
            program.tls.certificate_file = Some(certificate.clone());
            program.tls.key_file = Some(key.clone());
        }
    }

    /// Serves until told to stop; `file` is where the settings were read from.
    pub(crate) async fn run(self, settings: Settings, file: Option<PathBuf>, logs: Arc<Logs>) -> Result<ExitCode> {
        let Settings { program, shop: config } = settings;
        let (mut stops, hangups) = (Stops::new()?, signals::hangups()?);
        signals::ignore_the_meaningless();
        let tls = tls(&program.tls)?;
        let listener = bind(program.listen).await?;
        let operators = OptionFuture::from(program.admin_listen.map(bind)).await.transpose()?;
        let address = listener.local_addr()?;
        let began = Instant::now();
        let data_dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        tracing::info!(data_dir = %data_dir.display(), "opening the shop");
        let shop = Shop::open(config).await?;
        let opened_ms = began.elapsed().as_millis();
        if !self.demo && shop.config().registration.sellers == Sellers::Open {
            tracing::info!(
                "whoever registers as a seller sells; with registration.sellers = \"approval\" an admin approves them first"
            );
        }
        if self.demo {
            demo::fill(&shop, self.demo_seed, self.demo_products).await?;
        }
        let stop_control = CancellationToken::new();
        // Bound before the shop says that it listens, so that commands work from then on.
        let control = control(&shop, &stop_control);
        tracing::info!(version = souk::VERSION, commit = souk::COMMIT, %address, opened_ms, "the shop listens");
        let operators_address = operators.as_ref().map(TcpListener::local_addr).transpose()?;
        self.greet(address, if tls.is_some() { "https" } else { "http" }, operators_address);
        let hangups = tokio::spawn(take_hangups(hangups, tls.clone(), Arc::clone(&logs), file));
        let mut server = http::Server::new(shop.config());
        if let Some(tls) = tls {
            server = server.with_tls(tls);
        }
        let access_log = access_log(&program.access_log)?;
        let program = shown(&program, server.figures(), logs, access_log.clone())?;
        let program = http::Program { demo_logins: self.demo_logins(), ..program };
        let health = program.health.clone();
        let stop_operators = CancellationToken::new();
        let (router, operators) = match operators {
            None => (http::router_with(shop.clone(), program), None),
            Some(listener) => {
                let routers = http::routers(shop.clone(), program);
                let stop = stop_operators.clone().cancelled_owned();
                let server = http::Server::for_operators(shop.config());
                (routers.shop, Some(tokio::spawn(server.serve(routers.operators, listener, stop))))
            }
        };
        let drained = server.serve(router, listener, told_to_stop(&shop, &health, &mut stops)).await;
        if drained == Drained::TimedOut {
            tracing::warn!("some requests did not finish in time");
        }
        stop_control.cancel();
        if let Some(control) = control {
            control.await?;
        }
        hangups.abort();
        let closed = tokio::time::timeout(CLOSE_MAX, shop.close()).await;
        // Operators may watch the end.
        stop_operators.cancel();
        if let Some(operators) = operators {
            operators.await?;
        }
        if let Some(access_log) = access_log {
            access_log.flush();
        }
        closed.context("the shop did not close in time; the next start finds all that is durable")??;
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    }

    /// What the front page shows of a demo.
    fn demo_logins(&self) -> Vec<http::DemoLogin> {
        let login = |(email, role): (&str, Role)| http::DemoLogin {
            email: email.to_owned(),
            role: format!("{role:?}").to_lowercase(),
            password: demo::PASSWORD.to_owned(),
        };
        if self.demo { demo::LOGINS.into_iter().map(login).collect() } else { Vec::new() }
    }

    fn greet(&self, address: SocketAddr, scheme: &str, operators: Option<SocketAddr>) {
        println!("Souk listens on {scheme}://{address}");
        if let Some(operators) = operators {
            println!("For operators it listens on http://{operators}");
        }
        if self.demo {
            println!("\nDemo logins (password: {}):", demo::PASSWORD);
            for (email, role) in demo::LOGINS {
                println!("  {role:<9?} {email}");
            }
            println!("\nTry:\n  curl '{scheme}://{address}/products?q=headphones&limit=3'\n");
        }
        let _ = std::io::stdout().flush();
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{} {address}", exit::LISTENING))
}

/// What the router shows of this program.
fn shown(
    program: &Program,
    connections: Arc<http::Figures>,
    logs: Arc<Logs>,
    access_log: Option<Arc<AccessLog>>,
) -> Result<http::Program> {
    let serde_json::Value::Object(settings) = serde_json::to_value(program)? else {
        bail!("the settings are no object")
    };
    Ok(http::Program { connections, settings, logs: Some(logs), access_log, ..http::Program::default() })
}

/// The certificate that the settings name.
fn tls(settings: &settings::Tls) -> Result<Option<Arc<Tls>>> {
    let (Some(certificate), Some(key)) = (&settings.certificate_file, &settings.key_file) else { return Ok(None) };
    let files = TlsFiles { certificate: certificate.clone(), key: key.clone() };
    Ok(Some(Tls::load(files, settings.hsts_seconds)?))
}

/// The access log, where the settings want it.
fn access_log(settings: &settings::AccessLog) -> Result<Option<Arc<AccessLog>>> {
    let Some(lines) = NonZeroU32::new(settings.lines_per_second) else { return Ok(None) };
    let started = match settings.to {
        AccessLogTo::Off => return Ok(None),
        AccessLogTo::Stdout => AccessLog::new(lines, std::io::stdout()),
        AccessLogTo::Stderr => AccessLog::new(lines, std::io::stderr()),
    };
    Ok(Some(Arc::new(started.context("the access log")?)))
}

/// The socket for operators' commands.
fn control(shop: &Shop, stop: &CancellationToken) -> Option<JoinHandle<()>> {
    match Control::bind(shop, ControlLimits::default()) {
        Ok(control) => Some(tokio::spawn(control.serve(shop.clone(), stop.clone()))),
        Err(error) => {
            let socket = control::socket(&shop.config().data_dir);
            tracing::warn!(
                %error, socket = %socket.display(),
                "backup, compact, import and export cannot be asked for while the shop runs"
            );
            None
        }
    }
}

/// Resolves when the listener is to be closed: a while after the process was told to stop, so that load balancers
/// notice, or when told so again, or at once where nothing can be served any more.
async fn told_to_stop(shop: &Shop, health: &http::Health, stops: &mut Stops) {
    let lead = Duration::from_millis(shop.config().limits.drain_lead_ms);
    let told = async {
        stops.next().await;
        health.leaving();
        if !lead.is_zero() {
            tracing::info!(lead_ms = lead.as_millis(), "stopping: /readyz says so, the listener stays open");
            tokio::select! {
                () = tokio::time::sleep(lead) => {}
                () = stops.next() => {}
            }
        }
    };
    tokio::select! {
        () = told => {}
        () = shop.storage_failed() => tracing::error!("the storage has failed; stopping"),
    }
    health.stopping();
    tracing::info!("stopping: finishing the requests in flight");
}

/// A hangup has the log filter and the certificate read again. The shop has no log files to open again.
async fn take_hangups(mut hangups: Signal, tls: Option<Arc<Tls>>, logs: Arc<Logs>, file: Option<PathBuf>) {
    while hangups.recv().await.is_some() {
        tracing::info!("SIGHUP: the log filter and the TLS certificate are read again");
        if let Some(tls) = &tls {
            tls.reload();
        }
        let set = Settings::load(file.as_deref())
            .map_err(|error| error.to_string())
            .and_then(|settings| logs.set(&settings.program.log));
        if let Err(error) = set {
            tracing::warn!(error, "the settings cannot be read again: the log filter stays as it is");
        }
    }
}
