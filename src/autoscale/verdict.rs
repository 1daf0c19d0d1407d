//! A verdict, and its reason in words.

use std::{fmt, time::Duration};

use crate::domain::{DecisionInputs, Direction};

/// What [`decide`](super::decide()) found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Replicas now: ready and starting.
    pub from: u32,
    /// Replicas wanted; the same as `from` to leave them as they are.
    pub to: u32,
    /// Why.
    pub cause: Cause,
    /// The numbers behind it.
    pub inputs: DecisionInputs,
}

/// Why a verdict is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The load wants more than there are; `wanted` is before any bound.
    Load {
        /// Busy and queued that decided; above `busy + queued` when that was a peak.
        load: u32,
        /// Replicas that would carry it.
        wanted: u32,
    },
    /// Fewer than `minReplicas`.
    BelowMinimum,
    /// More than `maxReplicas`.
    AboveMaximum,
    /// The whole window wanted fewer than there are; `wanted` is before any bound.
    Quiet {
        /// The highest load of the window.
        highest: u32,
        /// The length of the window.
        window: Duration,
        /// Replicas that would carry it.
        wanted: u32,
    },
    /// The load is not known.
    NoData,
    /// Autoscaling is off.
    Disabled,
    /// Nothing to change.
    Steady,
}

impl Verdict {
    /// Which way it goes.
    pub fn direction(&self) -> Direction {
        match self.to.cmp(&self.from) {
            std::cmp::Ordering::Greater => Direction::Up,
            std::cmp::Ordering::Less => Direction::Down,
            std::cmp::Ordering::Equal => Direction::Hold,
        }
    }

    /// The reason in words, with every number that led to it, for example
    /// `2 → 4: 5 busy + 3 queued over 2 replicas × 1 slot = 400 % > 70 % (wanted 12, at most 4)`.
    pub fn reason(&self) -> String {
        let Self { from, to, cause, inputs } = self;
        let change = match self.direction() {
            Direction::Hold => format!("{from}"),
            Direction::Up | Direction::Down => format!("{from} → {to}"),
        };
        match *cause {
            Cause::Load { load, wanted } => {
                let pressure = Pressure { load, inputs };
                format!("{change}: {pressure}{}", self.bound(wanted))
            }
            Cause::BelowMinimum => {
                format!("{change}: at least {}", counted(inputs.min_replicas, "replica"))
            }
            Cause::AboveMaximum => {
                format!("{change}: at most {}", counted(inputs.max_replicas, "replica"))
            }
            Cause::Quiet { highest, window, wanted } => {
                let window = humantime::format_duration(window);
                let need = match highest {
                    0 => format!("nothing busy or queued in the last {window}"),
                    _ => format!(
                        "never more than {highest} busy or queued in the last {window}, enough is {}",
                        counted(wanted, "replica"),
                    ),
                };
                format!("{change}: {need}{}", self.bound(wanted))
            }
            Cause::NoData => format!("{change}: the load is not known"),
            Cause::Disabled => format!("{change}: autoscaling is off"),
            Cause::Steady => format!("{change}: as wanted"),
        }
    }

    /// What a bound made of the want.
    fn bound(&self, wanted: u32) -> String {
        match wanted.cmp(&self.to) {
            std::cmp::Ordering::Greater => format!(" (wanted {wanted}, at most {})", self.to),
            std::cmp::Ordering::Less => format!(" (wanted {wanted}, at least {})", self.to),
            std::cmp::Ordering::Equal => String::new(),
        }
    }
}

/// The load over the capacity, as in `5 busy + 3 queued over 2 replicas × 1 slot = 400 % > 70 %`.
struct Pressure<'a> {
    load: u32,
    inputs: &'a DecisionInputs,
}

impl fmt::Display for Pressure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DecisionInputs { busy, queued, ready, starting, slots_per_replica, .. } = *self.inputs;
        if self.load > busy.saturating_add(queued) {
            write!(f, "a peak of {} busy or queued", self.load)?;
        } else {
            write!(f, "{busy} busy + {queued} queued")?;
        }
        match (ready, starting) {
            (0, 0) => return write!(f, " and no replica"),
            (0, _) => return write!(f, " and no ready replica, {starting} starting"),
            _ => {}
        }
        // Rounded up, so that a load just above the target does not read "70 % > 70 %".
        let slots = u64::from(ready) * u64::from(slots_per_replica);
        let percent = (u64::from(self.load) * 100).div_ceil(slots.max(1));
        write!(
            f,
            " over {} × {} = {percent} % > {} %",
            counted(ready, "replica"),
            counted(slots_per_replica, "slot"),
            self.inputs.target_utilization,
        )?;
        match starting {
            0 => Ok(()),
            _ => write!(f, ", {starting} starting"),
        }
    }
}

fn counted(count: u32, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
