//! From memory to what is done about it, with hysteresis.

use super::{Pressure, Reading};

/// From here on connections are not kept.
const TIGHT_PERCENT: u64 = 80;
/// From here on new work is refused.
const FULL_PERCENT: u64 = 90;
/// Below this, work is taken again.
const WORK_AGAIN_PERCENT: u64 = 85;
/// Below this, connections are kept again.
const CALM_PERCENT: u64 = 75;
/// What counts as a change of memory, as a part of the limit: 8 MiB of 512.
const CHANGE_PART: u64 = 64;
/// After so many looks without a change and without a request (1 s), memory is not held by work.
const IDLE_LOOKS: u32 = 4;
/// After so many looks without a change (20 s), refusing has not helped: what holds memory is the
/// allocator, beside requests that run long, or streams that may live for hours.
const STILL_LOOKS: u32 = 80;
/// Above this nothing is taken for the second reason: so it cannot creep up to the limit.
const STILL_PERCENT_MAX: u64 = 96;

/// Where memory stands, step by step.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    level: Pressure,
    /// What was used when it last changed.
    stands_at: u64,
    /// Looks since then.
    still: u32,
    /// What the allocator keeps although no work needs it. It will be used again, so that much is
    /// no reason to refuse.
    kept: Option<u64>,
}

impl Ladder {
    /// The next look; `requests` are those in progress.
    pub(super) fn step(&mut self, reading: Reading, requests: usize) -> Pressure {
        let Reading { used, limit } = reading;
        let at = |percent: u64| limit.saturating_mul(percent) / 100;
        if used < at(CALM_PERCENT) || limit == 0 {
            *self = Self::default();
            return self.level;
        }
        if used.abs_diff(self.stands_at) > limit / CHANGE_PART {
            self.stands_at = used;
            self.still = 0;
        } else {
            self.still = self.still.saturating_add(1);
        }
        self.level = match self.level {
            Pressure::Full if used < at(WORK_AGAIN_PERCENT) => Pressure::Tight,
            Pressure::Full => {
                let idle = requests == 0 && self.still >= IDLE_LOOKS;
                let still = self.still >= STILL_LOOKS && used <= at(STILL_PERCENT_MAX);
                if idle || still {
                    self.kept = Some(used);
                    Pressure::Tight
                } else {
                    Pressure::Full
                }
            }
            Pressure::Calm | Pressure::Tight => {
                if self.still >= STILL_LOOKS && used < at(FULL_PERCENT) {
                    // Closing connections has not helped either.
                    self.kept = self.kept.max(Some(used));
                }
                let excused = self.kept.is_some_and(|kept| used <= kept + limit / CHANGE_PART);
                if used >= at(FULL_PERCENT) {
                    if excused {
                        Pressure::Tight
                    } else {
                        self.still = 0;
                        Pressure::Full
                    }
                } else if excused {
                    Pressure::Calm
                } else if used >= at(TIGHT_PERCENT) {
                    Pressure::Tight
                } else {
                    self.level
                }
            }
        };
        self.level
    }
}

#[cfg(test)]
mod tests {
    use Pressure::{Calm, Full, Tight};

    use super::*;

    fn at(per_mille: u64) -> Reading {
        Reading { used: per_mille, limit: 1000 }
    }

    #[test]
    fn the_ladder_goes_up_at_once_and_down_with_hysteresis() {
        let table = [
            (0, Calm),
            (799, Calm),
            (800, Tight),
            (760, Tight),
            (750, Tight),
            (749, Calm),
            (800, Tight),
            (899, Tight),
            (900, Full),
            (899, Full),
            (850, Full),
            (849, Tight),
            (899, Tight),
            (1200, Full),
            (749, Calm),
            (950, Full),
            (0, Calm),
        ];
        let mut ladder = Ladder::default();
        for (look, (used, expected)) in table.into_iter().enumerate() {
            assert_eq!(ladder.step(at(used), 10), expected, "look {look} at {used} ‰");
        }
    }

    #[test]
    fn the_steps_in_docs_are_those_in_force() {
        const PAGE: &str = include_str!("../../../docs/operations.md");
        for row in [
            format!("| {TIGHT_PERCENT} % | connections are not kept"),
            format!("| {FULL_PERCENT} % | new requests are refused"),
            format!("again below {WORK_AGAIN_PERCENT} %"),
            format!("again below {CALM_PERCENT} %"),
        ] {
            assert!(PAGE.contains(&row), "docs/operations.md lacks `{row}`");
        }
    }

    #[test]
    fn a_limit_that_is_taken_away_ends_all_pressure() {
        let mut ladder = Ladder::default();
        assert_eq!(ladder.step(at(990), 1), Full);
        assert_eq!(ladder.step(Reading::default(), 1), Calm);
    }

    #[test]
    fn memory_that_no_work_holds_is_no_reason_to_refuse_for_ever() {
        let mut ladder = Ladder::default();
        assert_eq!(ladder.step(at(930), 5), Full);
        let looks = (0..100).take_while(|_| ladder.step(at(930), 0) == Full).count();
        assert_eq!(looks, IDLE_LOOKS as usize - 1);
        // What the allocator has kept may be used again, and a little more.
        assert_eq!(ladder.step(at(944), 50), Tight);
        assert_eq!(ladder.step(at(946), 50), Full);
    }

    #[test]
    fn work_that_holds_memory_is_waited_for() {
        let mut ladder = Ladder::default();
        assert_eq!(ladder.step(at(930), 64), Full);
        let looks = (0..1000).take_while(|_| ladder.step(at(930), 64) == Full).count();
        assert_eq!(looks, STILL_LOOKS as usize - 1);
    }

    #[test]
    fn refusing_never_lets_memory_creep_up_to_the_limit() {
        let mut ladder = Ladder::default();
        let mut used = 900;
        for _ in 0..100_000 {
            // The worst case: whatever is admitted is held for ever.
            if ladder.step(at(used), 64) != Full {
                used += 5;
            }
        }
        assert!(used < 985, "{used} ‰ of the limit");
    }

    #[test]
    fn growth_while_new_work_is_refused_is_not_excused() {
        let mut ladder = Ladder::default();
        for look in 0..500 {
            assert_eq!(ladder.step(at(900 + look / 2 * 20), 3), Full, "look {look}");
        }
    }
}
