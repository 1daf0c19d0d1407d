//! The series of outside issuers: how fresh their keys are, and how fetching them goes.

use std::{collections::BTreeMap, time::Duration};

use super::{Metrics, metrics::Families};
use crate::domain::IssuerStatus;

/// How fetching the keys of an issuer has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchOutcome {
    /// The keys are fresh.
    Ok,
    /// No connection, or no trust in its certificate.
    Unreachable,
    /// No complete answer in time.
    Timeout,
    /// An answer that is none.
    Invalid,
}

impl FetchOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Unreachable, Self::Timeout, Self::Invalid];

    /// The value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Invalid => "invalid",
        }
    }
}

impl Metrics {
    /// Counts a fetch of an issuer's keys.
    pub fn issuer_fetch(&self, issuer: &str, outcome: FetchOutcome) {
        self.families.issuer_fetches.with_label_values(&[issuer, outcome.as_str()]).inc();
    }

    /// Sets the gauges of issuers; called at a scrape. Where an issuer's keys are at several places,
    /// their sum counts and the oldest age.
    pub fn set_issuers(&self, statuses: &[IssuerStatus]) {
        let mut issuers: BTreeMap<&str, (usize, Option<Duration>)> = BTreeMap::new();
        for status in statuses {
            let (keys, age) = issuers.entry(&status.issuer).or_default();
            *keys += status.keys;
            *age = (*age).max(status.age);
        }
        let Families { issuer_keys, issuer_keys_age, .. } = &*self.families;
        for (issuer, (keys, age)) in issuers {
            issuer_keys.with_label_values(&[issuer]).set(i64::try_from(keys).unwrap_or(i64::MAX));
            if let Some(age) = age {
                issuer_keys_age.with_label_values(&[issuer]).set(age.as_secs_f64());
            }
        }
    }

    /// Drops the series of an issuer that no endpoint names any more.
    pub fn drop_issuer(&self, issuer: &str) {
        let Families { issuer_keys, issuer_keys_age, issuer_fetches, .. } = &*self.families;
        // An error means that the series was not there.
        drop(issuer_keys.remove_label_values(&[issuer]));
        drop(issuer_keys_age.remove_label_values(&[issuer]));
        for outcome in FetchOutcome::ALL {
            drop(issuer_fetches.remove_label_values(&[issuer, outcome.as_str()]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_have_series_until_they_are_dropped() {
        let metrics = Metrics::new();
        let status = |uri: &str, keys, age: Option<u64>| IssuerStatus {
            issuer: "https://a.example".to_owned(),
            jwks_uri: Some(uri.to_owned()),
            keys,
            age: age.map(Duration::from_secs),
            fault: None,
        };
        metrics.set_issuers(&[status("one", 2, Some(7)), status("two", 3, None)]);
        metrics.issuer_fetch("https://a.example", FetchOutcome::Timeout);
        let text = metrics.encode();
        for line in [
            r#"modelway_issuer_keys{issuer="https://a.example"} 5"#,
            r#"modelway_issuer_keys_age_seconds{issuer="https://a.example"} 7"#,
            r#"modelway_issuer_fetches_total{issuer="https://a.example",outcome="timeout"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        metrics.drop_issuer("https://a.example");
        assert!(!metrics.encode().contains("a.example"));
    }
}
