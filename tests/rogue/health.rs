//! Replicas that fail, in real time: what is set aside, what is not, and how they come back.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    rogue::{Rogue, Speaks},
    row::Act,
};
use crate::support::{
    replica::{Replica, Step, answer, pause},
    router::Router,
    watch::{metric, pass, until},
    wire::{Wire, ask, h2_request, request, with_h2},
};

/// An endpoint with these replicas. Their probe is a connection, which a replica that hangs takes.
fn yaml(name: &str, more: &str, replicas: &[SocketAddr]) -> String {
    let replicas: Vec<String> = replicas.iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "apiVersion: modelway.dev/v1alpha1\nkind: InferenceEndpoint\nmetadata: {{name: {name}}}\n\
         spec:\n  auth: {{mode: None}}\n  versions:\n  - {{name: only, {more}, maxQueueWait: 30s, \
         targetRef: {{kind: Addresses, addresses: [{}]}}, probe: {{tcp: {{}}}}}}\n---\n",
        replicas.join(", ")
    )
}

/// A replica that can be made to hang and to crash.
struct Moody {
    address: SocketAddr,
    mood: Arc<Mood>,
}

#[derive(Default)]
struct Mood {
    hangs: AtomicBool,
    ended: AtomicBool,
    asked: AtomicUsize,
}

impl Moody {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let mood = Arc::new(Mood::default());
        let shared = Arc::clone(&mood);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if shared.ended.load(Ordering::Acquire) {
                    return;
                }
                let mood = Arc::clone(&shared);
                std::thread::spawn(move || mood.serve(&stream));
            }
        });
        Self { address, mood }
    }

    fn hangs(&self, hangs: bool) {
        self.mood.hangs.store(hangs, Ordering::Release);
    }

    fn asked(&self) -> usize {
        self.mood.asked.load(Ordering::Acquire)
    }
}

impl Drop for Moody {
    fn drop(&mut self) {
        self.mood.ended.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
    }
}

impl Mood {
    fn serve(&self, stream: &TcpStream) {
        while read_request(stream) {
            self.asked.fetch_add(1, Ordering::AcqRel);
            if self.hangs.load(Ordering::Acquire) {
                // Until the router closes, whatever the mood is by then.
                let mut sink = [0; 64];
                let mut stream = stream;
                while stream.read(&mut sink).is_ok_and(|count| count > 0) {}
                return;
            }
            let mut stream = stream;
            if stream.write_all(&answer("200 OK", "", "good")).is_err() {
                return;
            }
        }
    }
}

/// Reads one request with a body of two bytes.
fn read_request(mut stream: &TcpStream) -> bool {
    drop(stream.set_read_timeout(Some(Duration::from_secs(30))));
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n")
            && seen.len() >= end + 6
        {
            return true;
        }
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => seen.extend_from_slice(&piece[..count]),
            _ => return false,
        }
    }
}

/// Status and time of each request of these clients, who ask one after the other for so long.
fn load(router: &Router, name: &str, clients: usize, time: Duration) -> Vec<(u16, Duration)> {
    let line = format!("POST /api/v1/endpoint/{name}/score");
    let until = Instant::now() + time;
    let one = || {
        let mut seen = Vec::new();
        while Instant::now() < until {
            let begun = Instant::now();
            let status = ask(router.data, request(&line, "", "{}")).status;
            seen.push((status, begun.elapsed()));
            pause(Duration::from_millis(5));
        }
        seen
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        all.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    })
}

#[test]
fn a_replica_that_hangs_under_load_is_set_aside_and_comes_back_when_it_answers() {
    const SLOTS: usize = 4;
    let (good, better, moody) = (Moody::start(), Moody::start(), Moody::start());
    let addresses = [good.address, better.address, moody.address];
    let more = format!("maxConcurrentRequestsPerReplica: {SLOTS}, requestTimeout: 1s");
    let router = Router::start(&yaml("hangs", &more, &addresses), &[]);
    router.await_replicas("only", "ready", 3, Duration::from_secs(20));
    moody.hangs(true);
    let seen = load(&router, "hangs", 8, Duration::from_secs(8));
    let lost: Vec<_> = seen.iter().filter(|(status, _)| *status != 200).collect();
    assert!(lost.iter().all(|(status, _)| *status == 504), "{lost:?}");
    assert!(lost.iter().all(|(_, took)| *took >= Duration::from_secs(1)), "{lost:?}");
    // All of its slots once, then one request after 1 s, 2 s and 4 s; each hangs for a second.
    let hung = moody.asked();
    assert!((3..=SLOTS + 4).contains(&hung) && lost.len() == hung, "{hung} of {}", seen.len());
    let mut took: Vec<Duration> = seen.iter().filter(|s| s.0 == 200).map(|s| s.1).collect();
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    assert!(took.len() > 100 && p99 < Duration::from_secs(1), "{} took {p99:?}", took.len());
    let asides = metric(&router, "modelway_set_asides_total", &["cause=\"timed_out\""]);
    assert!((1.0..=4.0).contains(&asides), "{asides}");
    until(Duration::from_secs(20), "it is shown", || {
        let shown = router.admin_json("/api/v1/replicas");
        let mut shown = shown.as_array().expect("a list").iter();
        let aside = shown.find(|replica| replica["setAsideMs"].as_u64().is_some())?;
        let message = aside["message"].as_str().expect("a message");
        assert!(message.contains("its requests time out"), "{message}");
        assert_eq!(aside["address"], moody.address.to_string());
        Some(())
    });
    moody.hangs(false);
    until(Duration::from_secs(40), "it works again", || {
        let line = "POST /api/v1/endpoint/hangs/score";
        // The trial may still meet a connection that hangs no more.
        assert_eq!(ask(router.data, request(line, "", "{}")).status, 200);
        (moody.asked() > hung + 3).then_some(())
    });
    assert!(metric(&router, "modelway_set_aside_replicas", &[]) < 0.5);
}

#[test]
fn half_of_the_replicas_may_be_set_aside_and_never_the_last_one() {
    let all: Vec<Moody> = (0..4).map(|_| Moody::start()).collect();
    let addresses: Vec<SocketAddr> = all.iter().map(|one| one.address).collect();
    let more = "maxConcurrentRequestsPerReplica: 2, requestTimeout: 500ms";
    let yaml = yaml("all", more, &addresses) + &yaml("alone", more, &addresses[..1]);
    let router = Router::start(&yaml, &[]);
    router.await_replicas("only", "ready", 5, Duration::from_secs(20));
    for one in &all {
        one.hangs(true);
    }
    let done = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = [0.0_f64; 2];
            while !done.load(Ordering::Acquire) {
                for (most, name) in most.iter_mut().zip(["all", "alone"]) {
                    let label = format!("endpoint=\"{name}\"");
                    *most = most.max(metric(&router, "modelway_set_aside_replicas", &[&label]));
                }
                pass(Duration::from_millis(20));
            }
            most
        });
        let alone = scope.spawn(|| load(&router, "alone", 2, Duration::from_secs(4)));
        let seen = load(&router, "all", 8, Duration::from_secs(4));
        assert!(seen.iter().all(|(status, _)| *status == 504), "{seen:?}");
        let seen = alone.join().expect("clients");
        assert!(seen.iter().all(|(status, _)| *status == 504), "{seen:?}");
        done.store(true, Ordering::Release);
        watch.join().expect("a watch")
    });
    assert!((most[0] - 2.0).abs() < 0.5 && most[1] < 0.5, "{most:?}");
}

#[test]
fn a_replica_that_comes_up_and_crashes_again_and_again_is_let_in_ever_later() {
    let (good, better) = (Moody::start(), Moody::start());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    let (ended, lives) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (over, count) = (Arc::clone(&ended), Arc::clone(&lives));
    let crasher = std::thread::spawn(move || {
        let mut listener = Some(listener);
        while !over.load(Ordering::Acquire) {
            let Some(open) = listener.take().or_else(|| TcpListener::bind(address).ok()) else {
                pause(Duration::from_millis(10));
                continue;
            };
            let mut left = 3;
            while left > 0 && !over.load(Ordering::Acquire) {
                let Ok((mut stream, _)) = open.accept() else { break };
                if read_request(&stream) {
                    left -= 1;
                    let bytes =
                        answer("500 Internal Server Error", "connection: close\r\n", "cold");
                    drop(stream.write_all(&bytes));
                }
            }
            count.fetch_add(1, Ordering::AcqRel);
            drop(open);
            pause(Duration::from_millis(50));
        }
    });
    let addresses = [good.address, better.address, address];
    let router = Router::start(&yaml("crashes", "requestTimeout: 10s", &addresses), &[]);
    router.await_replicas("only", "ready", 3, Duration::from_secs(20));
    let seen = load(&router, "crashes", 4, Duration::from_secs(8));
    let lost = seen.iter().filter(|(status, _)| *status != 200).count();
    let lives_seen = lives.load(Ordering::Acquire);
    ended.store(true, Ordering::Release);
    drop(TcpStream::connect(address));
    // Lives begin at once, at once, after 1 s, 2 s and 4 s; three errors each, and one request may
    // be in progress when it crashes. Without growing delays there would be more than fifty lives.
    assert!((2..=6).contains(&lives_seen), "{lives_seen} lives, {lost} of {} lost", seen.len());
    assert!(lost <= lives_seen * 4 + 3 && lost * 3 <= seen.len(), "{lost} of {}", seen.len());
    crasher.join().expect("it has ended");
}

/// What one bad client does, by its number.
fn hostile(router: &Router, number: usize) {
    const PATH: &str = "/api/v1/endpoint/calm/score";
    let head = |framing: &str| format!("POST {PATH} HTTP/1.1\r\nhost: t\r\n{framing}\r\n\r\n");
    let mut wire = Wire::connect(router.data);
    match number % 10 {
        0 => drop(wire.try_send(head("transfer-encoding: chunked") + "zz\r\n")),
        1 => drop(wire.try_send(head("transfer-encoding: chunked") + "3\r\nabcXX")),
        2 => {
            wire.try_send(head("content-length: 100") + "abc");
            wire.half_close();
        }
        3 => {
            wire.try_send(head("content-length: 100000") + "abc");
            return wire.reset();
        }
        4 | 5 => {
            let fields = "x-script: slow\r\n";
            wire.try_send(request(&format!("POST {PATH}"), fields, "{}"));
            return wire.reset();
        }
        6 => {
            wire.try_send("POST /\0 HTTP/1.1\r\n\r\n");
        }
        7 if number.is_multiple_of(100) || number % 100 == 7 => {
            // Nearly all of requestTimeout for the upload, and its end when it is too late.
            wire.try_send(head("content-length: 3") + "a");
            pause(Duration::from_millis(900));
            wire.try_send("b");
            wire.try_answer(false);
            return;
        }
        8 if number % 100 == 8 => {
            // The last byte just in time for the replica to have no time left.
            let fields = "x-script: slow\r\n";
            let whole = request(&format!("POST {PATH}"), fields, "abc");
            let (before, last) = whole.split_at(whole.len() - 1);
            wire.try_send(before);
            pause(Duration::from_millis(950));
            wire.try_send(last);
        }
        _ => {
            wire.try_send(format!("GET {PATH} HTTP/1.1\r\nhost: t\r\nhost: u\r\n\r\n"));
        }
    }
    drop(wire.try_answer(false));
}

#[test]
fn a_thousand_hostile_requests_set_nobody_aside() {
    let replicas = [Replica::start(), Replica::start()];
    for replica in &replicas {
        replica.script("slow", |_, _| {
            let bytes = answer("200 OK", "", "slow");
            vec![Step::Body, Step::Wait(Duration::from_millis(150)), Step::Send(bytes)]
        });
    }
    let calls = [Rogue::start(Speaks::Http2, [].into()), Rogue::start(Speaks::Http2, [].into())];
    for rogue in &calls {
        rogue.expect("a call", &[Act::Silence]);
    }
    let more = "maxConcurrentRequestsPerReplica: 50, requestTimeout: 1s";
    let yaml = yaml("calm", more, &replicas.each_ref().map(|replica| replica.address))
        + &yaml("calls", more, &calls.each_ref().map(|rogue| rogue.address));
    let router = Router::start(&yaml, &[]);
    router.await_replicas("only", "ready", 4, Duration::from_secs(20));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= 1000 {
                        return;
                    }
                    hostile(&router, number);
                }
            });
        }
        scope.spawn(|| short_calls(&router, 100));
    });
    until(Duration::from_secs(20), "all is calm", || {
        (metric(&router, "modelway_busy_slots", &[]) < 0.5).then_some(())
    });
    assert!(metric(&router, "modelway_set_asides_total", &[]) < 0.5);
    assert!(metric(&router, "modelway_set_aside_replicas", &[]) < 0.5);
    let counted = metric(&router, "modelway_requests_total", &["endpoint=\"calm\"", "code=\"50"]);
    assert!(counted < 20.0, "{counted}");
    let line = "POST /api/v1/endpoint/calm/score";
    let clean = ask(router.data, request(line, "", "abc"));
    assert_eq!((clean.status, &*clean.text()), (200, "3"));
}

/// gRPC calls whose own time limit no model can keep.
fn short_calls(router: &Router, count: usize) {
    for _ in 0..count {
        with_h2(router.data, async |sender| {
            let fields = [
                ("content-type", "application/grpc"),
                ("te", "trailers"),
                ("x-ms-aml-grpc-service-route", "/api/v1/endpoint/calls"),
                ("grpc-timeout", "20m"),
            ];
            let request = h2_request("POST", "/pkg.Service/Method", &fields);
            let answer = crate::support::wire::h2_ask(&sender, request, b"\0\0\0\0\0").await;
            assert_eq!(answer.expect("an answer").field("grpc-status"), Some("4"));
        });
    }
}
