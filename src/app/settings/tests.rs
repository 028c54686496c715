//! Settings from their sources, and those that are refused.

use std::path::PathBuf;

use super::*;
use crate::config::Limits;

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("souk.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:9000\"\n[limits]\nin_flight_max = 7\nbody_bytes_max = 2048\n").unwrap();
    let variables = [("SOUK_LIMITS__IN_FLIGHT_MAX", "9"), ("SOUK_DATA_DIR", "/srv/shop")];
    let Settings { program, shop: config } = Settings::from_sources(Some(&file), environment(&variables)).unwrap();
    assert_eq!(program.listen.port(), 9000);
    assert_eq!((config.limits.in_flight_max, config.limits.body_bytes_max), (9, 2048));
    assert_eq!(config.data_dir, PathBuf::from("/srv/shop"));
    assert_eq!(config.limits.mailbox_max, Limits::default().mailbox_max);
}

#[test]
fn no_value_is_rounded_or_converted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("souk.toml");
    let refused = |file: Option<&Path>, variables| Settings::from_sources(file, variables).unwrap_err().to_string();
    let mut tried = 0;
    for (name, kind) in leaves() {
        let variable = format!("SOUK_{}", name.to_ascii_uppercase().replace('.', "__"));
        let (wrong, says): (&[&str], _) = match kind {
            Value::Integer(_) => (
                &["19.5", "4.99", "-0.5", "-1", "NaN", "inf", "1e3", "0x10", "true", "99999999999999999999", " 1", ""],
                "a whole number",
            ),
            Value::Boolean(_) => (&["2", "1", "yes", "True", ""], "true or false"),
            // A text with commas is a list; what it lists is checked with its kind.
            Value::Array(_) => (&[], ""),
            _ => (&[""], "is empty"),
        };
        for wrong in wrong {
            let said = refused(None, environment(&[(&variable, wrong)]));
            let is_shown = kind.is_str() || said.contains(&format!("{wrong:?}"));
            assert!(said.starts_with(&format!("{variable}: {name} ")) && said.contains(says) && is_shown, "{said}");
            tried += 1;
        }
        let (wrong, says): (&[&str], _) = match kind {
            Value::Integer(_) => (&["19.5", "-0.5", "nan", "-1", "true", "\"5\"", "[5]"], "a whole number"),
            Value::Boolean(_) => (&["2", "1", "1.0", "\"true\""], "true or false"),
            Value::Array(_) => (&["5", "true"], "a list"),
            _ => (&["5", "true"], "a text in quotes"),
        };
        for wrong in wrong {
            let (group, setting) = name.rsplit_once('.').unwrap_or(("", &name));
            let head = if group.is_empty() { String::new() } else { format!("[{group}]\n") };
            std::fs::write(&file, format!("{head}{setting} = {wrong}\n")).unwrap();
            let said = refused(Some(&file), BTreeMap::new());
            let named = said.starts_with(&file.display().to_string()) && said.contains(&format!(": {name} "));
            assert!(named && said.contains(says) && (kind.is_str() || said.contains(wrong)), "{said}");
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}

/// Every setting with a value of its kind.
fn leaves() -> Vec<(String, Value)> {
    let known = sources::known(&Table::try_from(Settings::default()).unwrap());
    let mut leaves = Vec::new();
    for (name, value) in known {
        match value {
            Value::Table(group) => {
                leaves.extend(group.into_iter().map(|(leaf, value)| (format!("{name}.{leaf}"), value)));
            }
            value => leaves.push((name, value)),
        }
    }
    leaves
}

#[test]
fn a_list_is_a_list_in_a_file_and_a_text_in_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("souk.toml");
    let text =
        "trusted_proxies = [\"10.0.0.0/8\"]\n[http]\ncors_origins = [\"https://a.example\", \"https://b.example\"]\n";
    std::fs::write(&file, text).unwrap();
    let from_file = Settings::from_sources(Some(&file), BTreeMap::new()).unwrap().shop;
    let origins = "https://a.example, https://b.example";
    let variables = [("SOUK_HTTP__CORS_ORIGINS", origins), ("SOUK_TRUSTED_PROXIES", "10.0.0.0/8")];
    let from_environment = Settings::from_sources(None, environment(&variables)).unwrap().shop;
    assert_eq!(from_file.http, from_environment.http);
    assert_eq!(from_file.trusted_proxies, from_environment.trusted_proxies);
    assert!(from_file.http.cors_origins.contains("https://b.example"));
    let wrong = Settings::from_sources(None, environment(&[("SOUK_HTTP__CORS_ORIGINS", "a.example")])).unwrap_err();
    assert!(wrong.to_string().starts_with("SOUK_HTTP__CORS_ORIGINS: http.cors_origins: "), "{wrong}");
}

#[test]
fn every_setting_without_a_default_can_be_set() {
    let none = format!("{:?}", Settings::default()).matches(": None").count();
    let defaults = leaves().into_iter().filter(|(_, value)| value.as_str() == Some(""));
    assert_eq!(defaults.count(), none);
}

#[test]
fn what_is_out_of_bounds_is_named_with_its_source_and_value() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("souk.toml");
    std::fs::write(&file, "tax_basis_points = 10001\n").unwrap();
    let said = Settings::from_sources(Some(&file), BTreeMap::new()).unwrap_err().to_string();
    assert!(said.starts_with(&file.display().to_string()) && said.contains("tax_basis_points must be"), "{said}");
    assert!(said.ends_with("not 10001"), "{said}");
    // The variable wins, so it is what is at fault.
    let variables = environment(&[("SOUK_TAX_BASIS_POINTS", "20000"), ("SOUK_LOG", "info")]);
    let said = Settings::from_sources(Some(&file), variables).unwrap_err().to_string();
    assert!(said.starts_with("SOUK_TAX_BASIS_POINTS: ") && said.ends_with("not 20000"), "{said}");
    let both = environment(&[
        ("SOUK_PAYMENTS__PROVIDER", "stripe"),
        ("SOUK_PAYMENTS__KEY", "sk_test_1"),
        ("SOUK_PAYMENTS__KEY_FILE", "key"),
    ]);
    let said = Settings::from_sources(None, both).unwrap_err().to_string();
    assert!(
        said.starts_with("SOUK_PAYMENTS__KEY: payments.key must be left out") && !said.contains("sk_test"),
        "{said}"
    );
}

#[test]
fn a_log_filter_needs_a_level_in_each_part() {
    let with = |log: &str| log_filter(log).map(drop);
    for good in ["off", "INFO", "warn,souk::http=debug", " info , tantivy=warn", "info,souk[request{id=1}]=trace"] {
        assert_eq!(with(good), Ok(()), "{good}");
    }
    for (wrong, part) in [
        ("", ""),
        ("info,", ""),
        ("=debug", "=debug"),
        ("souk=", "souk="),
        ("2", "2"),
        ("souk=2", "souk=2"),
        ("loud", "loud"),
        ("info,debgu", "debgu"),
        ("souk", "souk"),
        ("info,souk=bla", "souk=bla"),
    ] {
        let refused = with(wrong).unwrap_err();
        assert!(refused.contains(&format!("{part:?}")) && refused.contains("off, error, warn, info"), "{refused}");
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let refused = |variables| Settings::from_sources(None, environment(variables)).unwrap_err().to_string();
    assert!(refused(&[("SOUK_LISTEN", "nowhere")]).contains("listen"));
    assert!(refused(&[("SOUK_LIMITS__MAILBOX_MAX", "0")]).contains("limits.mailbox_max"));
    let format = refused(&[("SOUK_LOG_FORMAT", "xml")]);
    assert!(format.contains("`text` or `json`") && format.contains("log_format"), "{format}");
    let provider = refused(&[("SOUK_PAYMENTS__PROVIDER", "strype")]);
    assert!(provider.contains("`stripe`") && provider.contains("payments.provider"), "{provider}");
    let unknown = refused(&[("SOUK_LOG", "info"), ("SOUK_LITSEN", "127.0.0.1:1"), ("SOUK_SESSION_DAYS", "3")]);
    assert!(unknown.starts_with("SOUK_LITSEN: ") && unknown.contains("litsen"), "{unknown}");
    for known in ["listen", "log", "log_format", "data_dir", "payments"] {
        assert!(unknown.contains(&format!(" {known},")), "{unknown}");
    }
    let name = refused(&[("SOUK_LISTEN", "localhost:8080")]);
    assert!(name.contains("localhost:8080") && name.contains("such as 127.0.0.1:8080"), "{name}");
    let nested = refused(&[("souk_limits__mailbox_maks", "9")]);
    assert!(nested.starts_with("souk_limits__mailbox_maks: "), "{nested}");
}

#[test]
fn rate_limits_have_a_switch_and_a_least_value() {
    let read = |name: &str, value: &str| {
        let read = Settings::from_sources(None, environment(&[(name, value)]));
        read.map(|settings| settings.shop).map_err(|error| error.to_string())
    };
    assert_eq!(read("SOUK_LIMITS__RATES", "off").unwrap().limits.rates, crate::config::Switch::Off);
    let mistyped = read("SOUK_LIMITS__RATES", "none").unwrap_err();
    assert!(mistyped.contains("`on` or `off`") && mistyped.contains("limits.rates"), "{mistyped}");
    assert_eq!(read("SOUK_RATES__LOGINS_PER_MINUTE", "9").unwrap().rates.logins_per_minute, 9);
    let refused = read("SOUK_RATES__LOGINS_PER_MINUTE", "3").unwrap_err();
    assert!(refused.contains("rates.logins_per_minute") && refused.contains("at least 4"), "{refused}");
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("souk.toml");
    let refused = || {
        let refused = Settings::from_sources(Some(&file), environment(&[("SOUK_LOG", "info")])).unwrap_err();
        let refused = refused.to_string();
        assert!(refused.starts_with(&file.display().to_string()), "{refused}");
        refused
    };
    refused();
    for (text, word) in [("litsen = 1", "litsen"), ("listen = 1", "listen"), ("= =", "line 1")] {
        std::fs::write(&file, text).unwrap();
        assert!(refused().contains(word));
    }
    std::fs::write(&file, "").unwrap();
    assert_eq!(Settings::from_sources(Some(&file), BTreeMap::new()).unwrap(), Settings::default());
}

#[test]
fn payments_are_given_what_their_provider_uses_and_nothing_else() {
    let refused = |variables: &[(&str, &str)]| {
        Settings::from_sources(None, environment(variables)).map(drop).map_err(|error| error.to_string())
    };
    let url = |url| refused(&[("SOUK_PAYMENTS__PROVIDER", "simulator"), ("SOUK_PAYMENTS__URL", url)]);
    assert_eq!(url("http://127.0.0.1:1"), Ok(()));
    assert_eq!(url("HTTPS://pay.example"), Ok(()));
    for (wrong, remedy) in [
        ("127.0.0.1:26001", "write http:// before it"),
        ("nowhere", "write http:// before it"),
        ("ftp://x", "must begin with http:// or https://"),
    ] {
        let said = url(wrong).unwrap_err();
        assert!(said.contains(wrong) && said.contains(remedy), "{said}");
    }
    for ignored in ["URL", "KEY", "KEY_FILE", "RETURN_URL"] {
        let said = refused(&[(&format!("SOUK_PAYMENTS__{ignored}"), "http://x")]).unwrap_err();
        let setting = format!("payments.{} must be left out", ignored.to_ascii_lowercase());
        assert!(said.contains(&setting), "{said}");
    }
    let ledger = refused(&[
        ("SOUK_PAYMENTS__PROVIDER", "stripe"),
        ("SOUK_PAYMENTS__KEY", "k"),
        ("SOUK_PAYMENTS__SIMULATED_LEDGER", "ledger"),
    ]);
    assert!(ledger.unwrap_err().contains("payments.simulated_ledger must be left out"));
}

#[test]
fn a_certificate_and_its_key_are_given_together() {
    for (given, other) in [("certificate_file", "key_file"), ("key_file", "certificate_file")] {
        let variable = format!("SOUK_TLS__{}", given.to_ascii_uppercase());
        let said = Settings::from_sources(None, environment(&[(&variable, "a.pem")])).unwrap_err().to_string();
        assert_eq!(said, format!("{variable}: tls.{given} must be given together with tls.{other}"));
    }
    let both = environment(&[("SOUK_TLS__CERTIFICATE_FILE", "a.pem"), ("SOUK_TLS__KEY_FILE", "b.pem")]);
    let tls = Settings::from_sources(None, both).unwrap().program.tls;
    assert_eq!((tls.certificate_file, tls.key_file), (Some("a.pem".into()), Some("b.pem".into())));
}
