//! What a change of the catalog costs at scale, and what the autoscale driver costs at rest: 1 000
//! endpoints with 6 versions each and 10 000 replicas, without their connections.
#![expect(clippy::print_stdout, reason = "a measurement speaks to people")]

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
};

use modelway::{
    auth::NoTokens,
    control::{Driver, always_leads},
    domain::{
        AuthPolicy, Autoscale, Catalog, Endpoint, ErrorProfile, Name, Replica, ReplicaId,
        ReplicaState, Version, VersionKey, VersionKind,
    },
    lifecycle::Lifecycle,
    platform::Orders,
    proxy::{Proxy, Settings},
    replica::{AllHere, Registry},
    telemetry::{AccessLog, Metrics},
};

const ENDPOINTS: u64 = 1000;
const VERSIONS: u64 = 6;
/// Two of three versions have two replicas: 10 000 in all.
const REPLICAS: [u64; 3] = [2, 2, 1];
const ROUNDS: u32 = 300;
/// The driver is watched for this long, after it has seen everything once.
const WATCHED: Duration = Duration::from_secs(5);
/// The most that one changed endpoint may cost a publication.
const PUBLICATION_MAX: Duration = Duration::from_millis(1);
/// The most that the driver may take of a core when nothing happens, in percent.
const IDLE_PERCENT_MAX: f64 = 1.0;

fn main() -> ExitCode {
    let registry = Registry::new(Arc::new(|_signal| {}), Arc::new(AllHere));
    let metrics = Metrics::new();
    let lifecycle = Lifecycle::new();
    let proxy = Proxy::new(
        Settings::default(),
        lifecycle.clone(),
        Arc::clone(&registry),
        Arc::clone(&metrics),
        AccessLog::off(),
        Arc::new(NoTokens),
    );
    let mut catalog = whole();
    let begun = Instant::now();
    proxy.publish(&catalog);
    println!("publish all: {:.1} ms", ms(begun.elapsed()));
    let (mut cloned, mut published) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let mut next = Catalog { revision: catalog.revision + 1, ..catalog.clone() };
        cloned.push(begun.elapsed());
        let place = next.endpoints.values_mut().nth(round as usize % 997).expect("there are 1000");
        let mut endpoint = Endpoint::clone(place);
        let replicas = endpoint.versions.iter_mut().flat_map(|version| &mut version.replicas);
        replicas.take(1).for_each(|replica| replica.generation += 1);
        *place = Arc::new(endpoint);
        let begun = Instant::now();
        proxy.publish(&next);
        published.push(begun.elapsed());
        catalog = next;
    }
    println!("copy the catalog: {:.3} ms (median of {ROUNDS})", ms(median(&mut cloned)));
    let one = median(&mut published);
    println!("publish one changed endpoint: {:.3} ms (median of {ROUNDS})", ms(one));
    let percent = idle_percent(catalog, registry, &lifecycle);
    println!("autoscale driver at rest: {percent:.2} % of a core");
    let holds = one <= PUBLICATION_MAX && percent < IDLE_PERCENT_MAX;
    println!("{}", if holds { "holds" } else { "DOES NOT HOLD" });
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn idle_percent(catalog: Catalog, registry: Arc<Registry>, lifecycle: &Lifecycle) -> f64 {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime is made");
    runtime.block_on(async {
        let (_signals, signals) = mpsc::channel(16);
        let (_catalogs, catalogs) = watch::channel(Arc::new(catalog));
        let driver = Driver {
            signals,
            catalog: catalogs,
            load: registry,
            orders: Arc::new(Nobody),
            record: Arc::new(|decision| println!("decided: {}", decision.reason)),
            leads: always_leads(),
        };
        let _handle = driver.start(lifecycle);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = cpu();
        tokio::time::sleep(WATCHED).await;
        cpu().saturating_sub(before).as_secs_f64() / WATCHED.as_secs_f64() * 100.0
    })
}

/// The CPU time of this thread, from Linux.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let nanos = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.expect("the first field is a number of nanoseconds"))
}

struct Nobody;

impl Orders for Nobody {
    fn start(&self, _: &VersionKey, _: u32) {}
    fn drain(&self, _: ReplicaId) {}
    fn readmit(&self, _: ReplicaId) {}
    fn retire(&self, _: &VersionKey, _: &[ReplicaId]) {}
    fn suspect(&self, _: ReplicaId, _: u64) {}
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

fn whole() -> Catalog {
    let mut id = 0;
    let endpoints = (0..ENDPOINTS).map(|endpoint| {
        let endpoint = name(&format!("endpoint-{endpoint:04}"));
        let versions = (0..VERSIONS)
            .zip(REPLICAS.into_iter().cycle())
            .map(|(version, replicas)| {
                let ids = id + 1..=id + replicas;
                id += replicas;
                a_version(version, ids.map(|id| a_replica(id, &endpoint)).collect())
            })
            .collect();
        (endpoint.clone(), Arc::new(an_endpoint(endpoint, versions)))
    });
    Catalog { revision: 1, endpoints: endpoints.collect() }
}

fn an_endpoint(name: Name, versions: Vec<Version>) -> Endpoint {
    Endpoint {
        hosts: vec![format!("{name}.example").into()],
        name,
        auth: AuthPolicy::open(),
        forward_credentials: false,
        max_payload_bytes: 1,
        sticky_by: None,
        error_profile: ErrorProfile::Kubernetes,
        server_timing: false,
        versions,
        default_version: 0,
    }
}

fn a_version(number: u64, replicas: Vec<Replica>) -> Version {
    Version {
        name: name(&format!("version-{number}")),
        kind: VersionKind::Treatment,
        traffic_percentile: 10,
        mirror_percentile: 0,
        scoring_path: "/score".into(),
        slots_per_replica: 1,
        max_queue_wait: Duration::from_millis(500),
        max_queue_length: None,
        request_timeout: Duration::from_secs(60),
        stream_idle_timeout: Duration::from_secs(300),
        on_disconnect: None,
        fallback_to_default: false,
        autoscale: Autoscale {
            enabled: true,
            min_replicas: 1,
            max_replicas: 4,
            target_utilization: 70,
            scale_down_window: Duration::from_secs(60),
        },
        startable: true,
        rolling: false,
        replicas,
    }
}

fn a_replica(id: u64, endpoint: &Name) -> Replica {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    Replica {
        id: ReplicaId(id),
        name: format!("{endpoint}-{id}").into(),
        ordinal: None,
        http: address,
        grpc: address,
        state: ReplicaState::Ready,
        generation: 1,
    }
}
