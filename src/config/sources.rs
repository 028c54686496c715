//! Reads the configuration. Later sources win: defaults, a TOML file, environment variables (`SOUK_DATA_DIR`,
//! `SOUK_LIMITS__IN_FLIGHT_MAX` for `limits.in_flight_max`), and then the program's flags.
//!
//! May depend on `text_file`.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{Config, ConfigError};
use crate::text_file;

/// What the names of environment variables with settings begin with, in either case.
const VARIABLES: &str = "SOUK_";

/// A TOML file, read as every small text is.
#[derive(Debug, Clone)]
struct SettingsFile(PathBuf);

impl ::config::Source for SettingsFile {
    fn clone_into_box(&self) -> Box<dyn ::config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<::config::Map<String, ::config::Value>, ::config::ConfigError> {
        let name = self.0.display().to_string();
        let text =
            text_file::read(&self.0).map_err(|error| ::config::ConfigError::Message(format!("{name}: {error}")))?;
        let parsed = ::config::Format::parse(&::config::FileFormat::Toml, Some(&name), &text);
        parsed.map_err(|cause| ::config::ConfigError::FileParse { uri: Some(name), cause })
    }
}

impl Config {
    /// Reads the configuration from a file, if one is named, and the environment.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that cannot be used.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        // A name or a value that is not Unicode is shown with replacements; no setting has one.
        let lossy = |text: OsString| text.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
        Self::from_sources(file, variables.collect())
    }

    pub(super) fn from_sources(file: Option<&Path>, variables: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let at = |origin: &str| {
            let origin = origin.to_owned();
            move |source| ConfigError::Source { origin, source: Box::new(source) }
        };
        let defaults = ::config::Config::try_from(&Self::default()).map_err(at("defaults"))?;
        let mut sources = ::config::Config::builder().add_source(defaults);
        if let Some(file) = file {
            sources = sources.add_source(SettingsFile(file.to_owned()));
            parse(&sources).map_err(at(&file.display().to_string()))?;
        }
        let ours = variables.into_iter().filter(|(name, _)| name.to_ascii_uppercase().starts_with(VARIABLES));
        // One after the other, so that an error can say which of them is wrong.
        for (name, value) in ours {
            let variable = ::config::Environment::with_prefix("SOUK").source(Some([(name.clone(), value)].into()));
            sources = sources.add_source(variable.prefix_separator("_").separator("__").try_parsing(true));
            parse(&sources).map_err(at(&name))?;
        }
        let config = parse(&sources).map_err(at("settings"))?;
        config.check()?;
        Ok(config)
    }

    /// All settings with their values, as a file that [`Config::load`] reads.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

/// All sources so far, as a configuration whose bounds are not checked yet.
fn parse(sources: &::config::ConfigBuilder<::config::builder::DefaultState>) -> Result<Config, ::config::ConfigError> {
    sources.clone().build()?.try_deserialize()
}
