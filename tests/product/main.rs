//! `modelway dev` as a newcomer meets it.

#[path = "../support/mod.rs"]
mod support;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use support::router::Router;

#[test]
fn the_demo_answers_within_two_seconds_of_its_start() {
    let begun = Instant::now();
    let router = Router::demo(&[]);
    let line = router.lines().into_iter().find(|line| line.trim().starts_with("curl "));
    let line = line.expect("a line to paste");
    let pasted =
        Command::new("sh").arg("-c").arg(format!("{line} -sS -w '%{{http_code}}'")).output();
    let answer = String::from_utf8(pasted.expect("the shell runs").stdout).unwrap();
    assert!(answer.ends_with("200"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
}
