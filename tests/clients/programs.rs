//! Real client programs against the router: what they print is shown when they fail.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    endpoints::{self, KEY},
    support::{
        router::Router,
        tool::{leave_out, tool},
    },
};

fn run(program: &Path, file: &str, router: &Router) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/programs").join(file);
    let done = Command::new(program)
        .arg(script)
        .args([&router.data.to_string(), KEY, &router.admin.to_string()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the program runs");
    assert!(
        done.status.success(),
        "{file}: {}\n{}\n{}\nrouter: {:#?}",
        done.status,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
        router.errors()
    );
}

#[test]
fn grpc_s_own_client_understands_every_answer() {
    let Some(python) = tool("MODELWAY_TEST_CLIENTS", "gRPC's own Python client") else { return };
    run(&python, "grpc_client.py", &Router::start(&endpoints::echo(), &[]));
}

#[test]
fn python_s_http_clients_score_stream_and_leave() {
    let Some(python) = tool("MODELWAY_TEST_CLIENTS", "Python's HTTP clients") else { return };
    run(&python, "http_clients.py", &Router::start(&endpoints::chat(), &[]));
}

#[test]
fn node_s_fetch_scores_streams_and_leaves() {
    let node = PathBuf::from("node");
    if Command::new(&node).arg("--version").output().is_err() {
        return leave_out("Node's fetch", "there is no node");
    }
    run(&node, "fetch.mjs", &Router::start(&endpoints::chat(), &[]));
}

#[test]
fn prometheus_reads_the_metrics_without_a_complaint() {
    use std::{io::Write as _, process::Stdio};
    let Some(promtool) = tool("MODELWAY_TEST_PROMTOOL", "the check of the metrics") else { return };
    let router = Router::start(&endpoints::chat(), &[]);
    let url = format!("http://{}/api/v1/endpoint/chat/score", router.data);
    let bench = ["bench", &url, "-n", "50", "-c", "2", "--key", KEY, "--body", "{}"];
    let loaded = Command::new(crate::support::router::binary()).args(bench).output();
    assert!(loaded.expect("bench runs").status.success());
    let (status, metrics) = router.admin_get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("modelway_requests_total{"), "{metrics}");
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    check.stdin.take().expect("piped").write_all(metrics.as_bytes()).expect("promtool reads");
    let done = check.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{}: {said}", done.status);
}
