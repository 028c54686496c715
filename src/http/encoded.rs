//! Public answers as they were encoded: a page that many ask for is encoded once.
//!
//! Depends on `quick_cache` and its neighbours.

use std::hash::BuildHasher;

use axum::body::Bytes;
use foldhash::quality::RandomState;
use quick_cache::{Weighter, sync::Cache};

use super::coding::Coding;

/// The size of this cache as a fraction of the view cache of one kind.
const SHARE_OF_VIEWS: usize = 4;
/// The approximate size of an encoded answer, in bytes: for the initial capacity.
const ANSWER_BYTES: usize = 1_024;

#[derive(Clone)]
struct ByBytes;

/// The hash of the bytes before they were encoded, their number, and the coding.
type Key = (u64, usize, Coding);

impl Weighter<Key, Bytes> for ByBytes {
    fn weight(&self, _: &Key, encoded: &Bytes) -> u64 {
        (size_of::<(Key, Bytes)>() + encoded.len()) as u64
    }
}

/// Public answers as they were encoded, found by what they are: a page that many ask for is encoded once. The hash has
/// a secret seed, so nobody can make two pages that are taken for each other.
pub(super) struct EncodedAnswers {
    answers: Cache<Key, Bytes, ByBytes>,
    hash: RandomState,
}

impl EncodedAnswers {
    /// An empty cache, sized after the view cache of each kind.
    pub(super) fn beside(views_bytes_max: usize) -> Self {
        let bytes_max = views_bytes_max / SHARE_OF_VIEWS;
        let answers = Cache::with_weighter(bytes_max / ANSWER_BYTES, bytes_max as u64, ByBytes);
        Self { answers, hash: RandomState::default() }
    }

    /// The encoded form of these bytes.
    pub(super) fn get(&self, bytes: &Bytes, coding: Coding) -> Option<Bytes> {
        let key = (self.hash.hash_one(bytes.as_ref()), bytes.len(), coding);
        if let Some(encoded) = self.answers.get(&key) {
            return Some(encoded);
        }
        let encoded = Bytes::from(coding.encode(bytes).ok()?);
        self.answers.insert(key, encoded.clone());
        Some(encoded)
    }
}
