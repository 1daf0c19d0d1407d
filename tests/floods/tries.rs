//! Wrong credentials, a thousand a second: cheap, counted, bounded, and nobody else's problem.

use std::time::{Duration, Instant};

use crate::{
    good,
    support::{
        watch::{metric, pass},
        wire::{Answer, Wire, request},
    },
    world::{KEY, World, timed},
};

const KEYED: &str = "/api/v1/endpoint/keyed/score";
const BURST: usize = 100;
const RATE: usize = 20;

fn bad_request(number: usize) -> String {
    request(&format!("POST {KEYED}"), &format!("authorization: Bearer wrong-{number}\r\n"), "abc")
}

#[test]
fn a_thousand_wrong_credentials_a_second_are_cheap_and_cost_no_valid_one() {
    const CLIENTS: usize = 4;
    const LENGTH: Duration = Duration::from_secs(4);
    let (burst, rate) = (BURST.to_string(), RATE.to_string());
    let world = World::start(&[
        "--failed-credentials-burst",
        &burst,
        "--failed-credentials-rate",
        &rate,
        "--access-log",
        "on",
        "--log-format",
        "json",
    ]);
    let address = world.router.data;
    let before = world.cpu();
    let key = format!("api-key: {KEY}\r\n");
    let line = format!("POST {KEYED}");
    let (seen, (took, answers)) = good::while_asking(address, &line, &key, || {
        timed(|| {
            std::thread::scope(|scope| {
                let clients: Vec<_> =
                    (0..CLIENTS).map(|_| scope.spawn(|| try_for(address, LENGTH))).collect();
                let answers = clients.into_iter().map(|c| c.join().expect("a client notes"));
                answers.flatten().collect::<Vec<Answer>>()
            })
        })
    });
    let share = world.cpu().saturating_sub(before).as_secs_f64() / took.as_secs_f64();
    let limited = answers.iter().filter(|answer| answer.field("retry-after").is_some()).count();
    let logged = world.router.lines().iter().filter(|l| l.contains("credential_invalid")).count();
    let suppressed = metric(&world.router, "modelway_failed_credentials_suppressed_total", &[]);
    eprintln!(
        "| {} wrong credentials in {took:.1?} | {limited} beyond the budget | {logged} log lines | CPU {:.0} % (debug build, with {} good answers) | p99 {:?} |",
        answers.len(),
        share * 100.0,
        seen.answers,
        seen.percentile(99)
    );
    seen.all_well("beside wrong credentials");
    assert!(answers.iter().all(|answer| answer.status == 401), "each is told");
    assert!(answers.len() > BURST * 2, "{}", answers.len());
    let budget = BURST + RATE * (usize::try_from(took.as_secs()).expect("seconds") + 2);
    assert!(answers.len() - limited <= budget, "{limited} of {} with {budget}", answers.len());
    assert!(logged <= budget, "{logged} lines with {budget}");
    assert!((suppressed - limited as f64).abs() < 0.5, "{suppressed} counted, {limited} seen");
    for answer in answers.iter().filter(|answer| answer.field("retry-after").is_some()) {
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(answer.field("www-authenticate").is_some_and(|v| v.contains("invalid_token")));
    }
}

/// Wrong credentials at 250 a second, on a kept connection as long as it is kept.
fn try_for(address: std::net::SocketAddr, length: Duration) -> Vec<Answer> {
    let every = Duration::from_millis(4);
    let begun = Instant::now();
    let mut wire = Wire::connect(address);
    let mut answers = Vec::new();
    while begun.elapsed() < length {
        let due = every * u32::try_from(answers.len()).expect("not so many");
        pass(due.saturating_sub(begun.elapsed()));
        let answer = wire.send(bad_request(answers.len())).answer();
        if answer.field("connection") == Some("close") {
            wire = Wire::connect(address);
        }
        answers.push(answer);
    }
    answers
}

#[test]
fn the_body_of_a_try_beyond_the_budget_is_not_read() {
    let world =
        World::start(&["--failed-credentials-burst", "1", "--failed-credentials-rate", "1"]);
    let head = format!(
        "POST {KEYED} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer wrong\r\ncontent-length: 50000000\r\n\r\n"
    );
    let mut first = Wire::connect(world.router.data);
    assert_eq!(first.send(&head).answer().field("retry-after"), None);
    let mut second = Wire::connect(world.router.data);
    let answer = second.send(&head).answer();
    assert_eq!((answer.status, answer.field("connection")), (401, Some("close")));
    assert!(answer.field("retry-after").is_some());
    // The router waits a moment for the client to read the answer, and reads no 50 MB.
    let (took, sent) = timed(|| {
        let piece = vec![0; 64 * 1024];
        (0..800)
            .take_while(|_| {
                pass(Duration::from_millis(5));
                second.try_send(&piece)
            })
            .count()
    });
    eprintln!("| 50 MB behind a wrong credential | {} KiB taken in {took:.1?} |", sent * 64);
    assert!(sent < 800, "all of it was taken");
}
