//! `modelway dev` as a newcomer sees it: the banner, the decisions, and nothing left behind.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::sync_channel,
    time::Duration,
};

use crate::{
    asked::SOON,
    endpoints,
    support::router::{Router, binary},
};

fn line(router: &Router, word: &str) -> String {
    let lines = router.lines();
    let found = lines.iter().find_map(|line| line.trim().strip_prefix(word));
    found.unwrap_or_else(|| panic!("no {word:?} in {lines:#?}")).trim().to_owned()
}

#[test]
fn the_banner_holds_all_that_is_needed_and_its_curl_line_works() {
    let router = Router::demo(&[]);
    let uri = line(&router, "scoring ");
    assert_eq!(uri, format!("http://{}/api/v1/endpoint/demo/score", router.data));
    assert_eq!(line(&router, "admin "), format!("http://{}", router.admin));
    let key = line(&router, "key ");
    assert_eq!(key.len(), 43, "256 bits in base64: {key}");
    let pasted = Command::new("sh")
        .args(["-c", &format!("curl {}", line(&router, "curl "))])
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&pasted.stdout).unwrap();
    assert_eq!(answer["status"], 200, "{answer}");
    assert!(router.lines().iter().any(|line| line.starts_with("Ctrl-C")));
    for text in [router.lines(), router.errors()].concat() {
        assert!(!text.contains('\u{1b}'), "colours where nobody sees them: {text:?}");
    }
}

#[test]
fn with_a_secret_the_curl_line_works_once_the_key_is_exported() {
    let router = Router::start(&endpoints::echo(), &[]);
    router.await_replicas("one", "ready", 1, SOON);
    assert!(line(&router, "key ").contains("export MODELWAY_KEY"));
    let pasted = Command::new("sh")
        .args(["-c", &format!("curl {}", line(&router, "curl "))])
        .env("MODELWAY_KEY", endpoints::KEY)
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&pasted.stdout).unwrap();
    assert_eq!(answer["status"], 200, "{answer}");
    for text in [router.lines(), router.errors()].concat() {
        assert!(!text.contains(endpoints::KEY), "a key of a file is not shown: {text}");
    }
}

#[test]
fn each_decision_is_a_line_with_its_reason() {
    let router = Router::demo(&[]);
    router.await_replicas("blue", "ready", 1, SOON);
    let url = format!("http://{}/api/v1/endpoint/demo/score", router.data);
    let load = Command::new(binary())
        .args(["bench", &url, "--key", &router.key(), "-n", "200", "-c", "8", "--body", "{}"])
        .args(["-H", "x-model-latency: 20ms"])
        .output()
        .unwrap();
    assert!(load.status.success());
    router.eventually(SOON, "a decision", |router| {
        let lines = router.lines();
        let mut decisions = lines.iter().filter(|line| line.starts_with("scale  demo/blue"));
        decisions.find(|line| line.contains("→") && line.contains("% > 70 %")).map(|_| ())
    });
}

#[test]
fn dev_writes_nothing_outside_of_a_temporary_folder() {
    let [folder, home, temporary] = [0; 3].map(|_| tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("mine"), "untouched").unwrap();
    let mut dev = Command::new(binary())
        .args(["dev", "--port", "0", "--admin-port", "0"])
        .current_dir(folder.path())
        .env("HOME", home.path())
        .env("TMPDIR", temporary.path())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(dev.stdout.take().unwrap());
    let (sender, lines) = sync_channel(64);
    std::thread::spawn(move || {
        out.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
    });
    while !lines.recv_timeout(SOON).expect("the banner comes to its end").starts_with("Ctrl-C") {}
    crate::support::router::signal(dev.id(), "INT");
    assert!(dev.wait().unwrap().success(), "Ctrl-C is no failure");
    assert_eq!(files(folder.path()), ["mine"]);
    assert!(files(home.path()).is_empty(), "{:?}", files(home.path()));
    assert!(files(temporary.path()).is_empty(), "left behind: {:?}", files(temporary.path()));
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_replica_that_cannot_start_is_told_with_the_reason() {
    let broken = endpoints::echo().replace("[modelway, model,", "[no-such-program-anywhere,");
    let router = Router::start(&broken, &[]);
    router.eventually(Duration::from_secs(10), "the reason", |router| {
        let told = router.errors().concat();
        (told.contains("echo-one-1") && told.contains("no-such-program-anywhere")).then_some(())
    });
}
