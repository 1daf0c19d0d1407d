//! The autoscale driver: from the load of the data plane to orders for the platform.
//!
//! Promises: a crossing of the target reaches [`Orders::start`](crate::platform::Orders::start) in
//! the same turn of the task that receives the signal; nothing is ordered twice; a replica is ended
//! only after it has been drained and is idle; each change is recorded once, with its reason.
//!
//! How: one task. Signals make it look at one version at once; a tick looks at all of them, to fill
//! the scale-down window and to find what a lost signal would have told. Every look is the same:
//! sample, [`autoscale::decide`](crate::autoscale::decide), act, arm the next alarm. What has been
//! ordered counts from then on, whether or not the catalog shows it yet.
//!
//! Of several routers one leads, and only that one scales. The others decide, record and arm nothing;
//! they pass failures on, because each has connections of its own. Who loses leadership takes its
//! victims back, as nobody else knows them, and forgets the rest; who gains it starts anew: what is
//! missing is added at once, and nothing removed before a whole window was seen.
//!
//! From [`Phase::Draining`](crate::lifecycle::Phase::Draining) on nothing is scaled any more, in
//! either direction: fewer replicas would slow down what is to be finished, and a new one would be
//! ready only to be stopped. Failures are still passed on, because a replica is used again only
//! after a new probe.
//!
//! Not here: how many replicas (`autoscale`), how they start and stop and which router leads
//! (`platform`), where decisions are kept and shown (`telemetry`, `admin`).

mod driver;
mod held;
mod scaled;
#[cfg(test)]
mod tests;

pub use driver::{DecisionSink, Driver, DriverHandle, TICK, always_leads};
pub use scaled::ORDER_UNSEEN_MAX;
