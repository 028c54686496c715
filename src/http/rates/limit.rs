//! One rate limit: a quota of requests for each client, and what its headers say
//! (draft-ietf-httpapi-ratelimit-headers).
//!
//! Depends on `axum` and `governor`.

use std::{fmt, hash::Hash, num::NonZeroU32, time::Duration};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::StateInformationMiddleware,
};

use super::buckets::Buckets;

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// A quota for each client of type `K`.
pub(super) struct Limit<K: Clone + Eq + Hash, C: Clock = MonotonicClock> {
    name: &'static str,
    requests_max: NonZeroU32,
    window: Duration,
    /// The value of `RateLimit-Policy`.
    policy: HeaderValue,
    buckets: Buckets<K>,
    limiter: RateLimiter<K, Buckets<K>, C, StateInformationMiddleware>,
}

/// What is left of a client's quota.
#[derive(Debug)]
pub(in crate::http) struct Left {
    /// The name of the limit.
    pub(in crate::http) name: &'static str,
    policy: HeaderValue,
    requests: u32,
    /// The time after which all of the quota is there again, or a refused request would be admitted.
    pub(in crate::http) after: Duration,
}

/// A client has used up its quota.
#[derive(Debug)]
pub(in crate::http) struct Exceeded {
    /// How many requests a client may send within the window.
    pub(in crate::http) requests_max: u32,
    pub(in crate::http) window: Duration,
    pub(in crate::http) left: Left,
}

impl<K: Clone + Eq + Hash> Limit<K> {
    pub(super) fn new(name: &'static str, requests_max: u32, window: Duration) -> Self {
        Self::with_clock(name, requests_max, window, MonotonicClock)
    }
}

impl<K: Clone + Eq + Hash, C: Clock> Limit<K, C> {
    fn with_clock(name: &'static str, requests_max: u32, window: Duration, clock: C) -> Self {
        let requests_max = NonZeroU32::new(requests_max).unwrap_or(NonZeroU32::MIN);
        let period = Quota::with_period(window / requests_max.get()).unwrap_or(Quota::per_second(NonZeroU32::MAX));
        let policy = format!("\"{name}\";q={requests_max};w={}", window.as_secs());
        let buckets = Buckets::default();
        Self {
            name,
            requests_max,
            window,
            // A name and numbers are always a valid header value.
            policy: HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("")),
            limiter: RateLimiter::new(period.allow_burst(requests_max), buckets.clone(), clock),
            buckets,
        }
    }

    /// Counts a request of a client.
    pub(super) fn take(&self, client: &K, cost: NonZeroU32) -> Result<Left, Exceeded> {
        let after = match self.limiter.check_key_n(client, cost) {
            Ok(Ok(state)) => {
                let left = state.remaining_burst_capacity();
                let used = self.requests_max.get().saturating_sub(left);
                return Ok(self.left(left, self.window / self.requests_max.get() * used));
            }
            Ok(Err(until)) => until.wait_time_from(self.limiter.clock().now()),
            // The settings allow no quota below the cost of a request.
            Err(_) => self.window,
        };
        Err(Exceeded { requests_max: self.requests_max.get(), window: self.window, left: self.left(0, after) })
    }

    fn left(&self, requests: u32, after: Duration) -> Left {
        Left { name: self.name, policy: self.policy.clone(), requests, after }
    }

    /// Gives a client its whole quota back.
    pub(super) fn forgive(&self, client: &K) {
        self.buckets.forget(client);
    }
}

impl Left {
    /// The headers that tell a client where it stands.
    pub(in crate::http) fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        // A name and numbers are always a valid header value.
        let left = HeaderValue::try_from(self.to_string()).unwrap_or(HeaderValue::from_static(""));
        [(RATE_LIMIT_POLICY, self.policy.clone()), (RATE_LIMIT, left)]
    }

    /// Adds the headers to those of a response, which may name another limit already.
    pub(in crate::http) fn show(&self, headers: &mut HeaderMap) {
        for (name, value) in self.headers() {
            headers.append(name, value);
        }
    }
}

/// The value of `RateLimit`.
impl fmt::Display for Left {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, requests, after, .. } = self;
        write!(formatter, "\"{name}\";r={requests};t={}", after.as_millis().div_ceil(1_000))
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn limit(requests_max: u32) -> (Limit<u64, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limit::with_clock("test", requests_max, Duration::from_secs(60), clock.clone()), clock)
    }

    #[test]
    fn a_client_may_send_its_quota_at_once_and_then_as_fast_as_it_comes_back() {
        let (limit, clock) = limit(6);
        let lefts: Vec<_> = (0..6).map(|_| limit.take(&1, ONE).unwrap().to_string()).collect();
        assert_eq!((&*lefts[0], &*lefts[5]), ("\"test\";r=5;t=10", "\"test\";r=0;t=60"));
        let exceeded = limit.take(&1, ONE).unwrap_err();
        assert_eq!(exceeded.left.to_string(), "\"test\";r=0;t=10");
        assert!(limit.take(&2, ONE).is_ok(), "others are not affected");
        // The wait is true: a moment earlier is too early.
        clock.advance(exceeded.left.after - Duration::from_millis(1));
        assert_eq!(limit.take(&1, ONE).unwrap_err().left.after, Duration::from_millis(1));
        clock.advance(Duration::from_millis(1));
        assert_eq!(limit.take(&1, ONE).unwrap().to_string(), "\"test\";r=0;t=60");
        clock.advance(Duration::from_secs(3_600));
        assert_eq!(limit.take(&1, ONE).unwrap().to_string(), "\"test\";r=5;t=10", "never more than the quota");
    }

    #[test]
    fn a_dear_request_takes_more_and_a_refused_one_nothing() {
        let (limit, clock) = limit(6);
        let four = NonZeroU32::new(4).unwrap();
        assert_eq!(limit.take(&1, four).unwrap().requests, 2);
        let exceeded = limit.take(&1, four).unwrap_err();
        assert_eq!(exceeded.left.after, Duration::from_secs(20));
        assert_eq!(limit.take(&1, ONE).unwrap().requests, 1);
        limit.forgive(&1);
        assert_eq!(limit.take(&1, ONE).unwrap().requests, 5);
        clock.advance(Duration::from_secs(60));
        assert_eq!(limit.take(&1, NonZeroU32::new(7).unwrap()).unwrap_err().left.after, Duration::from_secs(60));
    }

    #[test]
    fn the_headers_are_those_of_the_draft() {
        let (limit, _) = limit(300);
        let shown = limit.take(&1, ONE).unwrap().headers().map(|(name, value)| format!("{name}: {value:?}"));
        assert_eq!(shown, [r#"ratelimit-policy: "\"test\";q=300;w=60""#, r#"ratelimit: "\"test\";r=299;t=1""#]);
    }
}
