//! What tests ask the router's admin port and its replicas.

use std::time::Duration;

use crate::support::router::{Router, get};

/// How long something may take that happens at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Busy slots of a version.
pub(crate) fn busy(router: &Router, version: &str) -> u64 {
    replicas(router, version).iter().filter_map(|replica| replica["busy"].as_u64()).sum()
}

/// Waits until a version has this many busy slots.
pub(crate) fn await_busy(router: &Router, version: &str, count: u64) {
    let what = format!("{count} busy slots of {version}");
    router.eventually(SOON, &what, |router| {
        std::thread::park_timeout(Duration::from_millis(5));
        (busy(router, version) == count).then_some(())
    });
}

/// A count of `modelway model`, over the replicas of a version.
pub(crate) fn stat(router: &Router, version: &str, name: &str) -> u64 {
    let addresses = replicas(router, version);
    let stats = addresses.iter().map(|replica| {
        let address = replica["address"].as_str().expect("an address");
        let (status, body) = get(address.parse().expect("an address"), "/stats");
        assert_eq!(status, 200);
        serde_json::from_str::<serde_json::Value>(&body).expect("JSON")
    });
    stats.filter_map(|stats| stats[name].as_u64()).sum()
}

fn replicas(router: &Router, version: &str) -> Vec<serde_json::Value> {
    let all = router.admin_json("/api/v1/replicas");
    let all = all.as_array().expect("a list").iter();
    all.filter(|replica| replica["version"] == version).cloned().collect()
}
