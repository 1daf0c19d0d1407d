//! Routers and replicas for the rows, and what is true after each of them.

use std::{collections::HashMap, fmt::Write as _, net::SocketAddr, time::Duration};

use super::{
    rogue::{Rogue, Speaks},
    row::{Row, Sight},
};
use crate::support::{
    router::Router,
    watch::{metric, until},
    wire::Answer,
};

/// How many rows run at once. Each has a replica of its own, because rows of one replica would see
/// each other's connections.
pub(crate) const LANES: usize = 8;

/// The limit of rows that end only with it. Long enough that a loaded machine does the rest in time.
const SLOW: &str = "3s";

/// One router; an endpoint and a replica for each lane, `slow-N` with a short `requestTimeout`.
pub(crate) struct Stage {
    pub(crate) router: Router,
    pub(crate) quick: Vec<Rogue>,
    pub(crate) slow: Vec<Rogue>,
}

impl Stage {
    pub(crate) fn of(speaks: Speaks, rows: &[Row]) -> Self {
        let scripts: HashMap<_, _> = rows.iter().map(|row| (row.name, row.acts.clone())).collect();
        let lanes = || (0..LANES).map(|_| Rogue::start(speaks, scripts.clone())).collect();
        let (quick, slow): (Vec<Rogue>, Vec<Rogue>) = (lanes(), lanes());
        let mut yaml = String::new();
        for (kind, limit, rogues) in [("quick", "60s", &quick), ("slow", SLOW, &slow)] {
            for (lane, rogue) in rogues.iter().enumerate() {
                write!(yaml, "{}", endpoint(kind, lane, limit, rogue.address)).expect("text");
            }
        }
        Self { router: Router::start(&yaml, &["--log-format", "text"]), quick, slow }
    }

    /// Every slot is free again.
    pub(crate) fn all_slots_come_back(&self) {
        until(Duration::from_secs(30), "no slot is busy", || {
            (metric(&self.router, "modelway_busy_slots", &[]) < 0.5).then_some(())
        });
        assert!(metric(&self.router, "modelway_request_panics_total", &[]) < 0.5);
        // None of these rows is a reason: each replica is the last one of its version.
        assert!(metric(&self.router, "modelway_set_aside_replicas", &[]) < 0.5);
    }
}

fn endpoint(kind: &str, lane: usize, limit: &str, address: SocketAddr) -> String {
    format!(
        "apiVersion: modelway.dev/v1alpha1\nkind: InferenceEndpoint\n\
         metadata: {{name: {kind}-{lane}}}\nspec:\n  auth: {{mode: None}}\n  versions:\n  \
         - {{name: only, maxQueueWait: 30s, requestTimeout: {limit}, streamIdleTimeout: {limit}, \
         targetRef: {{kind: Addresses, addresses: [\"{address}\"]}}, probe: {{none: {{}}}}}}\n---\n"
    )
}

/// Runs each row on a lane of its own, all lanes at once; what went wrong is told together.
pub(crate) fn on_lanes(rows: &[Row], run: impl Fn(usize, &Row) -> Result<(), String> + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let faults = parking_lot::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let (next, faults, run) = (&next, &faults, &run);
            scope.spawn(move || {
                while let Some(row) =
                    rows.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    if let Err(fault) = run(lane, row) {
                        faults.lock().push(format!("{} ({}): {fault}", row.name, row.rule));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner();
    assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));
}

/// Whether an answer is what the row says.
pub(crate) fn judge(answer: &Answer, sight: &Sight) -> Result<(), String> {
    let is_seen = match sight {
        Sight::Answer(status, body) => {
            answer.status == *status && answer.text() == *body && answer.complete
        }
        Sight::Refused(status, code) => answer.status == *status && answer.code() == *code,
        Sight::CutOff(status) => answer.status == *status && !answer.complete,
        Sight::OneOf(sights) => sights.iter().any(|sight| judge(answer, sight).is_ok()),
    };
    let shown = || {
        let text: String = answer.text().chars().take(200).collect();
        format!("{} complete={} {text:?} {:?}", answer.status, answer.complete, answer.fields)
    };
    if !is_seen {
        return Err(format!("expected {sight:?}, got {}", shown()));
    }
    if answer.fields.iter().any(|(_, value)| value.contains("forged")) {
        return Err(format!("forged: {}", shown()));
    }
    let id = answer.field("x-request-id").unwrap_or_default();
    if id.len() != 36 || answer.field("x-modelway-version") != Some("only") {
        return Err(format!("its fields: {}", shown()));
    }
    let by_router = answer.code() != "";
    let source = if by_router { "router" } else { "model" };
    if answer.field("x-modelway-source") != Some(source) {
        return Err(format!("its source: {}", shown()));
    }
    Ok(())
}
