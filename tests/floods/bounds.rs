//! How many connections an address may have, and how many requests a connection.

use std::time::Duration;

use crate::{
    support::{
        watch::until,
        wire::{Wire, ask, h2_ask, h2_request, request, with_h2},
    },
    world::{GOOD, World},
};

fn good_request() -> String {
    request(&format!("POST {GOOD}"), "", "abc")
}

#[test]
fn an_address_has_its_connections_and_no_more() {
    const MOST: usize = 20;
    let world = World::start(&["--connections-per-address", &MOST.to_string()]);
    let mut wires: Vec<Wire> = (0..MOST).map(|_| Wire::connect(world.router.data)).collect();
    for wire in &mut wires {
        assert_eq!(wire.send(good_request()).answer().text(), "3");
    }
    for _ in 0..3 {
        let mut refused = Wire::connect(world.router.data);
        assert!(refused.closes_within(Duration::from_secs(10)), "one too many is closed at once");
    }
    assert_eq!(world.ended_by("address").to_bits(), 3_f64.to_bits());
    for wire in &mut wires {
        assert_eq!(wire.send(good_request()).answer().text(), "3", "the others go on");
    }
    drop(wires.pop());
    until(Duration::from_secs(10), "the place of who has left", || {
        let mut wire = Wire::connect(world.router.data);
        let answer = wire.try_send(good_request()).then(|| wire.try_answer(false)).flatten();
        (answer?.text() == "3").then_some(())
    });
}

#[test]
fn a_connection_has_its_requests_and_is_then_asked_to_come_again() {
    const MOST: usize = 5;
    let world = World::start(&["--requests-per-connection", &MOST.to_string()]);
    let mut wire = Wire::connect(world.router.data);
    for number in 1..=MOST {
        let answer = wire.send(good_request()).answer();
        assert_eq!(answer.text(), "3");
        let last = answer.field("connection") == Some("close");
        assert_eq!(last, number == MOST, "request {number}");
    }
    assert!(wire.closes_within(Duration::from_secs(10)));
    assert_eq!(ask(world.router.data, good_request()).status, 200, "it may come again");
    with_h2(world.router.data, async |sender| {
        // All at once: GOAWAY ends none that has begun.
        let asked = (0..MOST * 4).map(|_| {
            let sender = sender.clone();
            async move { h2_ask(&sender, h2_request("POST", GOOD, &[]), b"abc").await }
        });
        let mut answered = 0;
        for result in join_all(asked).await {
            match result {
                Ok(answer) => {
                    assert_eq!(answer.text(), "3");
                    answered += 1;
                }
                // Not begun: the client sends it on its next connection.
                Err(error) => assert!(error.is_go_away() || error.is_reset(), "{error}"),
            }
        }
        assert!(answered >= MOST, "{answered}");
        let ended = tokio::time::timeout(Duration::from_secs(10), async {
            while sender.clone().ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        assert!(ended.await.is_ok(), "the connection ends");
    });
    assert_eq!(world.ended_by("requests").to_bits(), 2_f64.to_bits());
}

async fn join_all<T>(work: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut tasks = Vec::new();
    for work in work {
        tasks.push(Box::pin(work));
    }
    let mut done: Vec<Option<T>> = tasks.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (task, done) in tasks.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = task.as_mut().poll(cx)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}
