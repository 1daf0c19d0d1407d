//! The split, counted over the wire.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    line::Line,
    router::Router,
    spec::{self, SCORE},
};

/// Blue 80, green 20, and `dark` without traffic.
fn endpoint(folder: &tempfile::TempDir, queue_wait: &str) -> String {
    let command = spec::model(&folder.path().join("ledger"), &[]);
    let fields = |percent: u32| {
        let slots = json!({"maxConcurrentRequestsPerReplica": 16, "maxQueueWait": queue_wait});
        spec::with(&slots, &json!({"trafficPercentile": percent}))
    };
    spec::endpoint(&[
        spec::fixed("blue", &command, 1, &fields(80)),
        spec::fixed("green", &command, 1, &fields(20)),
        spec::fixed("dark", &command, 1, &fields(0)),
    ])
}

fn start(folder: &tempfile::TempDir) -> Router {
    let router = Router::start(&endpoint(folder, "10s"), &["--workers", "2"]);
    for version in ["blue", "green", "dark"] {
        router.await_replicas(version, "ready", 1, Duration::from_secs(20));
    }
    router
}

#[test]
fn any_hundred_requests_in_a_row_are_split_to_within_one_also_across_an_edit() {
    let folder = tempfile::tempdir().unwrap();
    let router = start(&folder);
    let mut lines: Vec<Line> = (0..6).map(|_| Line::connect(router.data)).collect();
    let mut sequence = Vec::new();
    for number in 0..1000_usize {
        if number == 537 {
            router.edit(&endpoint(&folder, "11s"));
            router.eventually(Duration::from_secs(5), "the edit is in force", |router| {
                let demo = router.admin_json("/api/v1/endpoints/demo");
                (demo["versions"][0]["maxQueueWaitMs"] == 11_000).then_some(())
            });
        }
        let answer = lines[number * 7 % 6].ask(SCORE, &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        sequence.push(answer.version() == "blue");
        assert_ne!(answer.version(), "dark");
    }
    let blue = |window: &[bool]| window.iter().filter(|is_blue| **is_blue).count();
    assert_eq!(blue(&sequence), 800);
    for (at, window) in sequence.windows(100).enumerate() {
        assert!((79..=81).contains(&blue(window)), "{} of 100 from {at}", blue(window));
    }
}

#[test]
fn requests_at_once_from_many_connections_are_split_exactly_too() {
    let folder = tempfile::tempdir().unwrap();
    let router = start(&folder);
    let address = router.data;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                let mut line = Line::connect(address);
                (0..125).map(|_| line.ask(SCORE, &[]).version().to_owned()).collect::<Vec<_>>()
            })
        })
        .collect();
    let versions: Vec<String> =
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let count = |name: &str| versions.iter().filter(|version| *version == name).count();
    assert_eq!((count("blue"), count("green"), count("dark")), (800, 200, 0));
}

#[test]
fn ten_thousand_pinned_requests_all_reach_their_version() {
    let folder = tempfile::tempdir().unwrap();
    let router = start(&folder);
    let address = router.data;
    let clients: Vec<_> = (0..4_usize)
        .map(|client| {
            std::thread::spawn(move || {
                let mut line = Line::connect(address);
                for number in 0..2500 {
                    let pinned = ["dark", "green", "blue"][(client + number) % 3];
                    let answer = line.ask(SCORE, &[("azureml-model-deployment", pinned)]);
                    assert_eq!((answer.status, answer.version()), (200, pinned));
                    let replica = format!("\"replica\":\"demo-{pinned}-1\"");
                    assert!(answer.body.contains(&replica), "{}", answer.body);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}
