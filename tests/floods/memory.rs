//! Memory near its limit: first no connection is kept, then new work is refused, then it is taken
//! again. And what many uploads to slow replicas need.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    slow::raise_files,
    support::{
        replica::{Step, answer},
        watch::{metric, pass, until},
        wire::{Answer, Wire, ask, request},
    },
    world::{BAD, GOOD, World, highest_while, timed, variable},
};

const MIB: u64 = 1024;

fn good_answer(world: &World) -> Answer {
    ask(world.router.data, request(&format!("POST {GOOD}"), "", "abc"))
}

fn pressure(world: &World) -> u32 {
    let value = metric(&world.router, "modelway_memory_pressure", &[]);
    if value > 1.5 { 2 } else { u32::from(value > 0.5) }
}

/// Used memory as a part of the limit.
fn share(world: &World) -> f64 {
    let bytes = |name| metric(&world.router, name, &[]);
    bytes("modelway_memory_used_bytes") / bytes("modelway_memory_limit_bytes")
}

/// An upload that nobody reads, as far as it goes in without waiting.
fn fill(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the router accepts");
    let head = format!(
        "POST {BAD} HTTP/1.1\r\nhost: t\r\nx-script: unread\r\ncontent-length: 90000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("the router reads");
    stream.set_nonblocking(true).expect("an option");
    top_up(&mut stream);
    stream
}

fn top_up(stream: &mut TcpStream) {
    let piece = vec![0; 256 * 1024];
    // What does not fit now is tried again at the next round; a refused one is left alone.
    while stream.write(&piece).is_ok() {}
}

#[test]
fn memory_near_its_limit_is_answered_step_by_step_and_passes() {
    /// Uploads at most, which is far more than the limit below has room for.
    const UPLOADS_MAX: usize = 1200;
    raise_files();
    // What an idle router of this build needs is the base of the limit.
    let base_kib = {
        let world = World::start(&[]);
        assert_eq!(good_answer(&world).status, 200);
        world.resident_kib()
    };
    let limit_mib = (base_kib / MIB + 30).max(48);
    let world = World::start(&["--memory-limit", &format!("{limit_mib}MiB")]);
    let line = |world: &World| {
        let (status, page) = world.router.admin_get("/readyz?verbose");
        assert_eq!(status, 200, "short of memory is no reason to get no traffic at all: {page}");
        page.lines().find(|line| line.starts_with("[+]memory")).expect("a line").to_owned()
    };
    until(Duration::from_secs(5), "the first look", || line(&world).contains("calm").then_some(()));
    assert_eq!(good_answer(&world).field("connection"), None, "connections are kept");

    let mut uploads: Vec<TcpStream> = Vec::new();
    let mut kept_off = false;
    let (took, ()) = timed(|| {
        while pressure(&world) < 2 {
            assert!(uploads.len() < UPLOADS_MAX, "no pressure: {}", line(&world));
            uploads.extend((0..4).map(|_| fill(world.router.data)));
            uploads.iter_mut().for_each(top_up);
            if share(&world) > 0.7 {
                // Not past a step between two looks.
                pass(Duration::from_millis(300));
            }
            if !kept_off && pressure(&world) == 1 {
                let answer = good_answer(&world);
                assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
                kept_off = true;
            }
        }
    });
    let refused = good_answer(&world);
    eprintln!(
        "| memory ladder, {limit_mib} MiB | {} uploads, {took:.1?} | {} |",
        uploads.len(),
        line(&world)
    );
    assert_eq!((refused.status, refused.code().as_str()), (503, "router_overloaded"));
    assert!(refused.field("retry-after").is_some());
    assert_eq!(refused.field("connection"), Some("close"));
    assert!(line(&world).contains("new requests are refused"));
    drop(uploads);
    let (recovered, ()) = timed(|| {
        until(Duration::from_secs(60), "work is taken again", || {
            (good_answer(&world).status == 200).then_some(())
        });
    });
    eprintln!("| after the uploads | work again in {recovered:.1?} | {} |", line(&world));
    assert!(kept_off, "the first step");
    assert!(world.ended_by("memory") >= 1.0);
}

#[test]
fn many_large_uploads_to_slow_replicas_need_little_memory() {
    let full = variable("MODELWAY_TEST_UPLOADS");
    // The full form is that of the issue: 64 uploads of 100 MB and 1 000 idle connections.
    let (uploads, bytes, idle) = match full {
        Some(uploads) => (uploads, 100_000_000, 1000),
        None => (16, 6_000_000, 150),
    };
    raise_files();
    // The idle ones are to live through uploads of more than a minute.
    let world = World::start(&["--memory-limit", "512MiB", "--idle-limit", "10m"]);
    world.bad.script("slow-reader", move |seen, _| {
        let length: usize =
            seen.field("content-length").expect("a length").parse().expect("a number");
        let mut steps: Vec<Step> = std::iter::repeat_with(|| {
            [Step::Part(512 * 1024), Step::Wait(Duration::from_millis(20))]
        })
        .take(length / (1024 * 1024))
        .flatten()
        .collect();
        steps.extend([Step::Body, Step::Send(answer("200 OK", "", &length.to_string()))]);
        steps
    });
    let address = world.router.data;
    let mut idlers: Vec<Wire> = (0..idle).map(|_| Wire::connect(address)).collect();
    let asking = request(&format!("POST {GOOD}"), "", "abc");
    assert!(idlers.iter_mut().all(|wire| wire.send(&asking).answer().status == 200));
    let before = world.resident_kib();
    let (highest, (took, answers)) = highest_while(
        || world.resident_kib(),
        || {
            timed(|| {
                std::thread::scope(|scope| {
                    let clients: Vec<_> =
                        (0..uploads).map(|_| scope.spawn(|| upload(address, bytes))).collect();
                    clients.into_iter().map(|c| c.join().expect("it notes")).collect::<Vec<_>>()
                })
            })
        },
    );
    eprintln!(
        "| {uploads} uploads of {bytes} bytes, {idle} idle connections | {took:.1?} | {before} KiB before, {highest} KiB at most, {} KiB each |",
        highest.saturating_sub(before) / uploads as u64
    );
    for answer in &answers {
        assert_eq!((answer.status, answer.text()), (200, bytes.to_string()));
    }
    assert!(
        idlers.iter_mut().all(|wire| wire.send(&asking).answer().status == 200),
        "the idle live"
    );
    assert!(highest < 400 * MIB, "{highest} KiB");
    assert!(highest.saturating_sub(before) < uploads as u64 * 3 * MIB, "{before} to {highest} KiB");
}

fn upload(address: SocketAddr, bytes: usize) -> Answer {
    let mut wire = Wire::connect(address);
    wire.send(format!(
        "POST {BAD} HTTP/1.1\r\nhost: t\r\nx-script: slow-reader\r\ncontent-length: {bytes}\r\n\r\n"
    ));
    let piece = vec![0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(piece.len());
        if !wire.try_send(&piece[..count]) {
            break;
        }
        left -= count;
    }
    wire.answer()
}
