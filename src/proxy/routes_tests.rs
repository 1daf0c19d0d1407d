//! Routes that follow the catalog step by step are those of the whole catalog.

use std::sync::Arc;

use super::{Proxy, Settings};
use crate::{
    auth::NoTokens,
    domain::{AuthPolicy, Catalog, Endpoint, ErrorProfile, Name, Version, VersionKey, samples},
    lifecycle::Lifecycle,
    replica::{AllHere, Registry},
    telemetry::{AccessLog, Metrics, VersionGauges},
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn version(of: &str) -> Version {
    samples::version(&name(of))
}

fn endpoint(of: &str, hosts: &[&str], versions: &[&str]) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        name: name(of),
        auth: AuthPolicy::open(),
        forward_credentials: false,
        max_payload_bytes: 1,
        sticky_by: None,
        error_profile: ErrorProfile::Kubernetes,
        hosts: hosts.iter().map(|host| (*host).into()).collect(),
        server_timing: false,
        versions: versions.iter().map(|of| version(of)).collect(),
        default_version: 0,
    })
}

fn catalog(endpoints: &[&Arc<Endpoint>]) -> Catalog {
    let endpoints = endpoints.iter().map(|one| (one.name.clone(), Arc::clone(one))).collect();
    Catalog { revision: 1, endpoints }
}

struct Room {
    proxy: Arc<Proxy>,
    metrics: Arc<Metrics>,
}

impl Room {
    fn new() -> Self {
        let metrics = Metrics::new();
        let registry = Registry::new(Arc::new(|_| {}), Arc::new(AllHere));
        let (settings, lifecycle) = (Settings::default(), Lifecycle::new());
        let log = AccessLog::off();
        let proxy = Proxy::new(
            settings,
            lifecycle,
            registry,
            Arc::clone(&metrics),
            log,
            Arc::new(NoTokens),
        );
        Self { proxy, metrics }
    }

    /// Publishes, and sees that exactly these endpoints are routed, each by its newest picture.
    fn publish(&self, endpoints: &[&Arc<Endpoint>]) {
        let catalog = catalog(endpoints);
        self.proxy.publish(&catalog);
        let routes = self.proxy.routes.load();
        assert_eq!(routes.endpoints.len(), endpoints.len());
        for endpoint in endpoints {
            let live = routes.endpoint(endpoint.name.as_str()).unwrap();
            assert!(Arc::ptr_eq(&live.endpoint, endpoint));
        }
        let versions: usize = endpoints.iter().map(|endpoint| endpoint.versions.len()).sum();
        assert_eq!(self.metrics.versions(), versions);
    }

    fn host(&self, host: &str) -> Option<Arc<Endpoint>> {
        self.proxy.routes.load().host(host).map(|live| Arc::clone(&live.endpoint))
    }
}

#[test]
fn routes_follow_endpoints_that_come_change_and_go() {
    let room = Room::new();
    let (one, two) = (endpoint("one", &[], &["blue"]), endpoint("two", &[], &["blue", "green"]));
    room.publish(&[&one]);
    room.publish(&[&one, &two]);
    let before = Arc::clone(room.proxy.routes.load().endpoint("one").unwrap());
    let other = endpoint("two", &[], &["green"]);
    room.publish(&[&one, &other]);
    let after = Arc::clone(room.proxy.routes.load().endpoint("one").unwrap());
    assert!(Arc::ptr_eq(&before, &after), "what is as it was is not made again");
    room.publish(&[&other]);
    room.publish(&[]);
}

#[test]
fn an_edit_does_not_begin_the_split_anew() {
    let room = Room::new();
    room.publish(&[&endpoint("one", &[], &["blue"])]);
    let tickets = Arc::clone(&room.proxy.routes.load().endpoint("one").unwrap().tickets);
    room.publish(&[&endpoint("one", &[], &["blue", "green"])]);
    let routes = room.proxy.routes.load();
    assert!(Arc::ptr_eq(&tickets, &routes.endpoint("one").unwrap().tickets));
}

#[test]
fn hosts_follow_the_endpoints_that_have_them() {
    let room = Room::new();
    let (one, two) = (endpoint("one", &["a.example"], &["blue"]), endpoint("two", &[], &["blue"]));
    room.publish(&[&one, &two]);
    assert!(Arc::ptr_eq(&room.host("a.example").unwrap(), &one));
    let edited = endpoint("one", &["a.example"], &["green"]);
    room.publish(&[&edited, &two]);
    assert!(Arc::ptr_eq(&room.host("a.example").unwrap(), &edited), "the newest picture");
    let (none, taken) =
        (endpoint("one", &[], &["green"]), endpoint("two", &["a.example"], &["blue"]));
    room.publish(&[&none, &taken]);
    assert!(Arc::ptr_eq(&room.host("a.example").unwrap(), &taken));
    room.publish(&[&none]);
    assert!(room.host("a.example").is_none());
}

#[test]
fn an_endpoint_that_cannot_be_routed_is_left_out_until_it_changes() {
    let room = Room::new();
    let (good, bad) = (endpoint("one", &[], &["blue"]), {
        let mut bad = Endpoint::clone(&endpoint("two", &["b.example"], &["blue"]));
        bad.versions[0].scoring_path = "no path\n".into();
        Arc::new(bad)
    });
    room.proxy.publish(&catalog(&[&good, &bad]));
    assert!(room.proxy.routes.load().endpoint("two").is_none());
    assert!(room.host("b.example").is_none());
    assert!(room.proxy.routes.load().endpoint("one").is_some());
    room.publish(&[&good, &endpoint("two", &["b.example"], &["blue"])]);
    assert!(room.host("b.example").is_some());
}

#[test]
fn series_that_a_late_scrape_brought_back_go_with_the_next_publication() {
    let room = Room::new();
    let one = endpoint("one", &[], &["blue"]);
    room.publish(&[&one, &endpoint("two", &[], &["blue"])]);
    room.publish(&[&one]);
    let gone = VersionKey { endpoint: name("two"), version: name("blue") };
    room.metrics.set_version(&gone, VersionGauges::default());
    assert_eq!(room.metrics.versions(), 2);
    room.publish(&[&one]);
    assert!(!room.metrics.encode().contains(r#"endpoint="two""#));
}
