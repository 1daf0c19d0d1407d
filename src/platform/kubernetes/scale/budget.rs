//! How often one target may be written, so that nobody is fought in a loop.

use std::time::Duration;

use tokio::time::Instant;

use super::Written;

/// Writes in a row before the pace counts: a burst of load is answered in many small steps.
const BURST: u32 = 60;
/// The pace after that.
const PERIOD: Duration = Duration::from_secs(1);
/// Writes in a row upon a count that somebody else wrote: enough for a person who edits, and for a
/// chart that is applied; a loop spends them at once.
const CONTESTED_BURST: u32 = 3;
/// The pace after that: two who disagree change the count three times a minute each.
const CONTESTED_PERIOD: Duration = Duration::from_secs(20);

/// The most writes of one target in any minute.
#[cfg(test)]
pub(super) const WRITES_PER_MINUTE: u32 = BURST + 60;
/// The most writes in any minute upon what others wrote.
#[cfg(test)]
pub(super) const CONTESTED_WRITES_PER_MINUTE: u32 = CONTESTED_BURST + 3;

/// What one target may still be written; begins full.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::platform::kubernetes) struct WriteBudget {
    all: Pace,
    contested: Pace,
    last_written: Option<u32>,
}

/// A pace with a burst, in one number: when as many writes as were made would be paid for.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    paid_at: Option<Instant>,
}

impl WriteBudget {
    /// Whether the target may be written now; if not, from when on.
    pub(in crate::platform::kubernetes) fn ask(&self, now: Instant) -> Result<(), Instant> {
        let all = self.all.free_at(BURST, PERIOD);
        let contested = self.contested.free_at(CONTESTED_BURST, CONTESTED_PERIOD);
        match all.max(contested) {
            Some(free_at) if now < free_at => Err(free_at),
            _ => Ok(()),
        }
    }

    /// The target was written. It counts as contested if the count that was found is not the one
    /// that this router wrote last.
    pub(in crate::platform::kubernetes) fn spend(&mut self, now: Instant, written: &Written) {
        if written.from != written.to {
            self.all.spend(now, PERIOD);
            if self.last_written.is_some_and(|last| last != written.from) {
                self.contested.spend(now, CONTESTED_PERIOD);
            }
        }
        self.last_written = Some(written.to);
    }
}

impl Pace {
    fn free_at(self, burst: u32, period: Duration) -> Option<Instant> {
        self.paid_at?.checked_sub(period.saturating_mul(burst.saturating_sub(1)))
    }

    fn spend(&mut self, now: Instant, period: Duration) {
        let owed_from = self.paid_at.map_or(now, |paid_at| paid_at.max(now));
        self.paid_at = Some(owed_from + period);
    }
}
