//! Servers that answer the load generator like a shop, up to a point.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// The address of a server that answers the first `answered` requests like a shop, and then behaves as `then` says.
pub(super) fn shop_until(answered: u64, then: Then) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut kept = Vec::new();
        for number in 0.. {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = [0; 4_096];
            let length = stream.read(&mut request).unwrap_or(0);
            if number >= answered {
                match then {
                    Then::CloseConnection => continue,
                    Then::NeverAnswer => kept.push(stream),
                    Then::StopListening => return,
                }
                continue;
            }
            let line = String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned();
            reply(&mut stream, &answer(&line, LATER));
        }
    });
    url
}

#[derive(Clone, Copy)]
pub(super) enum Then {
    CloseConnection,
    NeverAnswer,
    StopListening,
}

fn reply(stream: &mut impl Write, (status, body): &(u16, String)) {
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
}

/// A shop that forgets what it sold and whose stock does not add up: everything can be bought, and afterwards there is
/// no order. Its tokens expire at the given time; it counts renewals, and refuses them from the third one on.
pub(super) fn forgetful_shop(renewals: &Arc<AtomicU64>, tokens_end: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let renewals = Arc::clone(renewals);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let renewals = Arc::clone(&renewals);
            thread::spawn(move || {
                let mut request = [0; 4_096];
                let length = stream.read(&mut request).unwrap_or(0);
                let head = String::from_utf8_lossy(&request[..length]).into_owned();
                let is_renewal = head.starts_with("POST /auth/refresh ");
                let renewal = if is_renewal { renewals.fetch_add(1, Ordering::Relaxed) } else { 0 };
                let answered = match renewal {
                    0..2 => answer(head.lines().next().unwrap_or_default(), tokens_end),
                    _ => (401, r#"{"code":"refresh-reused"}"#.to_owned()),
                };
                reply(&mut stream, &answered);
            });
        }
    });
    url
}

fn answer(line: &str, tokens_end: &str) -> (u16, String) {
    let (status, body) = match line {
        line if line.starts_with("GET /orders/") => (404, "{}"),
        line if line.starts_with("GET /products?") => (200, r#"{"items":[{"id":"p","title":"A thing"}]}"#),
        line if line.contains("/inventory ") => {
            (200, r#"{"received":9,"on_hand":4,"sold":4,"reserved_quantity":0,"available":4}"#)
        }
        line if line.starts_with("GET /products/") => (200, r#"{"purchasable":true,"quantity":9,"variants":[]}"#),
        line if line.starts_with("POST /auth/") => {
            let tokens = format!(r#"{{"access_token":"t","access_expires_at":"{tokens_end}","refresh_token":"r"}}"#);
            return (200, tokens);
        }
        _ => (200, r#"{"order_id":"o","total":{"amount":1,"currency":"INR"}}"#),
    };
    (status, body.to_owned())
}

pub(super) const ENDED: &str = "2026-01-01T00:00:00Z";
pub(super) const LATER: &str = "2099-01-01T00:00:00Z";

/// A shop that refuses every request whose first line begins with one of these, with this status and code.
pub(super) fn refusing_shop(refused: &'static [&'static str], status: u16, code: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut request = [0; 4_096];
                let length = stream.read(&mut request).unwrap_or(0);
                let head = String::from_utf8_lossy(&request[..length]).into_owned();
                let line = head.lines().next().unwrap_or_default();
                let is_refused = refused.iter().any(|beginning| line.starts_with(beginning));
                let refusal = (status, format!(r#"{{"code":"{code}"}}"#));
                reply(&mut stream, &if is_refused { refusal } else { answer(line, LATER) });
            });
        }
    });
    url
}
