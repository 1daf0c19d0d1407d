//! Clients that are slow in every way there is: each is evicted in time, and good ones do not notice.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    good,
    support::watch::{pass, until},
    world::{BAD, World, highest_while, variable},
};

/// A way to be slow.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    name: &'static str,
    /// What is sent at first.
    bytes: fn() -> Vec<u8>,
    /// Whether a byte follows now and then.
    drips: bool,
    half_closes: bool,
    /// When the router has to end it, in seconds.
    limit_s: u64,
}

const UNSENT_BODY: &str = "host: t\r\ncontent-length: 1000\r\n\r\nabc";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What contract §5 says of each.
const KINDS: &[Kind] = &[
    Kind { name: "connect only", bytes: Vec::new, drips: false, half_closes: false, limit_s: 5 },
    Kind {
        name: "half a preface",
        bytes: || PREFACE[..12].to_vec(),
        drips: false,
        half_closes: false,
        limit_s: 5,
    },
    Kind {
        name: "slow head",
        bytes: || format!("POST {BAD} HTTP/1.1\r\nhost: t\r\nx-slow: ").into_bytes(),
        drips: true,
        half_closes: false,
        limit_s: 10,
    },
    Kind {
        name: "slow body",
        bytes: || format!("POST {BAD} HTTP/1.1\r\n{UNSENT_BODY}").into_bytes(),
        drips: false,
        half_closes: false,
        limit_s: 10,
    },
    Kind {
        name: "HTTP/2 HEADERS without end",
        bytes: || [PREFACE, b"\0\0\x01\x01\x01\0\0\0\x01\x83"].concat(),
        drips: false,
        half_closes: false,
        limit_s: 10,
    },
    Kind { name: "half-closed", bytes: Vec::new, drips: false, half_closes: true, limit_s: 0 },
    Kind {
        name: "half-closed in the head",
        bytes: || b"POST /api HTTP/1.1\r\nhost: t\r\n".to_vec(),
        drips: false,
        half_closes: true,
        limit_s: 0,
    },
];

/// A slow connection.
struct Slow {
    stream: TcpStream,
    kind: Kind,
    begun: Instant,
    dripped: Instant,
    ended_after: Option<Duration>,
}

/// How often a drop comes.
const DRIP_EVERY: Duration = Duration::from_secs(1);

impl Slow {
    fn connect(address: SocketAddr, kind: Kind) -> Option<Self> {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.write_all(&(kind.bytes)()).ok()?;
        if kind.half_closes {
            stream.shutdown(Shutdown::Write).ok()?;
        }
        stream.set_nonblocking(true).ok()?;
        let begun = Instant::now();
        Some(Self { stream, kind, begun, dripped: begun, ended_after: None })
    }

    /// Looks whether the router has ended it; whether it goes on.
    fn goes_on(&mut self) -> bool {
        if self.ended_after.is_some() {
            return false;
        }
        let mut sink = [0; 4096];
        let ended = loop {
            match self.stream.read(&mut sink) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break true,
            }
        };
        if ended {
            self.ended_after = Some(self.begun.elapsed());
        } else if self.kind.drips && self.dripped.elapsed() > DRIP_EVERY {
            self.dripped = Instant::now();
            // If it fails, the next look finds the end.
            drop(self.stream.write_all(b"x"));
        }
        !ended
    }
}

/// Lets this process have as many files as it may.
pub(crate) fn raise_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _as_it_was = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let now = getrlimit(Resource::Nofile).current;
    now.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

#[test]
fn each_kind_of_slow_client_is_evicted_in_time() {
    const EACH: usize = 30;
    /// Looks and sweeps on a loaded machine.
    const SLACK: Duration = Duration::from_secs(6);
    raise_files();
    let world = World::start(&["--write-stall-limit", "6s"]);
    let readers: Vec<TcpStream> = (0..EACH).map(|_| unread(world.router.data)).collect();
    let begun = Instant::now();
    let kinds = KINDS.iter().flat_map(|kind| std::iter::repeat_n(*kind, EACH));
    let connect = |kind| Slow::connect(world.router.data, kind).expect("the router accepts");
    let mut slow: Vec<Slow> = kinds.map(connect).collect();
    let limit = Duration::from_secs(10) + SLACK;
    until(limit, "every slow client is gone", || {
        slow.retain_mut(|slow| slow.goes_on() || slow.ended_after.is_some());
        slow.iter().all(|slow| slow.ended_after.is_some()).then_some(())
    });
    eprintln!("| slow client | connections | evicted after (first to last) | limit |");
    for kind in KINDS {
        let of_kind = || slow.iter().filter(|slow| slow.kind.name == kind.name);
        let times = || of_kind().filter_map(|slow| slow.ended_after);
        let (first, last) = (times().min().expect("some"), times().max().expect("some"));
        let limit = Duration::from_secs(kind.limit_s);
        eprintln!("| {} | {EACH} | {first:.1?} to {last:.1?} | {limit:?} |", kind.name);
        // The clock of the router begins with the first byte it reads.
        assert!(first + Duration::from_millis(500) >= limit, "{}: {first:?}", kind.name);
        assert!(last <= limit + SLACK, "{}: {last:?}", kind.name);
    }
    until(limit, "who does not read is gone", || {
        (world.ended_by("write") >= EACH as f64).then_some(())
    });
    eprintln!("| does not read | {EACH} | up to {:.1?} | 6s |", begun.elapsed());
    drop(readers);
    assert!(world.ended_by("silence") >= (2 * EACH) as f64);
    assert!(world.ended_by("head") >= (2 * EACH) as f64);
    good::for_a_while(world.router.data, Duration::from_millis(200)).all_well("afterwards");
}

/// A client that asks for much and reads nothing.
fn unread(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the router accepts");
    SockRef::from(&stream).set_recv_buffer_size(4096).expect("an option");
    let request = format!("GET {BAD} HTTP/1.1\r\nhost: t\r\nx-script: large\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the router reads");
    stream
}

#[test]
fn a_crowd_of_slow_clients_does_not_slow_the_good_ones() {
    let wanted = variable("MODELWAY_TEST_SLOW");
    let (crowd, length) = match wanted {
        Some(count) => (count, Duration::from_secs(40)),
        None => (700, Duration::from_secs(7)),
    };
    // A slow body is three files here: the client's, and two handles of the replica's.
    let files = raise_files();
    assert!(files > crowd * 3 / 2, "{crowd} slow clients need more than {files} files");
    let world = World::start(&[]);
    let address = world.router.data;
    let mut control = good::for_a_while(address, length / 3);
    let before = world.resident_kib();
    let (highest, (seen, evicted)) = highest_while(
        || world.resident_kib(),
        || good::while_working(address, || keep_slow(address, crowd, length)),
    );
    control.join(good::for_a_while(address, length / 3));
    let (with, without) = (seen.percentile(99), control.percentile(99));
    eprintln!(
        "| {crowd} slow clients for {length:?} | {} good answers, {} failures | p99 {with:.1?}, control {without:.1?}, ratio {:.2} | {evicted} evicted | +{} KiB |",
        seen.answers,
        seen.failures.len(),
        with.as_secs_f64() / without.as_secs_f64(),
        highest.saturating_sub(before)
    );
    control.all_well("control");
    seen.all_well("beside slow clients");
    // A shared machine stalls for longer than the attack costs; the ratio is printed.
    assert!(with <= (without * 3).max(Duration::from_secs(2)), "{with:?} against {without:?}");
}

/// Keeps so many slow connections open, each followed by another when it is evicted; how many were.
fn keep_slow(address: SocketAddr, count: usize, length: Duration) -> usize {
    let begun = Instant::now();
    // Who is evicted at once would come again and again, which is another attack.
    let mut kinds = KINDS.iter().copied().filter(|kind| kind.limit_s > 0).cycle();
    // All of them are there after a second and a half.
    let batch = count / 40 + 1;
    // Looking at each of them must not take the core that the router needs.
    let every = Duration::from_micros(30) * u32::try_from(count).expect("not so many");
    let mut slow: Vec<Slow> = Vec::new();
    let mut evicted = 0;
    while begun.elapsed() < length {
        let missing = count.saturating_sub(slow.len());
        let next = kinds.by_ref().take(missing.min(batch));
        slow.extend(next.filter_map(|kind| Slow::connect(address, kind)));
        let before = slow.len();
        slow.retain_mut(Slow::goes_on);
        evicted += before - slow.len();
        pass(every);
    }
    evicted
}
