//! The program's settings: the shop's configuration, and in the same file what only the program needs.
//!
//! Later sources override earlier ones: defaults, a TOML file, environment variables (`SOUK_DATA_DIR`,
//! `SOUK_LIMITS__IN_FLIGHT_MAX` for `limits.in_flight_max`), and then the program's flags.
//!
//! May depend on `config` and `text_file`.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use ::config::{Map, Source, Value, ValueKind};
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;

use crate::{
    config::{Config, ConfigError, one_of},
    text_file,
};

/// What the names of environment variables with settings begin with, in either case.
const VARIABLES: &str = "SOUK_";

/// All settings of the program.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Settings {
    /// The settings that only the program needs.
    #[serde(flatten)]
    pub program: Program,
    /// The shop's configuration.
    #[serde(flatten)]
    pub shop: Config,
}

/// What only the program needs. In the file and in the environment these stand beside the shop's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Program {
    /// Where the shop listens.
    pub listen: SocketAddr,
    /// What is logged, such as `info` or `warn,souk::http=debug`.
    pub log: String,
    /// How logs are written to standard error.
    #[serde(deserialize_with = "one_of")]
    pub log_format: LogFormat,
}

impl Program {
    const NAMES: [&str; 3] = ["listen", "log", "log_format"];
}

impl Default for Program {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            log: "info,tantivy=warn".into(),
            log_format: LogFormat::Text,
        }
    }
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file or a variable cannot be read, names no setting, or has a value of another kind.
    #[error("{origin}: {source}")]
    Source {
        /// The file's path, or the variable's name.
        origin: String,
        /// What is wrong there.
        source: Box<::config::ConfigError>,
    },
    /// A part of `log` that is no level. A typo taken for a module's name would silence every other line.
    #[error(
        "log: {directive:?} is neither a level (off, error, warn, info, debug, trace) nor MODULE=LEVEL, such as souk::http=debug"
    )]
    Log {
        /// The part that is no level.
        directive: String,
    },
    /// The shop's configuration cannot be used.
    #[error(transparent)]
    Shop(#[from] ConfigError),
}

/// A TOML file, read as every small text is.
#[derive(Debug, Clone)]
struct SettingsFile(PathBuf);

impl Source for SettingsFile {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        let name = self.0.display().to_string();
        let text =
            text_file::read(&self.0).map_err(|error| ::config::ConfigError::Message(format!("{name}: {error}")))?;
        let parsed = ::config::Format::parse(&::config::FileFormat::Toml, Some(&name), &text);
        parsed.map_err(|cause| ::config::ConfigError::FileParse { uri: Some(name), cause })
    }
}

impl Settings {
    /// Reads the settings from a file, if one is named, and the environment.
    ///
    /// # Errors
    /// [`SettingsError`] names the value that cannot be used.
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        // No setting is outside of Unicode, so other variables may be read with replacement characters.
        let lossy = |text: OsString| text.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
        Self::from_sources(file, variables.collect())
    }

    fn from_sources(file: Option<&Path>, variables: BTreeMap<String, String>) -> Result<Self, SettingsError> {
        let at = |origin: &str| {
            let origin = origin.to_owned();
            move |source| SettingsError::Source { origin, source: Box::new(source) }
        };
        let defaults = ::config::Config::try_from(&Self::default()).map_err(at("defaults"))?;
        let mut sources = ::config::Config::builder().add_source(defaults);
        if let Some(file) = file {
            sources = sources.add_source(SettingsFile(file.to_owned()));
            parse(&sources).map_err(at(&file.display().to_string()))?;
        }
        let ours = variables.into_iter().filter(|(name, _)| name.to_ascii_uppercase().starts_with(VARIABLES));
        // One after the other, so that the error can name the variable that is wrong.
        for (name, value) in ours {
            let variable = ::config::Environment::with_prefix("SOUK").source(Some([(name.clone(), value)].into()));
            sources = sources.add_source(variable.prefix_separator("_").separator("__").try_parsing(true));
            parse(&sources).map_err(at(&name))?;
        }
        let settings = parse(&sources).map_err(at("settings"))?;
        check_log(&settings.program.log)?;
        settings.shop.check()?;
        Ok(settings)
    }

    /// All settings with their values, as a file that [`Settings::load`] reads.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

/// Parses all sources so far; bounds are checked later. Each part refuses names that are not its own.
fn parse(
    sources: &::config::ConfigBuilder<::config::builder::DefaultState>,
) -> Result<Settings, ::config::ConfigError> {
    let mut shop = sources.clone().build()?.cache.into_table()?;
    let program = Program::NAMES.into_iter().filter_map(|name| shop.remove_entry(name)).collect::<Map<_, _>>();
    let part = |table| Value::new(None, ValueKind::Table(table));
    Ok(Settings { program: part(program).try_deserialize()?, shop: part(shop).try_deserialize()? })
}

/// Every part of the filter needs a level: the filter's own parser takes a bare word for a module's name, and then logs
/// nothing else.
fn check_log(log: &str) -> Result<(), SettingsError> {
    // A filter of spans has commas of its own; its parser refuses what it cannot read.
    if log.contains('[') {
        return Ok(());
    }
    let level = |directive: &str| directive.rsplit('=').next().unwrap_or_default().parse::<LevelFilter>().is_ok();
    let wrong = log.split(',').map(str::trim).find(|directive| !directive.is_empty() && !level(directive));
    wrong.map_or(Ok(()), |directive| Err(SettingsError::Log { directive: directive.to_owned() }))
}

#[cfg(test)]
mod tests;
