//! Clients that begin a handshake and do not finish it.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustls::{ClientConnection, pki_types::ServerName};

use crate::{
    client::Line,
    site::{SCORE, SOON, Site},
    support::{watch::pass, wire::request},
};

/// A `ClientHello` as a real client writes it.
fn hello(site: &Site) -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("a host");
    let mut session = ClientConnection::new(site.hello().config(), name).expect("a session");
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).expect("a hello");
    bytes
}

/// How long it takes until the router closes.
fn closed_after(stream: &mut TcpStream, begun: Instant) -> Duration {
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("an option");
    match stream.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
    begun.elapsed()
}

#[test]
fn half_and_slow_hellos_are_ended_in_time_and_hold_nobody_up() {
    const HALVES: usize = 200;
    let site = Site::start(&[]);
    let hello = hello(&site);
    let begun = Instant::now();
    let mut halves: Vec<TcpStream> = (0..HALVES)
        .map(|number| {
            let mut stream = TcpStream::connect(site.secure).unwrap();
            // From nothing at all to all but the last byte.
            stream.write_all(&hello[..number * (hello.len() - 1) / (HALVES - 1)]).unwrap();
            stream
        })
        .collect();
    let asked = Instant::now();
    for _ in 0..50 {
        let mut line = Line::open(site.secure, &site.hello()).unwrap();
        assert_eq!(line.send(request(SCORE, "", "abc")).answer().text(), "3");
    }
    // Behind half a hello each would wait for its deadline.
    assert!(asked.elapsed() < Duration::from_secs(60), "{:?}", asked.elapsed());

    // A byte now and then does not move the deadline.
    let slow = {
        let (address, hello) = (site.secure, hello.clone());
        std::thread::spawn(move || {
            let begun = Instant::now();
            let mut stream = TcpStream::connect(address).unwrap();
            for byte in hello.chunks(1) {
                if stream.write_all(byte).is_err() || begun.elapsed() > Duration::from_secs(30) {
                    break;
                }
                pass(Duration::from_millis(100));
            }
            begun.elapsed()
        })
    };
    for half in &mut halves {
        let after = closed_after(half, begun);
        assert!(after > Duration::from_secs(4) && after < Duration::from_secs(25), "{after:?}");
    }
    let after = slow.join().unwrap();
    assert!(after > Duration::from_secs(4) && after < Duration::from_secs(25), "{after:?}");
    let halves = u32::try_from(HALVES).unwrap();
    site.await_handshakes("timeout", f64::from(halves + 1));
}

#[test]
fn who_leaves_in_the_middle_is_counted_and_garbage_is_refused() {
    let site = Site::start(&[]);
    let hello = hello(&site);
    for length in [0, 1, 5, hello.len() / 2] {
        let mut stream = TcpStream::connect(site.secure).unwrap();
        stream.write_all(&hello[..length]).unwrap();
    }
    site.await_handshakes("closed", 4.0);
    // The form of a handshake, and nonsense in it.
    let mut garbage = hello;
    let length = garbage.len();
    garbage[11..length].fill(0xff);
    let mut stream = TcpStream::connect(site.secure).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(&garbage).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}");
    // A record longer than any may be (RFC 8446 §5.1).
    let mut stream = TcpStream::connect(site.secure).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(&[22, 3, 1, 0xff, 0xff]).unwrap();
    stream.write_all(&[1; 4096]).unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    site.await_handshakes("failed", 1.0);
    let mut line = Line::open(site.secure, &site.hello()).unwrap();
    assert_eq!(line.send(request(SCORE, "", "abc")).answer().text(), "3");
}
