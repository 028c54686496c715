//! Origins of web pages (RFC 6454), as a setting: a list, or one text with commas between them.
//!
//! Depends on nothing of the crate.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};

use super::ConfigError;

/// What stands for every origin.
const ANY: &str = "*";

/// Origins of web pages: none, some, or all of them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every origin is one of them.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.iter().any(|origin| origin == ANY)
    }

    /// Whether this origin is one of them.
    #[must_use]
    pub fn contains(&self, origin: &str) -> bool {
        self.is_any() || self.0.iter().any(|known| known == origin)
    }

    /// Checks that every one is written as a browser sends it: scheme, host in lower case and port, and nothing behind.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = self.0.iter().find(|origin| *origin != ANY && !is_origin(origin));
        wrong.map_or(Ok(()), |origin| Err(ConfigError::Origin { origin: origin.clone() }))
    }
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let is_safe = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]+_".contains(&byte);
    !scheme.is_empty() && !host.is_empty() && scheme.bytes().chain(host.bytes()).all(is_safe)
}

impl From<&str> for Origins {
    fn from(text: &str) -> Self {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Self(names.map(str::to_owned).collect())
    }
}

impl<'de> Deserialize<'de> for Origins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Listed;

        impl<'de> Visitor<'de> for Listed {
            type Value = Origins;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of origins, or a text with commas between them")
            }

            fn visit_str<E>(self, text: &str) -> Result<Origins, E> {
                Ok(Origins::from(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Origins, A::Error> {
                let mut origins = Vec::new();
                while let Some(origin) = items.next_element()? {
                    origins.push(origin);
                }
                Ok(Origins(origins))
            }
        }

        deserializer.deserialize_any(Listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_a_list_or_a_text() {
        let text: Origins = serde_json::from_str("\"https://a.example, http://localhost:3000\"").unwrap();
        let list: Origins = serde_json::from_str("[\"https://a.example\", \"http://localhost:3000\"]").unwrap();
        assert_eq!(text, list);
        assert!(text.check().is_ok() && text.contains("https://a.example") && !text.contains("https://b.example"));
        assert!(Origins::from("").is_empty() && Origins::from("*").contains("https://anything.example"));
    }

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for bad in ["shop.example", "https://shop.example/", "https://Shop.example", "https://", "null", "https://a/b"]
        {
            assert!(Origins::from(bad).check().is_err(), "{bad}");
        }
    }
}
