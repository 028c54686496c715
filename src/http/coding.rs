//! Content codings (RFC 9110, 8.4): bodies of requests are decoded, answers encoded.
//!
//! By hand over the codecs, because what the shop takes and sends is whole in memory: one call does what a streaming
//! layer would need a box and a state machine for, and the bytes of a decoded body have one limit in one place.
//!
//! Depends on `flate2`, `brotli` and `zstd`.

use std::io::{self, Read};

use axum::http::HeaderValue;

/// The largest window that a sender may make the decoder of zstd allocate: 2^23 bytes, which RFC 9659 asks for.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Levels at which a page of a list takes well below a millisecond (docs/BENCHMARKS.md).
const ZSTD_LEVEL: i32 = 3;
const BROTLI_QUALITY: i32 = 4;
const GZIP_LEVEL: u32 = 6;
/// The size of the decoder's input buffer, in bytes.
const BUFFER_BYTES: usize = 4_096;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

/// Why a body cannot be decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Undecoded {
    /// Decoded it has more bytes than a body may have.
    TooLarge,
    Malformed,
}

impl Coding {
    /// All codings, the cheapest for its effect first.
    pub(super) const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];
    /// What `Accept-Encoding` says of them.
    pub(super) const NAMES: &'static str = "zstd, br, gzip";

    /// The coding with this name, in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        Self::ALL.into_iter().find(|coding| is(coding.name()) || *coding == Self::Gzip && is("x-gzip"))
    }

    /// Its name in headers.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// Decodes a whole body of at most `bytes_max` decoded bytes; no more are ever decoded.
    pub(super) fn decode(self, bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, Undecoded> {
        match self {
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(bytes).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                    Ok(decoder)
                });
                read(decoder.map_err(|_| Undecoded::Malformed)?, bytes_max)
            }
            Self::Brotli => read(brotli::Decompressor::new(bytes, BUFFER_BYTES), bytes_max),
            Self::Gzip => read(flate2::bufread::MultiGzDecoder::new(bytes), bytes_max),
        }
    }

    /// Encodes the whole body of an answer.
    pub(super) fn encode(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
            Self::Brotli => {
                let parameters = brotli::enc::BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    size_hint: bytes.len(),
                    ..Default::default()
                };
                let mut encoded = Vec::with_capacity(bytes.len() / 4);
                brotli::BrotliCompress(&mut &*bytes, &mut encoded, &parameters)?;
                Ok(encoded)
            }
            Self::Gzip => {
                let encoded = Vec::with_capacity(bytes.len() / 4);
                let mut encoder = flate2::write::GzEncoder::new(encoded, flate2::Compression::new(GZIP_LEVEL));
                io::Write::write_all(&mut encoder, bytes)?;
                encoder.finish()
            }
        }
    }
}

fn read(decoder: impl Read, bytes_max: usize) -> Result<Vec<u8>, Undecoded> {
    let mut decoded = Vec::new();
    let limit = (bytes_max as u64).saturating_add(1);
    decoder.take(limit).read_to_end(&mut decoded).map_err(|_| Undecoded::Malformed)?;
    if decoded.len() > bytes_max { Err(Undecoded::TooLarge) } else { Ok(decoded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_again_within_its_limit() {
        let text = b"{\"name\":\"Braided USB cable\"}".repeat(100);
        for coding in Coding::ALL {
            let encoded = coding.encode(&text).unwrap();
            assert!(encoded.len() < text.len() / 10, "{coding:?}: {}", encoded.len());
            assert_eq!(coding.decode(&encoded, text.len()), Ok(text.clone()), "{coding:?}");
            assert_eq!(coding.decode(&encoded, text.len() - 1), Err(Undecoded::TooLarge), "{coding:?}");
            assert_eq!(coding.decode(&encoded[..encoded.len() / 2], text.len()), Err(Undecoded::Malformed));
            assert_eq!(coding.decode(b"nonsense", text.len()), Err(Undecoded::Malformed), "{coding:?}");
        }
    }

    #[test]
    fn a_bomb_is_decoded_up_to_the_limit_only() {
        let zeros = vec![0; 64 << 20];
        for coding in Coding::ALL {
            let bomb = coding.encode(&zeros).unwrap();
            assert!(bomb.len() < 256 * 1_024, "{coding:?}: {}", bomb.len());
            assert_eq!(coding.decode(&bomb, 256 * 1_024), Err(Undecoded::TooLarge), "{coding:?}");
        }
    }

    #[test]
    fn codings_have_names_in_any_case() {
        for (name, coding) in [("gzip", Coding::Gzip), ("X-GZIP", Coding::Gzip), ("BR", Coding::Brotli)] {
            assert_eq!(Coding::named(name), Some(coding));
        }
        assert_eq!(Coding::named("deflate"), None);
        assert_eq!(Coding::ALL.map(Coding::name).join(", "), Coding::NAMES);
    }
}
