//! The machine under the measurement: which cores, whose CPU time, how much memory.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

/// Ticks of `/proc/stat` in a second: `USER_HZ`, which Linux has fixed at 100 for user space.
const TICK: Duration = Duration::from_millis(10);

/// Two cores that this process may use: one for what is measured, one for everything else.
pub(crate) fn cores() -> Option<(usize, usize)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = field(&status, "Cpus_allowed_list:")?;
    let mut cores = list.split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.trim().parse::<usize>().unwrap_or(0);
        number(first)..=number(last)
    });
    Some((cores.next()?, cores.next()?))
}

/// Moves this process, and with it every thread it starts from now on, to one core.
pub(crate) fn move_to(core: usize) {
    let own = std::process::id().to_string();
    let mut command = Command::new("taskset");
    command.args(["-p", "-c", &core.to_string(), &own]).stdout(Stdio::null());
    assert!(command.status().expect("taskset runs (util-linux)").success(), "taskset failed");
}

/// A command that runs on one core.
pub(crate) fn on_core(core: usize, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), program]);
    command
}

/// CPU time of all threads of a process so far. Exact, unlike the ticks of `/proc/PID/stat`; the
/// kernel's work for its sockets on loopback is in it.
pub(crate) fn cpu_of(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// Time for which a core was not idle since the machine started.
pub(crate) fn busy(core: usize) -> Duration {
    let text = fs::read_to_string("/proc/stat").expect("Linux");
    let name = format!("cpu{core} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_default();
    let ticks = line.split_whitespace().take(8).map(|ticks| ticks.parse::<u32>().unwrap_or(0));
    // The fourth and fifth are idle and waiting for a disk.
    let busy: u32 = ticks.enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, t)| t).sum();
    TICK * busy
}

/// Resident memory of a process in KiB: now, and the most so far.
pub(crate) fn memory_kib(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let kib = |name| {
        let number = field(&status, name)?.split_whitespace().next()?;
        number.parse::<u64>().ok()
    };
    (kib("VmRSS:").unwrap_or(0), kib("VmHWM:").unwrap_or(0))
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}
