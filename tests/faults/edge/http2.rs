//! The few frames of HTTP/2 that attackers send. They are written by hand, because a library would not send them.

/// What a connection begins with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW_SIZE: u16 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal of HPACK, neither indexed nor compressed.
fn literal(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match text.len() {
        short @ 0..127 => bytes.push(u8::try_from(short).unwrap()),
        long => {
            bytes.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
    }
    bytes.extend_from_slice(text);
    bytes
}

fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], literal(name.as_bytes()), literal(value.as_bytes())].concat()
}

fn request(method: &str, path: &str) -> Vec<u8> {
    [field(":method", method), field(":scheme", "http"), field(":path", path), field(":authority", "x")].concat()
}

pub(super) fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

/// The client takes no bytes of any answer.
pub(super) fn closed_window() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &[0; 4]].concat())
}

pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &request("GET", path))
}

/// A request whose body is to follow.
pub(super) fn post(stream: u32, path: &str, filler_bytes: usize) -> Vec<u8> {
    let mut fields = [request("POST", path), field("content-type", "application/json")].concat();
    fields.extend(field("x-filler", &"f".repeat(filler_bytes)));
    frame(HEADERS, END_HEADERS, stream, &fields)
}

/// A head that goes on in other frames.
pub(super) fn begun_head(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM, stream, &request("GET", "/livez"))
}

pub(super) fn continuation(stream: u32, filler_bytes: usize) -> Vec<u8> {
    frame(CONTINUATION, 0, stream, &field("x-filler", &"f".repeat(filler_bytes)))
}

pub(super) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

pub(super) fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8])
}
