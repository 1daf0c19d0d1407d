//! Tries with wrong credentials, by address.
//!
//! Promises: who has a valid credential is never refused for what others of the same address have
//! tried, because many clients may share an address; beyond its budget an address costs less, not
//! more: no line in the log, no kept connection, no dear check. The memory for it is bounded.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use dashmap::DashMap;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use super::{crowd::AddressKey, settings::FailedCredentials};

/// The most addresses that are remembered. Those of which nothing would be known any more are
/// forgotten first; when that is not enough, further ones share one budget.
pub(super) const ADDRESSES_MAX: usize = 65_536;
/// How many failures pass between two looks for addresses to forget, which visit each one.
const FORGET_EVERY: usize = 1024;
/// How many failures pass between two counts of them: so many may come on top.
const COUNT_EVERY: usize = 64;

/// Signatures that are checked in a second for an address beyond its budget: new tokens of others who
/// share it still pass, and a core has 2 % to do at 100 µs each.
const SIGNATURES_PER_SECOND: NonZeroU32 = NonZeroU32::new(200).expect("not zero");

/// What is remembered of wrong credentials.
pub(crate) struct Failures {
    limiter: DefaultKeyedRateLimiter<AddressKey>,
    signatures: DefaultKeyedRateLimiter<AddressKey>,
    clock: DefaultClock,
    /// Addresses beyond their budget, each until it has a try again.
    beyond: DashMap<AddressKey, Instant>,
    /// How many those are, to be asked with every request.
    beyond_count: AtomicUsize,
    tries: AtomicUsize,
    /// Whether no more addresses can be remembered.
    is_full: AtomicBool,
    addresses_max: usize,
}

impl std::fmt::Debug for Failures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Failures").field("addresses", &self.limiter.len()).finish_non_exhaustive()
    }
}

impl Failures {
    pub(super) fn new(budget: FailedCredentials) -> Self {
        Self::with_addresses(budget, ADDRESSES_MAX)
    }

    fn with_addresses(budget: FailedCredentials, addresses_max: usize) -> Self {
        let quota = Quota::per_second(budget.per_second).allow_burst(budget.burst);
        Self {
            limiter: RateLimiter::dashmap(quota),
            signatures: RateLimiter::dashmap(Quota::per_second(SIGNATURES_PER_SECOND)),
            clock: DefaultClock::default(),
            beyond: DashMap::new(),
            beyond_count: AtomicUsize::new(0),
            tries: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
            addresses_max,
        }
    }

    /// Counts a try with a wrong credential. `Some`: the address is beyond its budget, and has a
    /// try again after this time.
    pub(super) fn note(&self, address: IpAddr) -> Option<Duration> {
        let key = AddressKey::of(address);
        let tries = self.tries.fetch_add(1, Ordering::Relaxed);
        if tries.is_multiple_of(FORGET_EVERY) {
            self.forget();
        }
        if tries.is_multiple_of(COUNT_EVERY) {
            self.is_full.store(self.limiter.len() >= self.addresses_max, Ordering::Relaxed);
        }
        let full = self.is_full.load(Ordering::Relaxed);
        let refused = self.limiter.check_key(if full { &SHARED } else { &key }).err()?;
        let wait = refused.wait_time_from(self.clock.now());
        if self.beyond_count.load(Ordering::Relaxed) < self.addresses_max
            && self.beyond.insert(key, Instant::now() + wait).is_none()
        {
            self.beyond_count.fetch_add(1, Ordering::Relaxed);
        }
        Some(wait)
    }

    /// Whether the address is beyond its budget: what is dear to check, as a signature that is not
    /// known, is not checked for it. A key is always checked. One atomic load in good times.
    pub(crate) fn is_beyond(&self, address: IpAddr) -> bool {
        if self.beyond_count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let until = self.beyond.get(&AddressKey::of(address)).map(|until| *until);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether one more signature is checked for an address that is beyond its budget. Only such
    /// addresses have a place here, so their number is bounded like theirs.
    pub(super) fn may_verify(&self, address: IpAddr) -> bool {
        self.signatures.check_key(&AddressKey::of(address)).is_ok()
    }

    fn forget(&self) {
        self.limiter.retain_recent();
        self.signatures.retain_recent();
        let now = Instant::now();
        self.beyond.retain(|_, until| now < *until);
        self.beyond_count.store(self.beyond.len(), Ordering::Relaxed);
    }
}

/// The address of all who come when no more can be remembered: nobody's own.
const SHARED: AddressKey = AddressKey::V6(0);

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const BUDGET: FailedCredentials = FailedCredentials {
        burst: NonZeroU32::new(5).unwrap(),
        per_second: NonZeroU32::new(1).unwrap(),
    };

    fn ip(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(number).into()
    }

    #[test]
    fn an_address_has_its_budget_and_others_have_theirs() {
        let failures = Failures::new(BUDGET);
        assert_eq!((0..5).map(|_| failures.note(ip(1))).collect::<Vec<_>>(), [None; 5]);
        assert!(!failures.is_beyond(ip(1)));
        let wait = failures.note(ip(1)).expect("the sixth is beyond");
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert!(failures.is_beyond(ip(1)));
        assert!(!failures.is_beyond(ip(2)));
        assert_eq!(failures.note(ip(2)), None);
    }

    #[test]
    fn addresses_beyond_number_do_not_take_memory_beyond_bound() {
        let failures = Failures::with_addresses(BUDGET, 100);
        for number in 0..10_000 {
            failures.note(ip(number));
        }
        let most = 100 + COUNT_EVERY + 1;
        assert!(failures.limiter.len() <= most, "{}", failures.limiter.len());
        assert!(failures.beyond.len() <= 100, "{}", failures.beyond.len());
        assert!(failures.note(ip(20_000)).is_some(), "newcomers share one budget");
    }

    #[test]
    fn who_has_waited_is_forgotten() {
        let fast = FailedCredentials {
            burst: NonZeroU32::MIN,
            per_second: NonZeroU32::new(1_000_000).unwrap(),
        };
        let failures = Failures::new(fast);
        for number in 0..u32::try_from(FORGET_EVERY * 4).unwrap() {
            failures.note(ip(number));
        }
        failures.forget();
        let until = Instant::now() + Duration::from_secs(10);
        while !failures.limiter.is_empty() && Instant::now() < until {
            std::thread::yield_now();
            failures.forget();
        }
        assert_eq!(failures.limiter.len(), 0);
        assert!(!failures.is_beyond(ip(1)));
    }
}
