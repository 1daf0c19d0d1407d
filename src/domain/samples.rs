//! Sample values for the tests of all rooms: what a test is about, it says itself.

use std::time::Duration;

use super::{Autoscale, Name, Version, VersionKind};

/// A version with the defaults of endpoint files, except that nothing scales it: without traffic and
/// without replicas.
pub(crate) fn version(name: &Name) -> Version {
    Version {
        name: name.clone(),
        kind: VersionKind::Treatment,
        traffic_percentile: 0,
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
            enabled: false,
            min_replicas: 1,
            max_replicas: 1,
            target_utilization: 70,
            scale_down_window: Duration::from_secs(60),
        },
        startable: false,
        rolling: false,
        replicas: Vec::new(),
    }
}
