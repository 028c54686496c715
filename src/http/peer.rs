//! The peer of a request: whom limits by peer count.
//!
//! The server puts a [`Peer`] into the extensions of each request. A request has none if it is exempt from limits by
//! peer: the router is embedded without our server, or a trusted proxy sends the request on its own behalf.
//!
//! Anybody can write `X-Forwarded-For`, so it counts only on connections from `trusted_proxies`, and there only from
//! the right: each proxy appends the address of its client, so the rightmost address that is not a trusted proxy's is
//! the last one that a trusted proxy has seen itself.
//!
//! Depends on `config`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use axum::http::{
    HeaderMap, HeaderName,
    header::{FORWARDED, VIA},
};

use crate::config::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of a client; of an IPv6 address only the first 64 bits, because every client has the others to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into()),
        }
    }
}

impl Peer {
    /// Whether it is on this machine.
    pub(super) fn is_loopback(self) -> bool {
        match self.0 {
            IpAddr::V4(address) => address.is_loopback(),
            // The first 64 bits of ::1.
            IpAddr::V6(address) => address.is_unspecified(),
        }
    }
}

/// Whether somebody on this machine sends this request. Without a peer it is a trusted proxy's own request, or the
/// program that embeds the router decides who may come. What a proxy forwards is never local: whether it is trusted or
/// not, it forwards for others.
pub(super) fn is_local(peer: Option<Peer>, headers: &HeaderMap) -> bool {
    let is_forwarded = || [&X_FORWARDED_FOR, &FORWARDED, &VIA].into_iter().any(|name| headers.contains_key(name));
    peer.is_none_or(Peer::is_loopback) && !is_forwarded()
}

impl From<Peer> for IpAddr {
    fn from(Peer(address): Peer) -> Self {
        address
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// From a client, who is the peer of all its requests.
    Client(Peer),
    /// From a trusted proxy, which names the client of each request.
    Proxy { itself: Peer, trusted: Arc<Networks> },
}

impl Origin {
    pub(super) fn of(address: IpAddr, trusted: &Arc<Networks>) -> Self {
        let itself = Peer::from(address);
        if trusted.contain(address) {
            Self::Proxy { itself, trusted: Arc::clone(trusted) }
        } else {
            Self::Client(itself)
        }
    }

    /// The peer at the other end of the connection.
    pub(super) fn itself(&self) -> Peer {
        match self {
            Self::Client(itself) | Self::Proxy { itself, .. } => *itself,
        }
    }

    /// The peer for which limits by peer hold: a proxy has the connections of all its clients.
    pub(super) fn limited(&self) -> Option<Peer> {
        match self {
            Self::Client(peer) => Some(*peer),
            Self::Proxy { .. } => None,
        }
    }

    /// The peer of a request with these headers; `None` if it is exempt from limits by peer.
    pub(super) fn peer(&self, headers: &HeaderMap) -> Option<Peer> {
        match self {
            Self::Client(peer) => Some(*peer),
            Self::Proxy { itself, trusted } => match named(headers, trusted) {
                Named::Nobody => None,
                Named::Client(client) => Some(client),
                Named::Unclear => Some(*itself),
            },
        }
    }
}

/// Whom forwarding headers name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// Nobody but trusted proxies.
    Nobody,
    Client(Peer),
    /// Somebody, but not by an address, or two headers differ.
    Unclear,
}

/// A proxy that appends to one of the two headers passes the other on as its client wrote it. So if they name different
/// clients, neither is believed.
fn named(headers: &HeaderMap, trusted: &Networks) -> Named {
    let x_forwarded_for = rightmost(headers, &X_FORWARDED_FOR, address, trusted);
    let forwarded = rightmost(headers, &FORWARDED, |element| address(for_parameter(element)?), trusted);
    match (x_forwarded_for, forwarded) {
        (named, Named::Nobody) | (Named::Nobody, named) => named,
        (one, other) if one == other => one,
        _ => Named::Unclear,
    }
}

fn rightmost(headers: &HeaderMap, name: &HeaderName, read: fn(&str) -> Option<IpAddr>, trusted: &Networks) -> Named {
    for value in headers.get_all(name).iter().rev() {
        let Ok(value) = value.to_str() else { return Named::Unclear };
        for element in value.rsplit(',') {
            match read(element) {
                Some(address) if trusted.contain(address) => {}
                Some(address) => return Named::Client(address.into()),
                None => return Named::Unclear,
            }
        }
    }
    Named::Nobody
}

/// The parameter `for` of an element of `Forwarded` (RFC 7239).
fn for_parameter(element: &str) -> Option<&str> {
    let mut parameters = element.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    parameters.find_map(|(name, value)| name.eq_ignore_ascii_case("for").then_some(value))
}

/// An address, with or without quotes, brackets and a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn an_ipv6_client_is_one_peer_whatever_its_last_64_bits() {
        assert_eq!(peer("2001:db8:0:1::1"), peer("2001:db8:0:1:ffff::2"));
        assert_ne!(peer("2001:db8:0:1::1"), peer("2001:db8:0:2::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
    }

    #[test]
    fn what_comes_from_this_machine_is_local_unless_it_was_forwarded() {
        let local = |address: &str, headers: &[(HeaderName, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            is_local(Some(peer(address)), &headers)
        };
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(local(address, &[]), "{address}");
            for name in [X_FORWARDED_FOR, FORWARDED, VIA] {
                assert!(!local(address, &[(name, "127.0.0.1")]), "{address}");
            }
        }
        for address in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "fe80::1"] {
            assert!(!local(address, &[]), "{address}");
        }
        assert!(is_local(None, &HeaderMap::new()));
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies_and_from_the_right() {
        let trusted: Arc<Networks> = Arc::new(serde_json::from_str(r#"["10.0.0.0/8", "2001:db8:f::/48"]"#).unwrap());
        let named = |connection: &str, headers: &[(HeaderName, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            Origin::of(connection.parse().unwrap(), &trusted).peer(&headers)
        };
        let (xff, forwarded) = (X_FORWARDED_FOR, FORWARDED);
        let client = Some(peer("192.0.2.1"));
        // Not by a client.
        assert_eq!(named("198.51.100.7", &[(xff.clone(), "192.0.2.1")]), Some(peer("198.51.100.7")));
        // What a client wrote itself stands on the left.
        for value in ["192.0.2.1", "8.8.8.8, 192.0.2.1", "junk,192.0.2.1:4711", "192.0.2.1, 10.1.1.1,10.2.2.2"] {
            assert_eq!(named("10.0.0.1", &[(xff.clone(), value)]), client, "{value}");
        }
        assert_eq!(named("10.0.0.1", &[(xff.clone(), "8.8.8.8"), (xff.clone(), "192.0.2.1")]), client);
        for value in ["for=192.0.2.1", "for=8.8.8.8, For=\"192.0.2.1:80\";proto=http", "by=10.0.0.1; for=192.0.2.1"] {
            assert_eq!(named("10.0.0.1", &[(forwarded.clone(), value)]), client, "{value}");
        }
        for value in ["[2001:db8::1]:4711", "2001:db8::ffff:1", "[2001:db8::1], 2001:db8:f::1"] {
            assert_eq!(named("2001:db8:f::9", &[(xff.clone(), value)]), Some(peer("2001:db8::")), "{value}");
        }
        // The proxy's own requests are exempt; a client whom it does not name by an address counts as the proxy.
        assert_eq!(named("10.0.0.1", &[]), None);
        assert_eq!(named("10.0.0.1", &[(xff.clone(), "10.9.9.9")]), None);
        for (name, value) in [(xff.clone(), "unknown"), (xff.clone(), ""), (forwarded.clone(), "for=_hidden")] {
            assert_eq!(named("10.0.0.1", &[(name, value)]), Some(peer("10.0.0.1")), "{value}");
        }
        // One of the two comes from the client.
        let both = |one, other| named("10.0.0.1", &[(xff.clone(), one), (forwarded.clone(), other)]);
        assert_eq!(both("192.0.2.1", "for=192.0.2.1"), client);
        assert_eq!(both("192.0.2.1", "for=8.8.8.8"), Some(peer("10.0.0.1")));
    }
}
