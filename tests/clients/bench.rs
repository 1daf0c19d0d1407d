//! `modelway bench` against the demo, end to end.

use std::process::{Command, Output};

use crate::support::router::{Router, binary};

fn bench(router: &Router, more: &[&str]) -> Output {
    Command::new(binary())
        .args(["bench", &format!("http://{}/api/v1/service/demo/score", router.data)])
        .args(["--key", &router.key(), "--body", "{}", "-c", "2"])
        .args(more)
        .output()
        .expect("bench runs")
}

fn report(done: &Output) -> serde_json::Value {
    assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("a report")
}

#[test]
fn the_demo_splits_exactly_and_bench_says_so() {
    let router = Router::demo(&[]);
    let admin = format!("http://{}", router.admin);
    let checks = ["--fail-if", "split>1", "--fail-if", "error_rate>0%"];

    let closed =
        bench(&router, &[&["-n", "300", "-o", "json", "--admin", &admin], &checks[..]].concat());
    let told = report(&closed);
    assert!(closed.status.success(), "{told}");
    assert_eq!((&told["answered"], &told["errorRate"]), (&300.into(), &0.0.into()));
    let seen: Vec<_> = told["versions"].as_array().unwrap().iter().collect();
    assert_eq!((&seen[0]["version"], &seen[0]["expectedPercent"]), (&"blue".into(), &80.0.into()));
    assert_eq!((&seen[0]["count"], &seen[1]["count"]), (&240.into(), &60.into()));

    let schedule = ["-q", "100", "-n", "200", "-o", "json", "--expect-split", "blue=80,green=20"];
    let open = bench(&router, &[&schedule[..], &checks].concat());
    let told = report(&open);
    assert!(open.status.success(), "{told}");
    assert_eq!((&told["answered"], &told["missed"]), (&200.into(), &0.into()));
    // 200 requests at 100 per second, the last of them due after 1.99 s.
    assert!(told["seconds"].as_f64().unwrap() > 1.9, "{told}");

    let http2 = bench(&router, &["--http2", "-n", "100", "-o", "json", "--pin", "green"]);
    assert_eq!(
        report(&http2)["versions"][0],
        serde_json::json!({
            "version": "green", "count": 100, "percent": 100.0, "expectedPercent": null,
        })
    );
}

#[test]
fn a_condition_that_is_true_is_exit_code_1_and_is_named() {
    let router = Router::demo(&[]);
    let wrong = ["-n", "100", "--expect-split", "blue=50,green=50", "--fail-if", "split>1"];
    let done = bench(&router, &wrong);
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("FAILED: split>1") && said.contains("30.00 points"), "{said}");
    let done = bench(&router, &["-n", "50", "--fail-if", "p99>0.001ms"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stdout).contains("FAILED: p99>0.001ms"));
}

#[test]
fn a_server_that_is_not_there_and_a_wrong_key_are_told() {
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    silent.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = silent.local_addr().unwrap().as_socket().unwrap();
    let url = format!("http://{address}/");
    let done = Command::new(binary()).args(["bench", &url, "-n", "5"]).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("no request was answered") && said.contains(&url), "{said}");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("connect failed") && !said.contains("p99"), "{said}");

    let router = Router::demo(&[]);
    let url = format!("http://{}/api/v1/service/demo/score", router.data);
    let done = Command::new(binary()).args(["bench", &url, "-n", "5", "--key", "no"]).output();
    let done = done.unwrap();
    assert!(String::from_utf8_lossy(&done.stdout).contains("credential_invalid"));
    assert!(String::from_utf8_lossy(&done.stderr).contains("give one with --key"));
}
