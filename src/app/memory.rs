//! Memory of the router, for those who look at it.

use std::sync::Arc;

use bytesize::ByteSize;

use crate::{
    lifecycle::{Lifecycle, MemoryLimit, Meter, Pressure, Reading, watch_memory},
    telemetry::Metrics,
};

/// Begins to look at memory, where there is a limit.
pub(super) fn watch(lifecycle: &Lifecycle, metrics: &Arc<Metrics>, limit: MemoryLimit) {
    let Some(meter) = Meter::open(limit) else {
        lifecycle.remark("memory", "no limit".to_owned());
        return;
    };
    let (life, metrics) = (lifecycle.clone(), Arc::clone(metrics));
    let told = move |reading: Reading, pressure: Pressure| {
        metrics.bounds.memory(reading.used, reading.limit, pressure as u8);
        let text = if reading.limit == 0 {
            "no limit".to_owned()
        } else {
            let limit = ByteSize(reading.limit);
            format!("{} % of {limit}, {}", reading.percent(), pressure.as_str())
        };
        life.remark("memory", text);
    };
    lifecycle.spawn("memory", watch_memory(lifecycle.clone(), meter, told));
}
