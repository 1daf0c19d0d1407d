//! The two hidden commands that make sure no replica process outlives its router.
//!
//! `exec-replica` runs between fork and the model: it asks the kernel to kill this process when the
//! router's thread ends, then becomes the model. That reaches only the direct child, so one
//! `exec-guardian` per router knows the process groups, and kills them when the pipe from the router
//! closes, which the kernel does however the router ends.

use std::{
    collections::HashSet,
    ffi::OsString,
    io::{self, BufRead},
    os::unix::process::{CommandExt, parent_id},
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process_group};

pub use crate::platform::local::EXEC_FAILED;

/// The most process groups the guardian remembers; far above what one machine runs. A line beyond
/// it is ignored, and the parent-death signal still covers that replica's first process.
const GROUPS_MAX: usize = 16_384;

/// Becomes `command`, killed by the kernel when the thread of `parent` that started this process
/// ends. Returns only when that is impossible: the router is gone already, or the program cannot be
/// started; the caller shows the error and leaves with code
/// [`EXEC_FAILED`].
pub fn run(parent: u32, command: &[OsString]) -> io::Error {
    if let Err(error) = die_with_parent() {
        return error;
    }
    // The signal only tells of a death after this point, so one before it is looked for here.
    if parent_id() != parent {
        return io::Error::other(format!("router {parent} is gone, so its replica is not started"));
    }
    let Some((program, arguments)) = command.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "the replica's command is empty");
    };
    let error = Command::new(program).args(arguments).exec();
    io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display()))
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)
}

/// Elsewhere there is no such signal, and the guardian alone cleans up.
#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> io::Result<()> {
    Ok(())
}

/// Reads `+PGID` and `-PGID` lines from standard input; at its end kills every group still listed.
/// SIGTERM, SIGINT and SIGHUP do nothing here: whoever stops a whole service sends them to this
/// process too, while the replicas still have work to finish.
pub fn guard() -> io::Result<()> {
    ignore_signals()?;
    for group in read_groups(io::stdin().lock()) {
        // Gone already is what we want.
        let _gone_or_killed = kill_process_group(group, Signal::KILL);
    }
    Ok(())
}

/// Ignoring a signal needs unsafe code, catching one through tokio does not, and a caught signal
/// stays caught after its runtime is gone.
fn ignore_signals() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _context = runtime.enter();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        drop(signal(kind)?);
    }
    Ok(())
}

/// The groups that are listed when the input ends. A bad line is skipped: there is nobody to tell.
fn read_groups(input: impl BufRead) -> HashSet<Pid> {
    let mut groups = HashSet::new();
    for line in input.lines() {
        let Ok(line) = line else { break };
        let Some((add, group)) = parse(&line) else { continue };
        if !add {
            groups.remove(&group);
        } else if groups.len() < GROUPS_MAX {
            groups.insert(group);
        }
    }
    groups
}

/// Group 1 and below are refused: killing them would reach far more than a replica.
fn parse(line: &str) -> Option<(bool, Pid)> {
    let (add, number) = match line.strip_prefix('+') {
        Some(number) => (true, number),
        None => (false, line.strip_prefix('-')?),
    };
    let number: i32 = number.parse().ok().filter(|number| *number > 1)?;
    Some((add, Pid::from_raw(number)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_added_and_not_removed_are_left() {
        let left = read_groups(&b"+10\n+11\n-10\nnonsense\n+0\n+1\n+-5\n\n-99\n+12"[..]);
        let mut left: Vec<i32> = left.into_iter().map(Pid::as_raw_pid).collect();
        left.sort_unstable();
        assert_eq!(left, [11, 12]);
    }
}
