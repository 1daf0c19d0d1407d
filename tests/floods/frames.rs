//! HTTP/2 floods on raw frames: the connection ends, memory stays, others notice nothing.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::{
    good,
    support::watch::until,
    world::{BAD, World, highest_while, timed},
};

/// Frames of each flood.
const FRAMES: u32 = 100_000;
/// What a flood may cost in memory: contract of the reference, B3/24.
const GROWTH_KIB_MAX: u64 = 8 * 1024;
/// Nobody waits longer for the end of a connection.
const END_LIMIT: Duration = Duration::from_secs(30);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block: literals that are not indexed (RFC 7541 §6.2.2), and `:method POST` and
/// `:scheme http` from the static table.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = vec![0x83, 0x86];
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).ok().filter(|n| *n < 127).expect("a short text"));
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

fn post(script: &str) -> Vec<u8> {
    let fields = [(":path", BAD), (":authority", "t"), ("x-script", script)];
    block(if script.is_empty() { &fields[..2] } else { &fields })
}

/// A client of HTTP/2 that sends what it likes.
struct Attacker {
    stream: TcpStream,
    answers: std::thread::JoinHandle<Option<u32>>,
}

impl Attacker {
    fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).expect("the router accepts");
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        hello.extend(frame(SETTINGS, 0, 0, &[]));
        stream.write_all(&hello).expect("the router reads");
        let reader = stream.try_clone().expect("a second handle");
        let answers = std::thread::spawn(move || goaway(reader));
        Self { stream, answers }
    }

    /// Whether the router still takes what is sent.
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Waits for the end; the code of the GOAWAY that came before it.
    fn end(self) -> Option<u32> {
        self.stream.set_read_timeout(Some(END_LIMIT)).expect("an option");
        self.answers.join().expect("reading does not fail")
    }
}

/// Reads frames to the end of the connection; the code of the last GOAWAY.
fn goaway(mut stream: TcpStream) -> Option<u32> {
    stream.set_read_timeout(Some(END_LIMIT)).expect("an option");
    let mut head = [0; 9];
    let mut code = None;
    while stream.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("small")];
        if stream.read_exact(&mut payload).is_err() {
            break;
        }
        if head[3] == GOAWAY {
            code = Some(u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]));
        }
    }
    code
}

/// A flood: how its frames are made, one after the other.
type Flood = (&'static str, fn(u32) -> Vec<u8>);

const FLOODS: &[Flood] = &[
    ("PING", |_| frame(PING, 0, 0, &[7; 8])),
    ("SETTINGS", |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
    ("PRIORITY", |n| frame(PRIORITY, 0, n * 2 + 1, &[0, 0, 0, 0, 15])),
    ("WINDOW_UPDATE", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ("unknown frames", |_| frame(0x77, 0, 0, b"x")),
    ("empty DATA", |n| match n {
        0 => frame(HEADERS, END_HEADERS, 1, &post("stuck")),
        _ => frame(DATA, 0, 1, &[]),
    }),
    ("DATA of one byte", |n| match n {
        0 => frame(HEADERS, END_HEADERS, 1, &post("unread")),
        _ => frame(DATA, 0, 1, b"x"),
    }),
    ("CONTINUATION", |n| match n {
        0 => frame(HEADERS, 0, 1, &post("")),
        _ => frame(CONTINUATION, 0, 1, &block(&[("x-more", "and more")])[2..]),
    }),
    ("empty CONTINUATION", |n| match n {
        0 => frame(HEADERS, 0, 1, &post("")),
        _ => frame(CONTINUATION, 0, 1, &[]),
    }),
    // An entry of 4 KB in the dynamic table, then references to it (RFC 7541 §6.1).
    ("HPACK bomb", |n| match n {
        0 => {
            let mut bytes = post("");
            bytes.extend([0x40, 1, b'x', 0x7f, 0x81, 0x1e]);
            bytes.extend([b'y'; 4000]);
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &bytes)
        }
        n => {
            let mut bytes = post("");
            bytes.extend([0xbe; 8000]);
            frame(HEADERS, END_HEADERS | END_STREAM, n * 2 + 1, &bytes)
        }
    }),
    ("rapid reset", |n| {
        let stream = n * 2 + 1;
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &post("second"));
        bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        bytes
    }),
];

#[test]
fn a_flood_of_frames_ends_its_connection_and_costs_nobody_else() {
    let world = World::start(&[]);
    // The first of everything costs memory once.
    let control = good::for_a_while(world.router.data, Duration::from_secs(1));
    control.all_well("control");
    eprintln!(
        "| flood | frames sent | ended after | GOAWAY | memory | good p99 (control {:?}) |",
        control.percentile(99)
    );
    for (name, make) in FLOODS {
        let before = world.resident_kib();
        let (highest, (seen, (took, (taken, code)))) = highest_while(
            || world.resident_kib(),
            || good::while_working(world.router.data, || timed(|| flood(world.router.data, *make))),
        );
        let grown = highest.saturating_sub(before);
        eprintln!(
            "| {name} | {taken} | {took:.1?} | {code:?} | {grown} KiB | {:?} |",
            seen.percentile(99)
        );
        seen.all_well(name);
        // What was sent may still have been in the kernel when the router ended the connection.
        assert!(took < END_LIMIT, "{name}: the connection outlives {FRAMES} frames");
        assert_ne!(code, Some(0), "{name}: not as if all were well");
        assert!(grown < GROWTH_KIB_MAX, "{name}: {grown} KiB more");
    }
    assert!(world.ended_by("frames") >= 4.0, "PING, SETTINGS, PRIORITY and WINDOW_UPDATE");
}

/// How many frames the router took, and what it said.
fn flood(address: SocketAddr, make: fn(u32) -> Vec<u8>) -> (u32, Option<u32>) {
    const BATCH: u32 = 20;
    let mut attacker = Attacker::connect(address);
    let mut taken = 0;
    while taken < FRAMES {
        let bytes: Vec<u8> = (taken..taken + BATCH).flat_map(make).collect();
        if !attacker.send(&bytes) {
            break;
        }
        taken += BATCH;
    }
    (taken, attacker.end())
}

#[test]
fn paced_resets_end_the_connection_and_never_exceed_the_slots() {
    const SLOTS: u32 = 8;
    const ROUND: u32 = 50;
    let world = World::with_slots(SLOTS, &[]);
    let control = good::for_a_while(world.router.data, Duration::from_secs(1));
    let (seen, (took, (requests, code))) = good::while_working(world.router.data, || {
        timed(|| {
            let mut attacker = Attacker::connect(world.router.data);
            let mut streams = (1..).step_by(2);
            let mut requests = 0;
            let begun = Instant::now();
            while begun.elapsed() < END_LIMIT {
                let round: Vec<u32> = streams.by_ref().take(ROUND as usize).collect();
                let open = |s: &u32| frame(HEADERS, END_HEADERS | END_STREAM, *s, &post("second"));
                let reset = |s: &u32| frame(RST_STREAM, 0, *s, &[0, 0, 0, 8]);
                let opened: Vec<u8> = round.iter().flat_map(open).collect();
                if !attacker.send(&opened) {
                    break;
                }
                requests += ROUND;
                // Long enough that they are seen as requests and wait or work.
                crate::support::watch::pass(Duration::from_millis(100));
                let reset: Vec<u8> = round.iter().flat_map(reset).collect();
                if !attacker.send(&reset) {
                    break;
                }
            }
            (requests, attacker.end())
        })
    });
    let highest = world.bad.highest_concurrency();
    eprintln!(
        "| paced reset | {requests} requests | {took:.1?} | GOAWAY {code:?} | {highest} at once with {SLOTS} slots | p99 {:?}, control {:?} |",
        seen.percentile(99),
        control.percentile(99)
    );
    seen.all_well("paced reset");
    assert_eq!(code, Some(0xb), "ENHANCE_YOUR_CALM");
    assert!(requests <= 500, "{requests} requests");
    assert!(highest <= SLOTS as usize, "{highest} at once with {SLOTS} slots");
    assert_eq!(world.ended_by("resets").to_bits(), 1_f64.to_bits());
    // What was reset is finished, and then every slot is free again.
    until(Duration::from_secs(30), "the slots are free", || {
        let busy = crate::support::watch::metric(
            &world.router,
            "modelway_busy_slots",
            &["endpoint=\"bad\""],
        );
        (busy < 0.5).then_some(())
    });
}

#[test]
fn ordinary_clients_that_cancel_now_and_then_keep_their_connection() {
    let world = World::start(&[]);
    let mut attacker = Attacker::connect(world.router.data);
    for n in 0..1000_u32 {
        let stream = n * 2 + 1;
        let script = if n % 4 == 0 { "second" } else { "" };
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &post(script));
        if n % 4 == 0 {
            bytes.extend(frame(PING, 0, 0, &[1; 8]));
        }
        assert!(attacker.send(&bytes), "request {n}");
        if n % 50 == 49 {
            // What no request has been made of yet is h2's affair, which allows a few of those.
            until(Duration::from_secs(20), "the requests arrive", || {
                (world.bad.all_seen().len() > n as usize).then_some(())
            });
            let resets = (n - 49..=n).filter(|n| n % 4 == 0);
            let resets: Vec<u8> =
                resets.flat_map(|n| frame(RST_STREAM, 0, n * 2 + 1, &[0, 0, 0, 8])).collect();
            assert!(attacker.send(&resets), "resets after {n}");
        }
    }
    assert_eq!(world.ended_by("resets").to_bits(), 0_f64.to_bits());
    drop(attacker.stream.shutdown(std::net::Shutdown::Write));
    let code = attacker.end();
    assert!(code.is_none_or(|code| code == 0), "GOAWAY {code:?}");
}

#[test]
fn a_head_of_http2_has_its_ten_seconds_as_any_other() {
    let world = World::start(&["--head-limit", "2s"]);
    let partial = &frame(HEADERS, END_HEADERS | END_STREAM, 1, &post(""))[..20];
    let open_ended = frame(HEADERS, END_STREAM, 1, &post(""));
    for (what, bytes) in [("a part of HEADERS", partial), ("no END_HEADERS", &open_ended)] {
        let mut attacker = Attacker::connect(world.router.data);
        let (took, _code) = timed(|| {
            assert!(attacker.send(bytes));
            attacker.end()
        });
        eprintln!("| HTTP/2, {what} | closed after {took:.1?} of 2 s |");
        assert!((Duration::from_millis(1900)..Duration::from_secs(20)).contains(&took), "{took:?}");
    }
    assert_eq!(world.ended_by("head").to_bits(), 2_f64.to_bits());
    let mut late = TcpStream::connect(world.router.data).expect("the router accepts");
    late.set_read_timeout(Some(Duration::from_millis(100))).expect("an option");
    let kind = late.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(kind, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{kind:?}");
}
