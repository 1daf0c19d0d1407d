//! The declaration of every series: name, kind, labels, unit, help. Nothing is declared elsewhere.
//!
//! Names and labels are part of contract §11: dashboards and load-test harnesses hang on them.

use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, core::Collector, process_collector::ProcessCollector,
};

/// One declared series.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) unit: &'static str,
    pub(super) help: &'static str,
}

/// What a series is in Prometheus.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Only grows, until the process or the version ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// With these upper bounds; `+Inf` is implied.
    Histogram(&'static [f64]),
}

const VERSION: &[&str] = &["endpoint", "version"];

/// The router itself should add tens of microseconds; a second is far beyond any healthy value.
pub(super) const ROUTER_SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0,
];
/// From the quickest model to the longest `requestTimeout` (contract §5).
pub(super) const REPLICA_SECONDS: &[f64] = &[
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0,
];
/// The first bucket holds the requests that did not wait at all; 0.5 is the default `maxQueueWait`.
pub(super) const QUEUE_SECONDS: &[f64] = &[
    0.0, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

macro_rules! series {
    ($($id:ident = $kind:expr, $name:literal, $labels:expr, $unit:literal, $help:literal;)*) => {
        $(pub(super) static $id: Series = Series {
            name: $name, kind: $kind, labels: $labels, unit: $unit, help: $help,
        };)*
        /// Every series of the router's own, in the order of `docs/metrics.md`.
        pub(super) static ALL: &[&Series] = &[$(&$id),*];
    };
}

series! {
    REQUESTS = Kind::Counter, "modelway_requests_total",
        &["endpoint", "version", "code", "reason"], "requests",
        "Requests that reached a version, by the status sent to the client and the reason for it.";
    REQUEST_SECONDS = Kind::Histogram(REPLICA_SECONDS), "modelway_request_seconds",
        VERSION, "seconds",
        "Time from the head of the request to the last byte of the answer.";
    ROUTER_TIME = Kind::Histogram(ROUTER_SECONDS), "modelway_router_seconds",
        VERSION, "seconds",
        "Time the router itself added to a request: neither queue nor replica nor client.";
    QUEUE_WAIT = Kind::Histogram(QUEUE_SECONDS), "modelway_queue_wait_seconds",
        VERSION, "seconds",
        "Time a request waited for a slot; requests that did not wait count as 0.";
    REPLICA_TIME = Kind::Histogram(REPLICA_SECONDS), "modelway_replica_seconds",
        VERSION, "seconds",
        "Time from sending a request to a replica to the last byte of its answer.";
    BUSY = Kind::Gauge, "modelway_busy_slots",
        VERSION, "slots",
        "Slots with a request that the replica has not provably finished.";
    SLOTS = Kind::Gauge, "modelway_slots",
        VERSION, "slots",
        "Slots of the ready replicas.";
    QUEUED = Kind::Gauge, "modelway_queued_requests",
        VERSION, "requests",
        "Requests waiting for a slot.";
    REPLICAS = Kind::Gauge, "modelway_replicas",
        &["endpoint", "version", "state"], "replicas",
        "Replicas by state; wanted is what the autoscaler asks for.";
    UTILIZATION = Kind::Gauge, "modelway_utilization_ratio",
        VERSION, "ratio",
        "Busy slots and queued requests over the slots of ready replicas; 2.5 is 250 %, absent without slots.";
    SCALING_DECISIONS = Kind::Counter, "modelway_scaling_decisions_total",
        &["endpoint", "version", "direction"], "decisions",
        "Decisions of the autoscaler.";
    RETRIES = Kind::Counter, "modelway_retries_total",
        &["endpoint", "version", "cause"], "requests",
        "Requests sent a second time because the first replica provably did not start them.";
    SET_ASIDE = Kind::Gauge, "modelway_set_aside_replicas",
        VERSION, "replicas",
        "Replicas that get no work for a while because requests to them failed.";
    SET_ASIDES = Kind::Counter, "modelway_set_asides_total",
        &["endpoint", "version", "cause"], "events",
        "Times a replica was given no more work until its next good probe because requests to it failed.";
    REQUEST_BYTES = Kind::Counter, "modelway_request_bytes_total",
        VERSION, "bytes",
        "Payload of requests sent on to replicas.";
    RESPONSE_BYTES = Kind::Counter, "modelway_response_bytes_total",
        VERSION, "bytes",
        "Payload of answers sent to clients.";
    REJECTED = Kind::Counter, "modelway_rejected_total",
        &["endpoint", "reason"], "requests",
        "Requests refused by the router before a replica got them, also those counted for a version; endpoint is empty where none was found.";
    CONNECTIONS = Kind::Gauge, "modelway_connections",
        &["protocol"], "connections",
        "Open connections of clients.";
    CONNECTION_LIMITS = Kind::Counter, "modelway_connection_limits_total",
        &["limit"], "connections",
        "Client connections that were refused or ended because they met a limit of the router.";
    FAILED_CREDENTIALS_SUPPRESSED = Kind::Counter, "modelway_failed_credentials_suppressed_total",
        &[], "requests",
        "Tries with wrong credentials beyond the budget of their address: answered, not logged.";
    MEMORY_PRESSURE = Kind::Gauge, "modelway_memory_pressure",
        &[], "none",
        "What the router does about its memory: 0 nothing, 1 connections are not kept, 2 new requests are refused.";
    MEMORY_USED = Kind::Gauge, "modelway_memory_used_bytes",
        &[], "bytes",
        "Memory in use that the kernel cannot take back, by what is judged against the limit.";
    MEMORY_LIMIT = Kind::Gauge, "modelway_memory_limit_bytes",
        &[], "bytes",
        "Memory that may be used; 0 without a limit.";
    CATALOG_AGE = Kind::Gauge, "modelway_catalog_age_seconds",
        &[], "seconds",
        "Time since the source of the catalog was last known to be in step with it.";
    BUILD_INFO = Kind::Gauge, "modelway_build_info",
        &["version"], "none",
        "Always 1; the label says which version of Modelway runs.";
    ACCESS_LOG_DROPPED = Kind::Counter, "modelway_access_log_dropped_total",
        &[], "records",
        "Access-log records lost because the writer could not keep up or failed.";
    REQUEST_PANICS = Kind::Counter, "modelway_request_panics_total",
        &[], "requests",
        "Requests that ended in a panic of the router: each one is a bug.";
    ADMIN_REFUSALS = Kind::Counter, "modelway_admin_refusals_total",
        &["refusal"], "requests",
        "Requests for credentials at the admin port that were refused, by why.";
    PANICS = Kind::Counter, "modelway_panics_total",
        &[], "panics",
        "Panics of the whole process, those of requests included: each one is a bug.";
    CONFIGURATION_REFUSALS = Kind::Counter, "modelway_configuration_refusals_total",
        &[], "changes",
        "Changes of the configuration that were refused; the last good one stayed in force.";
    HANDSHAKES = Kind::Counter, "modelway_tls_handshakes_total",
        &["result"], "handshakes",
        "TLS handshakes with clients, by how they ended.";
    CERTIFICATE_RELOADS = Kind::Counter, "modelway_certificate_reloads_total",
        &["result"], "changes",
        "Changes of certificate files: in force, or refused, and then those before stayed in force.";
    CERTIFICATE_EXPIRY = Kind::Gauge, "modelway_certificate_expiry_timestamp_seconds",
        &["name"], "seconds",
        "When a certificate in force expires, in seconds since 1970; name is the first host it is for.";
    ISSUER_KEYS = Kind::Gauge, "modelway_issuer_keys",
        &["issuer"], "keys",
        "Keys of an outside issuer of tokens that are known and can be used.";
    ISSUER_KEYS_AGE = Kind::Gauge, "modelway_issuer_keys_age_seconds",
        &["issuer"], "seconds",
        "Time since the keys of an outside issuer were last fetched; absent until they were.";
    ISSUER_FETCHES = Kind::Counter, "modelway_issuer_fetches_total",
        &["issuer", "outcome"], "fetches",
        "Fetches of the keys of an outside issuer, by how they ended.";
}

/// The values of a label that is not a name of the catalog: closed lists, except `code`.
pub(super) fn label_values(label: &str) -> Vec<&'static str> {
    match label {
        "endpoint" => vec!["name of an endpoint"],
        "version" => vec!["name of a version"],
        "code" => vec!["status code", super::handles::OTHER_CODE],
        "reason" => crate::domain::Reason::ALL.iter().map(|reason| reason.as_str()).collect(),
        "state" => super::registry::REPLICA_STATES.to_vec(),
        "direction" => super::handles::DIRECTIONS.map(super::handles::direction_word).to_vec(),
        "issuer" => vec!["issuer of tokens"],
        "outcome" => super::FetchOutcome::ALL.map(super::FetchOutcome::as_str).to_vec(),
        "refusal" => super::AdminRefusal::ALL.map(super::AdminRefusal::as_str).to_vec(),
        "limit" => super::ConnectionLimit::ALL.map(super::ConnectionLimit::as_str).to_vec(),
        "cause" => {
            let retries = super::RetryCause::ALL.map(super::RetryCause::as_str);
            let asides = crate::domain::AsideCause::ALL.map(crate::domain::AsideCause::as_str);
            [retries.as_slice(), &asides].concat()
        }
        "protocol" => super::registry::PROTOCOLS.to_vec(),
        "result" => super::tls::results(),
        "name" => vec!["name of a certificate"],
        _ => Vec::new(),
    }
}

/// The declared series as collectors of one registry.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) requests: IntCounterVec,
    pub(super) request_seconds: HistogramVec,
    pub(super) router_seconds: HistogramVec,
    pub(super) queue_wait_seconds: HistogramVec,
    pub(super) replica_seconds: HistogramVec,
    pub(super) busy: IntGaugeVec,
    pub(super) slots: IntGaugeVec,
    pub(super) queued: IntGaugeVec,
    pub(super) replicas: IntGaugeVec,
    pub(super) utilization: GaugeVec,
    pub(super) scaling_decisions: IntCounterVec,
    pub(super) retries: IntCounterVec,
    pub(super) set_aside: IntGaugeVec,
    pub(super) set_asides: IntCounterVec,
    pub(super) request_bytes: IntCounterVec,
    pub(super) response_bytes: IntCounterVec,
    pub(super) rejected: IntCounterVec,
    pub(super) connections: IntGaugeVec,
    pub(super) connection_limits: IntCounterVec,
    pub(super) failed_credentials_suppressed: IntCounter,
    pub(super) memory_pressure: IntGauge,
    pub(super) memory_used: Gauge,
    pub(super) memory_limit: Gauge,
    pub(super) catalog_age: Gauge,
    pub(super) access_log_dropped: IntCounter,
    pub(super) request_panics: IntCounter,
    pub(super) admin_refusals: IntCounterVec,
    pub(super) panics: IntCounter,
    pub(super) configuration_refusals: IntCounter,
    pub(super) handshakes: IntCounterVec,
    pub(super) certificate_reloads: IntCounterVec,
    pub(super) certificate_expiry: GaugeVec,
    pub(super) issuer_keys: IntGaugeVec,
    pub(super) issuer_keys_age: GaugeVec,
    pub(super) issuer_fetches: IntCounterVec,
}

impl Families {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let r = &registry;
        r.register(Box::new(ProcessCollector::for_self())).expect(ONCE);
        register(r, int_gauges(&BUILD_INFO)).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            requests: register(r, counters(&REQUESTS)),
            request_seconds: register(r, histograms(&REQUEST_SECONDS)),
            router_seconds: register(r, histograms(&ROUTER_TIME)),
            queue_wait_seconds: register(r, histograms(&QUEUE_WAIT)),
            replica_seconds: register(r, histograms(&REPLICA_TIME)),
            busy: register(r, int_gauges(&BUSY)),
            slots: register(r, int_gauges(&SLOTS)),
            queued: register(r, int_gauges(&QUEUED)),
            replicas: register(r, int_gauges(&REPLICAS)),
            utilization: register(r, gauges(&UTILIZATION)),
            scaling_decisions: register(r, counters(&SCALING_DECISIONS)),
            retries: register(r, counters(&RETRIES)),
            set_aside: register(r, int_gauges(&SET_ASIDE)),
            set_asides: register(r, counters(&SET_ASIDES)),
            request_bytes: register(r, counters(&REQUEST_BYTES)),
            response_bytes: register(r, counters(&RESPONSE_BYTES)),
            rejected: register(r, counters(&REJECTED)),
            connections: register(r, int_gauges(&CONNECTIONS)),
            connection_limits: register(r, counters(&CONNECTION_LIMITS)),
            failed_credentials_suppressed: single(&register(
                r,
                counters(&FAILED_CREDENTIALS_SUPPRESSED),
            )),
            memory_pressure: single(&register(r, int_gauges(&MEMORY_PRESSURE))),
            memory_used: single(&register(r, gauges(&MEMORY_USED))),
            memory_limit: single(&register(r, gauges(&MEMORY_LIMIT))),
            catalog_age: single(&register(r, gauges(&CATALOG_AGE))),
            access_log_dropped: single(&register(r, counters(&ACCESS_LOG_DROPPED))),
            request_panics: single(&register(r, counters(&REQUEST_PANICS))),
            admin_refusals: register(r, counters(&ADMIN_REFUSALS)),
            panics: single(&register(r, counters(&PANICS))),
            configuration_refusals: single(&register(r, counters(&CONFIGURATION_REFUSALS))),
            handshakes: register(r, counters(&HANDSHAKES)),
            certificate_reloads: register(r, counters(&CERTIFICATE_RELOADS)),
            certificate_expiry: register(r, gauges(&CERTIFICATE_EXPIRY)),
            issuer_keys: register(r, int_gauges(&ISSUER_KEYS)),
            issuer_keys_age: register(r, gauges(&ISSUER_KEYS_AGE)),
            issuer_fetches: register(r, counters(&ISSUER_FETCHES)),
            registry,
        }
    }
}

const ONCE: &str = "each series is declared once";
const DECLARED: &str = "a declared series has a valid name, help and labels";

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect(ONCE);
    collector
}

fn single<B: prometheus::core::MetricVecBuilder>(family: &prometheus::core::MetricVec<B>) -> B::M {
    family.with_label_values::<&str>(&[])
}

fn options(series: &Series) -> Opts {
    Opts::new(series.name, series.help)
}

fn counters(series: &Series) -> IntCounterVec {
    IntCounterVec::new(options(series), series.labels).expect(DECLARED)
}

fn int_gauges(series: &Series) -> IntGaugeVec {
    IntGaugeVec::new(options(series), series.labels).expect(DECLARED)
}

fn gauges(series: &Series) -> GaugeVec {
    GaugeVec::new(options(series), series.labels).expect(DECLARED)
}

fn histograms(series: &Series) -> HistogramVec {
    let buckets = match series.kind {
        Kind::Histogram(buckets) => buckets.to_vec(),
        Kind::Counter | Kind::Gauge => Vec::new(),
    };
    let options = HistogramOpts::from(options(series)).buckets(buckets);
    HistogramVec::new(options, series.labels).expect(DECLARED)
}
