//! Good traffic: what clients that behave get while others do not.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::{
    support::wire::{Wire, request},
    world::GOOD,
};

/// Clients at once.
const CLIENTS: usize = 4;
/// Each asks so often.
const EVERY: Duration = Duration::from_millis(10);

/// What good clients saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) answers: usize,
    pub(crate) failures: Vec<String>,
    times: Vec<Duration>,
}

impl Seen {
    /// The time within which so many of a hundred answers came.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times
            .get((times.len() * percent / 100).min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }

    /// Those of another run too.
    pub(crate) fn join(&mut self, other: Self) {
        self.answers += other.answers;
        self.failures.extend(other.failures);
        self.times.extend(other.times);
    }

    /// Fails when a good client had cause for complaint.
    pub(crate) fn all_well(&self, what: &str) {
        assert!(
            self.failures.is_empty(),
            "{what}: {:#?}",
            &self.failures[..self.failures.len().min(5)]
        );
        assert!(self.answers > 0, "{what}: nobody asked");
    }
}

/// Good clients on kept connections until `work` is done.
pub(crate) fn while_working<T>(address: SocketAddr, work: impl FnOnce() -> T) -> (Seen, T) {
    while_asking(address, &format!("POST {GOOD}"), "", work)
}

/// The same with another request line and further fields.
pub(crate) fn while_asking<T>(
    address: SocketAddr,
    line: &str,
    fields: &str,
    work: impl FnOnce() -> T,
) -> (Seen, T) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| client(address, &request(line, fields, "abc"), &ended)))
            .collect();
        let done = work();
        ended.store(true, Ordering::Relaxed);
        let mut seen = Seen::default();
        for client in clients {
            seen.join(client.join().expect("a client does not fail, it notes"));
        }
        (seen, done)
    })
}

/// Good clients for this long.
pub(crate) fn for_a_while(address: SocketAddr, length: Duration) -> Seen {
    while_working(address, || crate::support::watch::pass(length)).0
}

fn client(address: SocketAddr, request: &str, ended: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut wire = Wire::connect(address);
    while !ended.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let answer = if wire.try_send(request) { wire.try_answer(false) } else { None };
        seen.times.push(begun.elapsed());
        match answer {
            Some(answer) if answer.status == 200 && answer.text() == "3" => {
                seen.answers += 1;
                if answer.field("connection") == Some("close") {
                    wire = Wire::connect(address);
                }
            }
            other => {
                seen.failures.push(format!("{other:?}"));
                wire = Wire::connect(address);
            }
        }
        crate::support::watch::pass(EVERY.saturating_sub(begun.elapsed()));
    }
    seen
}
