//! The program's logs: to standard error, with a filter that can be changed while it runs.
//!
//! Depends on `app` and `http`.

use std::{fmt, io::IsTerminal, sync::Arc};

use anyhow::Result;
use parking_lot::Mutex;
use souk::{
    http,
    internals::app::settings::{LogFormat, Program, log_filter},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt::layer, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// The running logs.
pub(crate) struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
    /// The filter as it was written.
    text: Mutex<String>,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").field("text", &self.text).finish_non_exhaustive()
    }
}

impl Logs {
    /// Starts to write logs.
    pub(crate) fn start(program: &Program) -> Result<Arc<Self>> {
        let (filter, handle) = reload::Layer::new(log_filter(&program.log).map_err(anyhow::Error::msg)?);
        let lines = layer().with_writer(std::io::stderr);
        let lines = match program.log_format {
            LogFormat::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
        started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))?;
        Ok(Arc::new(Self { filter: handle, text: Mutex::new(program.log.clone()) }))
    }
}

impl http::LogFilter for Logs {
    fn text(&self) -> String {
        self.text.lock().clone()
    }

    fn set(&self, text: &str) -> Result<(), String> {
        let filter = log_filter(text)?;
        let mut shown = self.text.lock();
        self.filter.reload(filter).map_err(|error| error.to_string())?;
        text.clone_into(&mut shown);
        // Under the new filter, so it may be missing.
        tracing::info!(filter = text, "the log filter was set");
        Ok(())
    }
}
