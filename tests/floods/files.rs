//! No file descriptor is free: the router waits without spinning, and its admin port answers.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use crate::{
    good,
    slow::raise_files,
    support::{
        watch::{pass, until},
        wire::{Wire, ask, request},
    },
    world::{BAD, GOOD, World, timed},
};

/// The share of a core that waiting for files may cost.
const CPU_MAX: f64 = 0.2;

fn connect_without_waiting(address: SocketAddr) -> Option<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.set_nonblocking(true).ok()?;
    // In progress is as good as done: the kernel goes on.
    drop(socket.connect(&address.into()));
    Some(socket)
}

/// How many files the router has open.
fn open_files(world: &World) -> usize {
    let path = format!("/proc/{}/fd", world.router.pid());
    std::fs::read_dir(path).expect("the router runs").count()
}

#[test]
fn a_thousand_connections_for_few_files_harm_nobody_who_was_there_and_pass() {
    const FILES: u32 = 256;
    raise_files();
    let world = World::with_files(FILES, &[]);
    assert_eq!(world.router.data.ip(), Ipv4Addr::LOCALHOST);
    let (seen, held) = good::while_working(world.router.data, || {
        // The good ones are connected by then.
        pass(Duration::from_millis(500));
        let connect = |_| connect_without_waiting(world.router.data);
        let held: Vec<Socket> = (0..1000).filter_map(connect).collect();
        pass(Duration::from_millis(500));
        held
    });
    seen.all_well("beside a thousand connections");
    let before = world.cpu();
    let length = Duration::from_secs(2);
    pass(length);
    let share = world.cpu().saturating_sub(before).as_secs_f64() / length.as_secs_f64();
    let (admin_took, (status, _)) = timed(|| world.router.admin_get("/readyz"));
    assert_eq!(status, 200, "the admin port answers");
    drop(held);
    let request = request(&format!("POST {GOOD}"), "", "abc");
    let (recovered, ()) = timed(|| {
        until(Duration::from_secs(20), "a new connection is served", || {
            let stream = TcpStream::connect_timeout(&world.router.data, Duration::from_secs(1));
            drop(stream.ok()?);
            (ask(world.router.data, &request).status == 200).then_some(())
        });
    });
    eprintln!(
        "| 1 000 connects, {FILES} files | {} good answers | CPU {:.1} % | admin {admin_took:.1?} | recovery {recovered:.1?} |",
        seen.answers,
        share * 100.0
    );
    assert!(share < CPU_MAX, "{share} of a core");
    assert!(recovered < Duration::from_secs(10), "{recovered:?}");
}

#[test]
fn when_every_file_is_in_use_the_admin_port_still_answers() {
    const FILES: u32 = 96;
    let world = World::with_files(FILES, &[]);
    // Two files for each: the client's connection and the replica's.
    let mut wires = Vec::new();
    for _ in 0..FILES {
        let wire = connect_without_waiting(world.router.data).expect("a socket");
        wires.push(wire);
    }
    let asking = request(&format!("POST {BAD}"), "x-script: stuck\r\n", "abc");
    let send = |wire: &Socket| {
        until(Duration::from_secs(5), "the kernel connects", || wire.send(asking.as_bytes()).ok());
    };
    wires.iter().for_each(send);
    until(Duration::from_secs(20), "every file is in use", || {
        (open_files(&world) + 1 >= FILES as usize).then_some(())
    });
    let before = world.cpu();
    let length = Duration::from_secs(2);
    let (slowest, count) = {
        let mut slowest = Duration::ZERO;
        let mut count = 0;
        let begun = std::time::Instant::now();
        while begun.elapsed() < length {
            for path in ["/livez", "/readyz", "/metrics"] {
                let (took, (status, _)) = timed(|| world.router.admin_get(path));
                assert_eq!(status, 200, "{path}");
                slowest = slowest.max(took);
                count += 1;
            }
            pass(Duration::from_millis(100));
        }
        (slowest, count)
    };
    let share = world.cpu().saturating_sub(before).as_secs_f64() / length.as_secs_f64();
    let open = open_files(&world);
    drop(wires);
    let (recovered, ()) = timed(|| {
        until(Duration::from_secs(30), "a new connection is served", || {
            let request = request(&format!("POST {GOOD}"), "", "abc");
            let mut wire = Wire::connect(world.router.data);
            let answer = wire.try_send(request).then(|| wire.try_answer(false)).flatten()?;
            (answer.status == 200).then_some(())
        });
    });
    eprintln!(
        "| {open} of {FILES} files in use | {count} admin answers, slowest {slowest:.1?} | CPU {:.1} % | recovery {recovered:.1?} |",
        share * 100.0
    );
    assert!(recovered < Duration::from_secs(10), "{recovered:?}");
}
