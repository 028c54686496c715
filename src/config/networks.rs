//! A list of addresses and networks, as a setting: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.1`.
//!
//! Depends on nothing of the crate.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Addresses and networks, in a file as a list, in an environment variable separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of the networks contains this address.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Line(String),
            List(Vec<String>),
        }
        let items = match Written::deserialize(deserializer)? {
            Written::Line(line) => line.split(',').map(|item| item.trim().to_owned()).collect(),
            Written::List(items) => items,
        };
        let network = |item: String| {
            let network = item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
            let wrong = || D::Error::custom(format!("{item:?} is neither an address nor a network such as 10.0.0.0/8"));
            network.map(|network| network.trunc()).map_err(|_| wrong())
        };
        items.into_iter().filter(|item| !item.is_empty()).map(network).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(written: &str) -> Result<Networks, String> {
        toml::from_str::<std::collections::BTreeMap<String, Networks>>(&format!("n = {written}"))
            .map(|mut read| read.remove("n").unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_and_a_line_are_the_same() {
        let list = read(r#"["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]"#).unwrap();
        assert_eq!(read(r#""10.1.2.3/8, 192.0.2.1,2001:db8::/32""#).unwrap(), list);
        for (address, inside) in [
            ("10.9.9.9", true),
            ("::ffff:10.9.9.9", true),
            ("11.0.0.1", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(list.contain(address.parse().unwrap()), inside, "{address}");
        }
        assert_eq!(read(r#""""#).unwrap(), Networks::default());
        let refused = read(r#"["10.0.0.0/8", "proxy.example"]"#).unwrap_err();
        assert!(refused.contains("proxy.example"), "{refused}");
    }
}
