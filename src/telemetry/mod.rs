//! What the router tells about itself: metrics, the access log, its own log, scaling decisions.
//!
//! Promises: every series is declared in `metrics.rs`, with help, unit and a closed list of values
//! for each label that is not a name from the catalog; nothing here blocks a request, and what
//! cannot be written is dropped and counted; no credential, query string or payload is ever told.
//!
//! How: handles ([`VersionMetrics`], [`EndpointMetrics`]) are resolved when routes are built and
//! count with atomics; the access log hands records to one writer thread; [`DecisionLog`] keeps
//! the last decisions of the autoscaler for the admin port.
//!
//! Not here: who asks for all this (`admin`), and which fate of a request has which
//! [`Reason`](crate::domain::Reason) (`proxy`).

mod access_log;
mod access_record;
mod bounds;
mod decisions;
mod handles;
mod issuers;
mod logging;
mod markdown;
mod metrics;
mod panics;
mod registry;
mod tls;

pub use access_log::{ACCESS_QUEUE_MAX, AccessLog, LogFormat, UnknownLogFormat};
pub use access_record::{AccessRecord, PATH_CHARS_MAX, USER_AGENT_CHARS_MAX, bounded};
pub use bounds::{Bounds, ConnectionLimit};
pub use decisions::{DECISIONS_MAX, DecisionLog};
pub use handles::{AdminRefusal, EndpointMetrics, RetryCause, VersionMetrics};
pub use issuers::FetchOutcome;
pub use logging::{FILTER_VARIABLE, LoggingError, init};
pub use markdown::metrics_markdown;
pub use panics::watch_panics;
pub use registry::{Connections, Metrics, Open, VersionGauges};
pub use tls::{HandshakeResult, ReloadResult, TlsMetrics};
