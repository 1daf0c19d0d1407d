//! Looking at a running router from outside: its admin port, its metrics, its processes.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::router::Router;

/// The pause between two looks at something that changes.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Asks again and again until the answer is `Some`, at most so long.
pub(crate) fn until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::park_timeout(LOOK_INTERVAL);
    }
}

/// Lets time pass, for what has no event: that nothing happens, or the rhythm of a load.
pub(crate) fn pass(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|l| !l.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// Milliseconds since the Unix epoch, as in the ledger of the models.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 500 million")
}

/// An RFC 3339 time in milliseconds since the Unix epoch.
pub(crate) fn parse_ms(text: &str) -> u64 {
    let time: jiff::Timestamp = text.parse().expect("a time");
    u64::try_from(time.as_millisecond()).expect("after 1970")
}

/// The sum of the samples of this metric whose labels hold all of these texts; 0 without any.
pub(crate) fn metric(router: &Router, name: &str, labels: &[&str]) -> f64 {
    let (_, text) = router.admin_get("/metrics");
    let samples = text.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
            && labels.iter().all(|label| line.contains(label))
    });
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until a gauge of a version has this value.
pub(crate) fn await_gauge(router: &Router, name: &str, version: &str, value: u32) {
    let label = format!("version=\"{version}\"");
    until(Duration::from_secs(10), &format!("{name} of {version} is {value}"), || {
        let now = metric(router, name, &[&label]);
        ((now - f64::from(value)).abs() < 0.5).then_some(())
    });
}

/// A list of the admin API.
pub(crate) fn list(router: &Router, what: &str) -> Vec<serde_json::Value> {
    let answer = router.admin_json(&format!("/api/v1/{what}"));
    answer.as_array().expect("a list").clone()
}

/// The ready replicas of a version (of all versions without a name).
pub(crate) fn ready(router: &Router, version: &str) -> Vec<serde_json::Value> {
    let mut replicas = list(router, "replicas");
    replicas.retain(|replica| {
        replica["state"] == "ready" && (version.is_empty() || replica["version"] == version)
    });
    replicas
}

/// Waits until exactly so many replicas of a version are ready and no others exist.
pub(crate) fn await_exactly(router: &Router, version: &str, count: usize) {
    until(Duration::from_secs(20), &format!("exactly {count} replicas of {version}"), || {
        let mut replicas = list(router, "replicas");
        replicas.retain(|replica| replica["version"] == version);
        let all_ready = replicas.iter().all(|replica| replica["state"] == "ready");
        (replicas.len() == count && all_ready).then_some(())
    });
}

/// What a replica counts, from its own mouth.
pub(crate) fn stats(replica: &serde_json::Value) -> serde_json::Value {
    let address = replica["address"].as_str().expect("an address").parse().expect("an address");
    let (status, body) = super::router::get(address, "/stats");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// A process, told from a later one with the same number.
pub(crate) type ProcessId = (u32, String);

/// All processes below this one.
pub(crate) fn descendants(root: u32) -> Vec<ProcessId> {
    let all = processes();
    let mut found: Vec<ProcessId> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for (pid, process) in all.iter().filter(|(_, process)| process.parent == parent) {
            found.push((*pid, process.started.clone()));
            parents.push(*pid);
        }
    }
    found
}

/// Which of these processes still run.
pub(crate) fn alive(processes_then: &[ProcessId]) -> Vec<ProcessId> {
    let now = processes();
    let lives = |(pid, started): &&ProcessId| {
        now.get(pid).is_some_and(|process| process.started == *started && process.state != "Z")
    };
    processes_then.iter().filter(lives).cloned().collect()
}

struct Stat {
    parent: u32,
    state: String,
    started: String,
}

fn processes() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

/// The name in brackets may hold anything, so the fields are counted from the last bracket
/// (proc_pid_stat(5): state is the 3rd, ppid the 4th, starttime the 22nd).
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.to_owned();
    let parent = fields.next()?.parse().ok()?;
    Some(Stat { parent, state, started: fields.nth(17)?.to_owned() })
}
