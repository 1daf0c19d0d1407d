//! How many replicas a version should have, in numbers and in words.
//!
//! Promises: [`decide()`] is a function of its arguments alone: the same samples give the same
//! verdicts, bit for bit, in the router, in a test and in a replay. Its result lies within
//! `minReplicas..=maxReplicas` and never falls when the load rises. A load that swings never makes
//! it go down, up and down again within one scale-down window.
//!
//! How: up at once, from the load of this moment; down only to the highest want of the whole
//! window. There is nothing in between: no averages, no cooldowns, no steps. [`alarm_level`] says
//! how much load the data plane may take before it has to wake the driver, so that going up needs
//! no tick.
//!
//! Which load goes up: the *peak* since the last sample, which is never less than the load now. The
//! driver is woken when the load crosses the alarm level, and looks a moment later. If it then
//! judged by the load of that later moment, a short crossing would count or not depending on how
//! busy the machine is, and every crossing that had passed would be signalled again with the next
//! request, thousands of times a second. Judged by the peak, every signal leads to exactly one
//! decision. The same number goes into the window, so what would keep a replica also starts one.
//!
//! Not here: where the load comes from and who acts on a verdict (`control`).

mod capacity;
mod decide;
mod history;
#[cfg(test)]
mod tests;
mod verdict;
mod victims;

pub use capacity::{alarm_level, want};
pub use decide::{Demand, Sample, decide};
pub use history::{ENTRIES_MAX, History};
pub use verdict::{Cause, Verdict};
pub use victims::{VictimView, victims};
