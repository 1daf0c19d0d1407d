//! Keys are shown and replaced while requests flow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    support::{
        line::Line,
        router::Router,
        spec::SCORE,
        watch::{await_exactly, until},
    },
    world::{PRIMARY, SECONDARY, command, endpoint, json_of, keyed, score, secret},
};

/// How soon a new key is in force (contract §7).
const KEY_LIMIT: Duration = Duration::from_secs(1);
/// What a loaded machine adds.
const SLACK: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(20);

/// Asks on a connection of its own, again and again, with the key that is valid now; whatever is not
/// 200 is kept.
struct Client {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: thread::JoinHandle<Vec<u16>>,
}

impl Client {
    fn start(router: &Router, key: &str) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (data, field) = (router.data, format!("Bearer {key}"));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let thread = thread::spawn(move || {
            let mut line = Line::connect(data);
            let mut failed = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let status = line.ask(SCORE, &[("Authorization", &field)]).status;
                count.fetch_add(1, Ordering::Relaxed);
                if status != 200 {
                    failed.push(status);
                }
            }
            failed
        });
        Self { stop, asked, thread }
    }

    fn end(self) -> (usize, Vec<u16>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.thread.join().expect("the client");
        (self.asked.load(Ordering::Relaxed), failed)
    }
}

/// Replaces the primary key again and again under the load of its neighbour, and of each new key.
fn rotate(router: &Router, primary: &str, secondary: &str, times: usize) -> String {
    let neighbour = Client::start(router, secondary);
    let (mut last, mut slowest, mut of_new, mut failed) =
        (primary.to_owned(), Duration::ZERO, 0, Vec::new());
    for _ in 0..times {
        let answer = json_of(router, &["keys", "regenerate", "demo", "--primary"]);
        let fresh = answer["primaryKey"].as_str().expect("a key").to_owned();
        let begun = Instant::now();
        assert_ne!(fresh, last);
        assert_eq!(answer["secondaryKey"], *secondary, "the other one is not touched");
        until(LIMIT, "the new key works", || (score(router, &fresh) == 200).then_some(()));
        slowest = slowest.max(begun.elapsed());
        assert_eq!(score(router, &last), 401, "the old one does not");
        // From now on it is valid, so no request with it may fail, until it is replaced.
        let client = Client::start(router, &fresh);
        until(LIMIT, "some requests", || {
            (client.asked.load(Ordering::Relaxed) >= 20).then_some(())
        });
        let (asked, bad) = client.end();
        of_new += asked;
        failed.extend(bad);
        last = fresh;
    }
    let (asked, bad) = neighbour.end();
    failed.extend(bad);
    println!(
        "{times} keys replaced: 0 of {} requests refused, slowest in force {slowest:?}",
        asked + of_new
    );
    assert!(failed.is_empty(), "{failed:?} of {}", asked + of_new);
    assert!(slowest < KEY_LIMIT + SLACK, "{slowest:?}");
    last
}

#[test]
fn a_key_in_a_file_is_replaced_in_the_file_and_no_valid_request_fails() {
    let router = Router::start(&keyed(), &[]);
    await_exactly(&router, "blue", 1);
    let shown = json_of(&router, &["keys", "show", "demo"]);
    assert_eq!(shown, json!({"primaryKey": PRIMARY, "secondaryKey": SECONDARY}));
    let fresh = rotate(&router, PRIMARY, SECONDARY, 5);
    let text = std::fs::read_to_string(router.file()).expect("the file");
    assert_eq!(text, keyed().replace(PRIMARY, &fresh), "nothing else in the file changed");
    // A key that a person writes into the file is in force too, and shown.
    router.edit(&keyed().replace(PRIMARY, "by-hand"));
    until(LIMIT, "the edit is in force", || (score(&router, "by-hand") == 200).then_some(()));
    assert_eq!(json_of(&router, &["keys", "show", "demo"])["primaryKey"], "by-hand");
    // What is no good edit is not replaced either: the last good keys stay in force.
    std::fs::write(router.file(), "").expect("the file");
    let refused = command(&router, &["keys", "regenerate", "demo", "--primary"], None);
    assert!(refused.is_err());
    assert_eq!(score(&router, "by-hand"), 200);
}

#[test]
fn generated_keys_are_shown_and_replaced_without_a_file() {
    let router = Router::start(&endpoint("demo", &json!({"mode": "Key"})), &[]);
    await_exactly(&router, "blue", 1);
    let printed = router.key();
    let shown = json_of(&router, &["keys", "show", "demo"]);
    assert_eq!(shown["primaryKey"], *printed);
    let secondary = shown["secondaryKey"].as_str().expect("a key");
    assert_eq!(score(&router, secondary), 200);
    let fresh = rotate(&router, &printed, secondary, 3);
    // An edit does not bring the old ones back.
    router.edit(&endpoint("demo", &json!({"mode": "Key"})).replace("20s", "21s"));
    until(LIMIT, "the edit is in force", || {
        let demo = router.admin_json("/api/v1/endpoints/demo");
        (demo["versions"][0]["maxQueueWaitMs"] == 21_000).then_some(())
    });
    assert_eq!((score(&router, &fresh), score(&router, &printed)), (200, 401));
}

#[test]
fn the_commands_say_what_is_wrong() {
    let open = endpoint("open", &json!({"mode": "None"}));
    let router = Router::start(&format!("{open}\n---\n{}", keyed()), &[]);
    let said = |arguments: &[&str]| command(&router, arguments, None).unwrap_err();
    assert!(said(&["keys", "show", "other"]).contains("no endpoint \"other\""));
    assert!(
        said(&["keys", "show", "open"])
            .contains("endpoint open has no keys: its auth.mode is None")
    );
    assert!(
        said(&["token", "demo"]).contains("endpoint demo takes no tokens: its auth.mode is Key")
    );
    assert!(said(&["keys", "regenerate", "demo"]).contains("<--primary|--secondary>"));
    assert!(
        said(&["keys", "regenerate", "demo", "--primary", "--secondary"])
            .contains("cannot be used")
    );
    let table = command(&router, &["keys", "show", "demo"], None).unwrap();
    assert_eq!(table, format!("KEY        VALUE\nprimary    {PRIMARY}\nsecondary  {SECONDARY}\n"));
    let wrong = secret().replace("stringData:", "stringData:\n  primaryKey: twice");
    assert!(wrong.contains("twice"));
}
