//! A real API server for the tests of this room, and routers as processes that use it.

pub(super) mod child;
pub(super) mod cluster;
pub(super) mod endpoints;
pub(super) mod gate;

use std::time::{Duration, Instant};

/// The pause between two looks at something that changes.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Asks again and again until the answer is `Some`, at most so long.
pub(super) async fn until<T>(
    limit: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The same, for threads.
fn until_now<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::park_timeout(LOOK_INTERVAL);
    }
}

/// Sends a signal by name.
fn signal(pid: u32, name: &str) {
    let mut kill = std::process::Command::new("kill");
    let done = kill.args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(done.expect("kill runs").success(), "kill -{name} {pid}");
}
