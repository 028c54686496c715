//! The program's settings: the shop's configuration, and in the same file what only the program needs.
//!
//! Later sources override earlier ones: defaults, a TOML file, environment variables (`SOUK_DATA_DIR`,
//! `SOUK_LIMITS__IN_FLIGHT_MAX` for `limits.in_flight_max`), and then the program's flags.
//!
//! `sources` reads the file and the environment. May depend on `config` and `text_file`.

mod sources;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{AddrParseError, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use toml::{Table, Value};
use tracing_subscriber::EnvFilter;

use self::sources::Given;
use crate::config::{Config, ConfigError};

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
    #[serde(deserialize_with = "listen_address")]
    pub listen: SocketAddr,
    /// Where operators are served: metrics, the log filter, the actors. It asks for no token, so it must be an address
    /// that only they reach.
    #[serde(deserialize_with = "admin_listen_address", skip_serializing_if = "Option::is_none")]
    pub admin_listen: Option<SocketAddr>,
    /// What is logged, such as `info` or `warn,souk::http=debug`.
    pub log: String,
    /// How logs are written to standard error.
    pub log_format: LogFormat,
    /// A line for each request.
    pub access_log: AccessLog,
    /// The certificate of the shop.
    pub tls: Tls,
}

impl Program {
    const NAMES: [&str; 6] = ["listen", "admin_listen", "log", "log_format", "access_log", "tls"];
}

impl Default for Program {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin_listen: None,
            log: "info,tantivy=warn".into(),
            log_format: LogFormat::Text,
            access_log: AccessLog::default(),
            tls: Tls::default(),
        }
    }
}

/// The access log: a line of JSON for each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// Where it is written.
    pub to: AccessLogTo,
    /// How many lines a second it has at most; the others are left out, and counted in the metrics.
    pub lines_per_second: u32,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { to: AccessLogTo::Off, lines_per_second: 1_000 }
    }
}

impl AccessLog {
    fn check(&self) -> Result<(), ConfigError> {
        match self.lines_per_second {
            1..=1_000_000 => Ok(()),
            _ => Err(ConfigError::Bounds {
                setting: "access_log.lines_per_second",
                rule: "from 1 to 1000000; access_log.to turns it off",
            }),
        }
    }
}

/// Where the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLogTo {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
    /// To standard error, where the logs are.
    Stderr,
}

/// TLS of the shop's listener. Without a certificate it speaks HTTP, for a proxy in front or on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with the certificate, and those of the authorities between it and the root.
    pub certificate_file: Option<PathBuf>,
    /// A PEM file with its private key.
    pub key_file: Option<PathBuf>,
    /// For how long browsers insist on TLS after an answer (HSTS), in seconds; 0 for not at all.
    pub hsts_seconds: u64,
}

impl Default for Tls {
    fn default() -> Self {
        Self { certificate_file: None, key_file: None, hsts_seconds: 365 * 24 * 60 * 60 }
    }
}

impl Tls {
    /// The certificate has its key, and the key its certificate.
    fn check(&self) -> Result<(), ConfigError> {
        match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => {
                Err(ConfigError::Bounds { setting: "tls.certificate_file", rule: "given together with tls.key_file" })
            }
            (None, Some(_)) => {
                Err(ConfigError::Bounds { setting: "tls.key_file", rule: "given together with tls.certificate_file" })
            }
            _ => Ok(()),
        }
    }
}

/// The levels of logs. Their parser also takes numbers, which nobody means.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

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
    /// A file or a variable cannot be read, names no setting, or has a value that cannot be used.
    #[error("{origin}: {problem}")]
    Source {
        /// The file's path, or the variable's name.
        origin: String,
        /// What is wrong there.
        problem: String,
    },
    /// The shop's configuration cannot be used.
    #[error(transparent)]
    Shop(#[from] ConfigError),
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
        let mut all = Table::try_from(Self::default()).unwrap_or_default();
        let known = sources::known(&all);
        let mut given = file.map_or(Ok(Vec::new()), |file| sources::of_file(file, &known))?;
        given.extend(sources::of_environment(variables, &known)?);
        let mut settings = Self::default();
        // One after the other, so that an error can say which of them is wrong.
        for Given { origin, name, value } in &given {
            sources::set(&mut all, name, value.clone());
            let parsed = parse(&all).and_then(|parsed| log_filter(&parsed.program.log).map(|_| parsed));
            settings = parsed.map_err(|problem| SettingsError::Source { origin: origin.clone(), problem })?;
        }
        settings.check().map_err(|error| named(error, &given))?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.shop.check()?;
        self.program.access_log.check()?;
        self.program.tls.check()
    }

    /// All settings with their values, as a file that [`Settings::load`] reads.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

/// The error with the file or variable that gave the value, and with the value where it is a number.
fn named(error: ConfigError, given: &[Given]) -> SettingsError {
    let setting = match &error {
        ConfigError::Url { setting, .. } | ConfigError::Bounds { setting, .. } => *setting,
        ConfigError::NoAdapter { .. } => "payments.provider",
        ConfigError::Origin { .. } => "http.cors_origins",
    };
    match given.iter().rfind(|given| given.name == setting) {
        Some(Given { origin, value: Value::Integer(value), .. }) => {
            SettingsError::Source { origin: origin.clone(), problem: format!("{error}, not {value}") }
        }
        Some(Given { origin, .. }) => SettingsError::Source { origin: origin.clone(), problem: error.to_string() },
        None => error.into(),
    }
}

/// The settings of a table, whose bounds are not checked yet.
fn parse(all: &Table) -> Result<Settings, String> {
    let mut shop = all.clone();
    let program = Program::NAMES.into_iter().filter_map(|name| shop.remove_entry(name)).collect();
    Ok(Settings { program: part(program)?, shop: part(shop)? })
}

fn part<T: DeserializeOwned>(table: Table) -> Result<T, String> {
    serde_path_to_error::deserialize(Value::Table(table))
        .map_err(|error| format!("{}: {}", error.path(), error.inner().message()))
}

fn listen_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    address(&text).map_err(|problem| serde::de::Error::custom(format!("{text:?}: {problem}")))
}

fn admin_listen_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    listen_address(deserializer).map(Some)
}

/// The address of a listener.
///
/// # Errors
/// What is wrong with the text, with an example.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|error: AddrParseError| {
        format!("{error}: write an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080")
    })
}

/// The filter of logs. Every part of it needs a level: the filter's own parser takes a bare word for a module's name,
/// and then logs nothing else; an empty filter logs errors only.
///
/// # Errors
/// What is wrong with it, for people.
pub fn log_filter(log: &str) -> Result<EnvFilter, String> {
    check_directives(log)?;
    // Its parser takes no spaces around commas, which people write.
    let text = if log.contains('[') { log.to_owned() } else { log.replace(char::is_whitespace, "") };
    EnvFilter::try_new(text).map_err(|error| format!("log: {log:?}: {error}"))
}

fn check_directives(log: &str) -> Result<(), String> {
    // A filter of spans has commas of its own; its parser refuses what it cannot read.
    if log.contains('[') {
        return Ok(());
    }
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_good = |directive: &&str| match directive.split_once('=') {
        None => is_level(directive),
        Some((module, level)) => {
            let is_in_name =
                |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':' | '-');
            !module.is_empty() && module.chars().all(is_in_name) && is_level(level)
        }
    };
    match log.split(',').map(str::trim).find(|directive| !is_good(directive)) {
        None => Ok(()),
        Some(wrong) => Err(format!(
            "log: {wrong:?} is neither a level ({}) nor MODULE=LEVEL, such as souk::http=debug",
            LEVELS.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests;
