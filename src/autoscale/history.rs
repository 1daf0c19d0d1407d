//! The highest load of a sliding window, in bounded memory.

use std::{collections::VecDeque, time::Duration};

/// The most entries a history holds, whatever the rate of samples and the length of the window.
pub const ENTRIES_MAX: usize = 256;

/// A window is remembered in this many parts: at most one entry in each. With the default window of
/// 60 s a part is 250 ms, the driver's own tick.
const PARTS: u32 = 240;

/// The finest part, so that a window of zero does not divide by zero.
const PART_MIN: Duration = Duration::from_millis(1);

/// Remembers the highest load of a window that slides with the samples.
///
/// Never reports less than the highest load of the window; may report a load for one part (1/240)
/// of the window longer. Loads are kept, not wants, so an edit of the target or of the slots needs
/// no new history.
///
/// How: highs are in order of time, and each is higher than all behind it, so the first is the
/// answer; a new load removes the lower ones before it, because it outlives them.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Since when the data have no gap; `None` while they are missing.
    covered_since: Option<Duration>,
    highs: VecDeque<High>,
}

#[derive(Debug, Clone, Copy)]
struct High {
    at: Duration,
    load: u32,
}

impl History {
    /// Adds the highest load since the last sample; `now` never goes back.
    pub fn record(&mut self, now: Duration, load: u32, window: Duration) {
        // What is older than the window is forgotten below, so a window that an edit makes longer
        // is not covered before it has filled up again.
        let horizon = now.saturating_sub(window);
        self.covered_since = Some(self.covered_since.map_or(now, |since| since.max(horizon)));
        while self.highs.front().is_some_and(|high| now.saturating_sub(high.at) >= window) {
            self.highs.pop_front();
        }
        while self.highs.back().is_some_and(|high| high.load <= load) {
            self.highs.pop_back();
        }
        let part_ns = (window / PARTS).max(PART_MIN).as_nanos();
        let part_of = |at: Duration| at.as_nanos() / part_ns;
        match self.highs.back_mut() {
            // The higher one of the same part stands for both, and lives as long as the later.
            Some(high) if part_of(high.at) == part_of(now) => high.at = now,
            _ => self.push(High { at: now, load }),
        }
    }

    /// Data are missing: what is known stays known, but silence is not taken for low load. The
    /// window has to be covered anew from the next sample on.
    pub fn interrupt(&mut self) {
        self.covered_since = None;
    }

    /// The highest load of the window at the last sample.
    pub fn highest(&self) -> u32 {
        self.highs.front().map_or(0, |high| high.load)
    }

    /// Whether the data reach back over the whole window without a gap.
    pub fn covers(&self, now: Duration, window: Duration) -> bool {
        self.covered_since.is_some_and(|since| now.saturating_sub(since) >= window)
    }

    /// How many entries it holds, at most [`ENTRIES_MAX`].
    pub fn len(&self) -> usize {
        self.highs.len()
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.highs.is_empty()
    }

    /// Edits that shorten and lengthen the window leave parts of several sizes; then the two oldest
    /// become one, the higher load at the later time.
    fn push(&mut self, high: High) {
        if self.highs.len() >= ENTRIES_MAX
            && let Some(oldest) = self.highs.pop_front()
            && let Some(next) = self.highs.front_mut()
        {
            next.load = oldest.load;
        }
        self.highs.push_back(high);
    }
}
