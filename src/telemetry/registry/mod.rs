//! The metrics of one router: hands out handles, drops what left the catalog, writes the text form.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, TextEncoder};

use super::{AdminRefusal, Bounds, EndpointMetrics, TlsMetrics, VersionMetrics, metrics::Families};
use crate::domain::{Name, VersionKey};

pub(super) const REPLICA_STATES: [&str; 4] = ["ready", "starting", "draining", "wanted"];
pub(super) const PROTOCOLS: [&str; 3] = ["http1", "http2", "websocket"];

/// All metrics of one router, in a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    pub(super) families: Arc<Families>,
    versions: Mutex<HashMap<VersionKey, Arc<VersionMetrics>>>,
    endpoints: Mutex<BTreeMap<Name, Arc<EndpointMetrics>>>,
    unrouted: Arc<EndpointMetrics>,
    /// Open connections of clients.
    pub connections: Connections,
    /// What clients met that bounds them, and memory.
    pub bounds: Bounds,
    /// Access-log records lost.
    pub access_log_dropped: IntCounter,
    /// Requests that ended in a panic of the router.
    pub request_panics: IntCounter,
    /// Panics of the whole process.
    pub panics: IntCounter,
    /// Changes of the configuration that were refused.
    pub configuration_refusals: IntCounter,
    /// Handshakes and certificates.
    pub tls: TlsMetrics,
}

/// Counts one connection in its gauge until dropped.
#[derive(Debug)]
pub struct Open(IntGauge);

impl Open {
    /// One more in this gauge.
    pub fn count(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Open connections of clients by protocol. An upgraded connection moves from `http1` to
/// `websocket`.
#[derive(Debug)]
pub struct Connections {
    /// HTTP/1.0 and HTTP/1.1.
    pub http1: IntGauge,
    /// HTTP/2.
    pub http2: IntGauge,
    /// Connections that left HTTP by an upgrade.
    pub websocket: IntGauge,
}

/// What is known of a version at the moment of a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct VersionGauges {
    /// Slots with a request in progress.
    pub busy: u32,
    /// Slots of the ready replicas.
    pub slots: u32,
    /// Requests waiting for a slot.
    pub queued: u32,
    /// Replicas that are set aside.
    pub aside: u32,
    /// Ready replicas.
    pub ready: u32,
    /// Starting replicas.
    pub starting: u32,
    /// Draining replicas.
    pub draining: u32,
    /// Replicas the autoscaler asks for.
    pub wanted: u32,
    /// A ratio; `None` without slots: the series is then absent.
    pub utilization: Option<f64>,
}

impl Metrics {
    /// A registry with every declared series and those of the process.
    pub fn new() -> Arc<Self> {
        let families = Arc::new(Families::new());
        let [http1, http2, websocket] =
            PROTOCOLS.map(|protocol| families.connections.with_label_values(&[protocol]));
        Arc::new(Self {
            versions: Mutex::default(),
            endpoints: Mutex::default(),
            unrouted: Arc::new(EndpointMetrics::new(&families, None)),
            connections: Connections { http1, http2, websocket },
            bounds: Bounds::new(&families),
            access_log_dropped: families.access_log_dropped.clone(),
            request_panics: families.request_panics.clone(),
            panics: families.panics.clone(),
            configuration_refusals: families.configuration_refusals.clone(),
            tls: TlsMetrics::new(&families),
            families,
        })
    }

    /// The handles of a version: the same ones for the same key, until [`Metrics::retain`] drops
    /// them. Call it when routes are built, not per request: it takes a lock.
    pub fn version(&self, key: &VersionKey) -> Arc<VersionMetrics> {
        let mut versions = self.versions.lock();
        let metrics = versions
            .entry(key.clone())
            .or_insert_with(|| Arc::new(VersionMetrics::new(&self.families, key.clone())));
        Arc::clone(metrics)
    }

    /// The handles of an endpoint; as [`Metrics::version`].
    pub fn endpoint(&self, name: &Name) -> Arc<EndpointMetrics> {
        let mut endpoints = self.endpoints.lock();
        let metrics = endpoints
            .entry(name.clone())
            .or_insert_with(|| Arc::new(EndpointMetrics::new(&self.families, Some(name.clone()))));
        Arc::clone(metrics)
    }

    /// The handles for requests that found no endpoint; their label is empty.
    pub fn unrouted(&self) -> Arc<EndpointMetrics> {
        Arc::clone(&self.unrouted)
    }

    /// How many versions have series.
    pub fn versions(&self) -> usize {
        self.versions.lock().len()
    }

    /// Drops the series of every version that is not among `keys`, and of endpoints without a
    /// version among them. Handles still held stay usable and are shown to nobody.
    pub fn retain(&self, keys: &BTreeSet<VersionKey>) {
        self.versions.lock().retain(|key, metrics| {
            let stays = keys.contains(key);
            if !stays {
                metrics.retire();
            }
            stays
        });
        let names: BTreeSet<&Name> = keys.iter().map(|key| &key.endpoint).collect();
        self.endpoints.lock().retain(|name, metrics| {
            let stays = names.contains(name);
            if !stays {
                metrics.retire();
            }
            stays
        });
    }

    /// Sets the gauges of a version; called at a scrape, not per request.
    pub fn set_version(&self, key: &VersionKey, gauges: VersionGauges) {
        let metrics = self.version(key);
        metrics.busy.set(gauges.busy.into());
        metrics.slots.set(gauges.slots.into());
        metrics.queued.set(gauges.queued.into());
        metrics.set_aside.set(gauges.aside.into());
        let counts = [gauges.ready, gauges.starting, gauges.draining, gauges.wanted];
        for (gauge, count) in metrics.replicas.iter().zip(counts) {
            gauge.set(count.into());
        }
        metrics.set_utilization(gauges.utilization);
    }

    /// One more caller of the admin port who was refused.
    pub fn admin_refusal(&self, why: AdminRefusal) {
        self.families.admin_refusals.with_label_values(&[why.as_str()]).inc();
    }

    /// Sets the age of the catalog; called at a scrape.
    pub fn set_catalog_age(&self, age: Duration) {
        self.families.catalog_age.set(age.as_secs_f64());
    }

    /// Everything in the Prometheus text format 0.0.4, sorted by name and labels.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        if let Err(error) =
            TextEncoder::new().encode_utf8(&self.families.registry.gather(), &mut text)
        {
            tracing::error!(%error, "metrics could not be written in full");
        }
        text
    }

    /// Name, kind and help of the series of the process.
    pub(super) fn process_series(&self) -> Vec<(String, &'static str, String)> {
        let families = self.families.registry.gather();
        let process = families.iter().filter(|family| family.name().starts_with("process_"));
        process
            .map(|family| {
                let counter = family.get_field_type() == prometheus::proto::MetricType::COUNTER;
                let kind = if counter { "counter" } else { "gauge" };
                (family.name().to_owned(), kind, family.help().to_owned())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
