//! A router as a process: it takes part in the election and writes when it is told to.
//!
//! The process is this test program itself, told by a variable to play the part.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};

use super::{
    super::{
        client::ApiServer,
        leader::{LeaseSettings, Term, elect},
        objects::ObjectKey,
        scale::{Known, set_replicas},
        target::{Target, WorkloadKind},
    },
    cluster::connect,
    signal,
};
use crate::lifecycle::{Lifecycle, Phase};

/// Kubeconfig, namespace and name, with blanks between them.
const PART: &str = "MODELWAY_TEST_ROUTER";
/// What each line that a child says begins with, as the test harness also prints.
const SAYS: &str = "router: ";
/// The lease that children stand for.
pub(in crate::platform::kubernetes) const LEASE: &str = "modelway-leader";
/// The Deployment that children scale.
pub(in crate::platform::kubernetes) const DEPLOYMENT: &str = "scaled";

/// A child, killed when dropped.
#[derive(Debug)]
pub(in crate::platform::kubernetes) struct Router {
    child: Child,
    orders: ChildStdin,
    said: mpsc::Receiver<String>,
}

impl Router {
    pub(in crate::platform::kubernetes) fn start(
        kubeconfig: &Path,
        namespace: &str,
        name: &str,
    ) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "--nocapture", "--test-threads=1"]);
        command.arg("platform::kubernetes::testing::child::plays_the_part_of_a_router_if_told_to");
        command.env(PART, format!("{} {namespace} {name}", kubeconfig.display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program starts");
        let orders = child.stdin.take().expect("piped");
        let out = child.stdout.take().expect("piped");
        let (tell, said) = mpsc::sync_channel(1000);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix(SAYS) {
                    drop(tell.try_send(line.to_owned()));
                }
            }
        });
        Self { child, orders, said }
    }

    /// What it says next, waiting for it at most so long.
    pub(in crate::platform::kubernetes) fn next(&self, limit: Duration) -> Option<String> {
        self.said.recv_timeout(limit).ok()
    }

    /// Waits until it says something that begins so; the rest of it.
    pub(in crate::platform::kubernetes) fn hears(&self, begin: &str, limit: Duration) -> String {
        let begun = Instant::now();
        let mut heard = Vec::new();
        while let Some(line) = self.next(limit.saturating_sub(begun.elapsed())) {
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.trim().to_owned();
            }
            heard.push(line);
        }
        panic!("not said within {limit:?}: {begin}; but {heard:?}");
    }

    pub(in crate::platform::kubernetes) fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("it runs");
    }

    pub(in crate::platform::kubernetes) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Nothing by itself: other tests start it as a process.
#[test]
fn plays_the_part_of_a_router_if_told_to() {
    let Ok(part) = std::env::var(PART) else { return };
    let part: Vec<&str> = part.split(' ').collect();
    let [kubeconfig, namespace, name] = part.as_slice() else { panic!("{PART}: {part:?}") };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(play(Path::new(kubeconfig), namespace, name));
}

async fn play(kubeconfig: &Path, namespace: &str, name: &str) {
    let lifecycle = Lifecycle::new();
    let server = connect(kubeconfig).await;
    let settings =
        LeaseSettings { namespace: namespace.into(), name: LEASE.into(), identity: name.into() };
    let mut leadership = elect(&lifecycle, &server, settings);
    let last = Arc::new(Mutex::new(None::<Arc<Term>>));
    let target = Target {
        kind: WorkloadKind::Deployment,
        object: ObjectKey { namespace: namespace.into(), name: DEPLOYMENT.into() },
    };
    let (tell, mut orders) = tokio::sync::mpsc::channel(100);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            drop(tell.blocking_send(line));
        }
    });
    let seen = Arc::clone(&last);
    lifecycle.spawn("says who leads", async move {
        let mut before = None;
        loop {
            let epoch = leadership.term().map(|term| term.epoch());
            if epoch != before {
                match epoch {
                    Some(epoch) => {
                        *seen.lock() = leadership.term();
                        say(&format!("leads {epoch}"));
                    }
                    None => say("follows"),
                }
                before = epoch;
            }
            leadership.changed().await;
        }
    });
    while let Some(order) = orders.recv().await {
        if order == "drain" {
            lifecycle.enter(Phase::Draining);
            continue;
        }
        let term = last.lock().clone().expect("it has led");
        say(&obey(&server, &term, &target, &order).await);
    }
}

/// `scale N`, `stop-and-scale N` or `scale-known RESOURCE-VERSION FROM N`.
async fn obey(server: &ApiServer, term: &Term, target: &Target, order: &str) -> String {
    let words: Vec<&str> = order.split(' ').collect();
    let number = |word: &str| word.parse::<u32>().expect("a number");
    let result = match words.as_slice() {
        ["scale", count] => set_replicas(server, term, target, None, |_| number(count)).await,
        ["stop-and-scale", count] => {
            let wanted = |_| {
                stop();
                number(count)
            };
            set_replicas(server, term, target, None, wanted).await
        }
        ["scale-known", version, from, count] => {
            let known = Known { resource_version: (*version).into(), replicas: number(from) };
            set_replicas(server, term, target, Some(known), |_| number(count)).await
        }
        _ => panic!("{order}: not understood"),
    };
    match result {
        Ok(written) => format!("wrote {} {}", written.from, written.to),
        Err(error) => format!("refused {error}"),
    }
}

/// Stands still until somebody sends SIGCONT.
fn stop() {
    say("stops");
    let begun = Instant::now();
    kill_process(getpid(), Signal::STOP).expect("a signal to this process");
    // The signal may take another thread first.
    while begun.elapsed() < Duration::from_secs(1) {
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    // The harness leaves a line open before its test begins to speak.
    writeln!(out, "\n{SAYS}{what}").expect("somebody listens");
    out.flush().expect("somebody listens");
}
