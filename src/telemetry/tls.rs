//! The series about TLS: handshakes, reloads of certificates, and when certificates expire.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use prometheus::{GaugeVec, IntCounter};

use super::metrics::Families;

/// How a TLS handshake ended: the label `result` of `modelway_tls_handshakes_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandshakeResult {
    /// Both sides have keys.
    Ok,
    /// It was not complete in time.
    Timeout,
    /// The client closed in the middle of it.
    Closed,
    /// What came was not TLS.
    NotTls,
    /// No version, cipher suite or protocol in common.
    Incompatible,
    /// The client's certificate is absent or not good.
    ClientCertificate,
    /// The client refused, for example the router's certificate.
    RefusedByClient,
    /// Anything else.
    Failed,
}

impl HandshakeResult {
    /// Every result, for tables and tests.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Timeout,
        Self::Closed,
        Self::NotTls,
        Self::Incompatible,
        Self::ClientCertificate,
        Self::RefusedByClient,
        Self::Failed,
    ];

    /// The value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::ClientCertificate => "client_certificate",
            Self::RefusedByClient => "refused_by_client",
            Self::Failed => "failed",
        }
    }
}

/// What became of changed certificate files: the label `result` of
/// `modelway_certificate_reloads_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReloadResult {
    /// They are in force.
    Ok,
    /// They are not good; those before stayed in force.
    Refused,
}

impl ReloadResult {
    /// Every result, for tables and tests.
    pub const ALL: [Self; 2] = [Self::Ok, Self::Refused];

    /// The value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
        }
    }
}

/// Both lists, each word once: the two series share the label.
pub(super) fn results() -> Vec<&'static str> {
    let mut words: Vec<_> = HandshakeResult::ALL.map(HandshakeResult::as_str).to_vec();
    words.extend(ReloadResult::ALL.map(ReloadResult::as_str));
    let mut seen = Vec::new();
    words.retain(|word| {
        let new = !seen.contains(word);
        seen.push(*word);
        new
    });
    words
}

/// Handles to the series about TLS.
#[derive(Debug)]
pub struct TlsMetrics {
    handshakes: [IntCounter; HandshakeResult::ALL.len()],
    reloads: [IntCounter; ReloadResult::ALL.len()],
    expiry: GaugeVec,
    /// The names that have a series.
    shown: Mutex<Vec<Box<str>>>,
}

impl TlsMetrics {
    pub(super) fn new(families: &Families) -> Self {
        Self {
            handshakes: HandshakeResult::ALL
                .map(|result| families.handshakes.with_label_values(&[result.as_str()])),
            reloads: ReloadResult::ALL
                .map(|result| families.certificate_reloads.with_label_values(&[result.as_str()])),
            expiry: families.certificate_expiry.clone(),
            shown: Mutex::default(),
        }
    }

    /// Counts one handshake.
    pub fn handshake(&self, result: HandshakeResult) {
        if let Some(counter) = self.handshakes.get(result as usize) {
            counter.inc();
        }
    }

    /// Counts one change of certificate files.
    pub fn reload(&self, result: ReloadResult) {
        if let Some(counter) = self.reloads.get(result as usize) {
            counter.inc();
        }
    }

    /// Shows when each certificate expires, and nothing of others. Of two with one name the earlier
    /// counts. As many series as names: whoever calls bounds them.
    pub fn set_expiry<'a>(&self, certificates: impl Iterator<Item = (&'a str, SystemTime)>) {
        let mut earliest: BTreeMap<&str, SystemTime> = BTreeMap::new();
        for (name, expires) in certificates {
            let known = earliest.entry(name).or_insert(expires);
            *known = expires.min(*known);
        }
        let mut shown = self.shown.lock();
        for gone in shown.iter().filter(|name| !earliest.contains_key(&***name)) {
            // An error means that the series was not there, which is what removing it is for.
            drop(self.expiry.remove_label_values(&[gone]));
        }
        *shown = earliest.keys().map(|name| Box::from(*name)).collect();
        for (name, expires) in earliest {
            // Before 1970 nothing is valid any more, and 0 says so.
            let since = expires.duration_since(UNIX_EPOCH).unwrap_or_default();
            self.expiry.with_label_values(&[name]).set(since.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::telemetry::Metrics;

    use super::*;

    #[test]
    fn a_result_is_at_its_place_in_the_list_of_all() {
        for (at, result) in HandshakeResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, at);
        }
        for (at, result) in ReloadResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, at);
        }
    }

    #[test]
    fn a_name_that_is_gone_leaves_no_series_and_the_earlier_of_two_counts() {
        let metrics = Metrics::new();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        metrics.tls.set_expiry([("a", at(7)), ("b", at(9)), ("b", at(8))].into_iter());
        let text = metrics.encode();
        let series = "modelway_certificate_expiry_timestamp_seconds";
        assert!(text.contains(&format!("{series}{{name=\"a\"}} 7")), "{text}");
        assert!(text.contains(&format!("{series}{{name=\"b\"}} 8")), "{text}");
        metrics.tls.set_expiry([("b", at(10))].into_iter());
        let text = metrics.encode();
        assert!(!text.contains("name=\"a\""), "{text}");
        assert!(text.contains(&format!("{series}{{name=\"b\"}} 10")), "{text}");
    }
}
