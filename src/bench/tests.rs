//! The load generator on real sockets: against the stand-in model server, and against servers that
//! misbehave byte by byte.

use std::{
    future::pending,
    io::{Read as _, Write as _},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use parking_lot::Mutex;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

use super::{
    Answered, BenchArgs, Load, Outcome, Plan, Report, ServerTiming, Tally, Target, TransportError,
    drive, exchange,
    run::{measure, run, runtime},
};
use crate::model::{Ended, Model, ModelArgs};

#[derive(Debug, Parser)]
struct BenchLine {
    #[command(flatten)]
    bench: BenchArgs,
}

#[derive(Debug, Parser)]
struct ModelLine {
    #[command(flatten)]
    model: ModelArgs,
}

fn args(url: &str, flags: &[&str]) -> BenchArgs {
    BenchLine::try_parse_from(["bench", url].iter().chain(flags)).unwrap().bench
}

struct Server {
    url: String,
    model: Arc<Model>,
    _serving: JoinSet<Ended>,
}

async fn model(flags: &[&str]) -> Server {
    let line = ["model", "--port", "0"].iter().chain(flags);
    let model = Model::new(&ModelLine::try_parse_from(line).unwrap().model).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/score", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(Arc::clone(&model).serve(listener, pending()));
    Server { url, model, _serving: serving }
}

/// Answers each connection with these bytes once a head has come, and closes. Returns what it is
/// sent through `heads`.
fn scripted(answer: &'static str) -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, received) = std::sync::mpsc::sync_channel(1000);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0)
            {
                head.push(byte[0]);
            }
            // The test may have got what it wanted and gone.
            let _gone = heads.try_send(String::from_utf8_lossy(&head).into_owned());
            let _gone = stream.write_all(answer.as_bytes());
        }
    });
    (address, received)
}

async fn report(url: &str, flags: &[&str]) -> Report {
    measure(&args(url, flags), pending()).await.unwrap()
}

#[tokio::test]
async fn a_counted_closed_loop_sends_exactly_that_many() {
    let server = model(&["--latency", "5ms"]).await;
    let report = report(&server.url, &["-n", "50", "-c", "4", "--body", "12345"]).await;
    let stats = server.model.truth().stats();
    assert_eq!((report.sent, report.answered, report.unfinished), (50, 50, 0));
    assert_eq!((stats.executions, stats.bytes_in, report.request_bytes), (50, 250, 250));
    assert_eq!(stats.highest_concurrency, 4);
    assert_eq!(report.error_rate, Some(0.0));
    assert!(report.latency.unwrap().p50_ms >= 5.0);
}

#[tokio::test]
async fn a_run_ends_when_its_duration_is_over() {
    let server = model(&["--latency", "1ms"]).await;
    let start = Instant::now();
    let report = report(&server.url, &["-d", "200ms", "-c", "2"]).await;
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(report.answered > 2 && report.answered == report.sent);
}

#[tokio::test]
async fn http2_works_and_is_what_is_spoken_on_the_wire() {
    let server = model(&[]).await;
    for flags in [&["-n", "20", "--http2"][..], &["-n", "20", "--http2", "-q", "500"]] {
        assert_eq!(report(&server.url, flags).await.answered, 20);
    }
    let (address, heads) = scripted("");
    report(&format!("http://{address}/"), &["-n", "1", "-c", "1", "--http2"]).await;
    assert!(heads.recv().unwrap().starts_with("PRI * HTTP/2.0"));
}

#[tokio::test]
async fn a_pause_of_the_server_is_charged_to_every_request_of_the_schedule() {
    let server = model(&["--concurrency", "1"]).await;
    let mut plan = Plan::new(format!("{}?latency=500ms", server.url).parse().unwrap());
    let blocker = Target::new(Arc::new(plan.clone()));
    let mut pause = JoinSet::new();
    pause.spawn(async move { exchange(&blocker).await });
    while server.model.truth().stats().executions == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    // 100 requests in 1 s, of which the first half is due in the pause.
    plan.url = server.url.parse().unwrap();
    plan.load = Load::Open { rate: 100.0, in_flight_max: 1000, connections: 1 };
    plan.duration = Duration::from_secs(1);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let time = drive(&Target::new(Arc::new(plan)), &tally, pending()).await.unwrap();
    let report = Report::of(&tally.lock(), time, None);
    assert_eq!((report.answered, report.missed), (100, 0));
    let latency = report.latency.unwrap();
    assert!(latency.p99_ms >= 400.0, "{latency:?}");
    assert!(latency.p90_ms >= 250.0, "{latency:?}");
    assert!(latency.p50_ms < latency.p99_ms, "{latency:?}");
}

#[test]
fn a_pause_of_the_generator_itself_is_not_hidden() {
    // The server has a thread of its own, so that only the generator is held up.
    let (sender, address) = std::sync::mpsc::sync_channel(1);
    thread::spawn(move || {
        runtime(1).unwrap().block_on(async {
            let server = model(&[]).await;
            sender.send(server.url.clone()).unwrap();
            sleep(Duration::from_secs(30)).await;
        });
    });
    let mut plan = Plan::new(address.recv().unwrap().parse().unwrap());
    plan.load = Load::Open { rate: 100.0, in_flight_max: 1000, connections: 1 };
    plan.duration = Duration::from_secs(1);
    let tally = Arc::new(Mutex::new(Tally::default()));
    runtime(1).unwrap().block_on(async {
        let mut pause = JoinSet::new();
        pause.spawn(async {
            sleep(Duration::from_millis(300)).await;
            thread::sleep(Duration::from_millis(500));
        });
        drive(&Target::new(Arc::new(plan)), &tally, pending()).await.unwrap();
    });
    let report = Report::of(&tally.lock(), Duration::from_secs(1), None);
    let (latency, service) = (report.latency.unwrap(), report.service_time.unwrap());
    assert_eq!(report.answered, 100);
    assert!(latency.p90_ms >= 300.0, "{latency:?}");
    assert!(latency.p90_ms > 2.0 * service.p90_ms, "{latency:?} {service:?}");
}

#[tokio::test]
async fn requests_beyond_the_flight_limit_are_missed_and_are_errors() {
    let server = model(&["--latency", "1s"]).await;
    let flags = ["-q", "100", "-d", "500ms", "--in-flight-max", "2"];
    let report = report(&server.url, &flags).await;
    assert_eq!((report.sent, report.missed), (2, 48));
    assert_eq!(report.error_rate, Some(0.96));
}

#[tokio::test]
async fn a_timeout_is_an_error_and_counts_in_the_latency() {
    let server = model(&["--latency", "10m"]).await;
    let report = report(&server.url, &["-n", "2", "-c", "2", "--timeout", "100ms"]).await;
    assert_eq!(report.transport_errors, [("timeout".to_owned(), 2)]);
    assert_eq!(report.error_rate, Some(1.0));
    assert!(report.latency.unwrap().p50_ms >= 99.0);
}

#[tokio::test]
async fn a_server_that_is_not_there_ends_the_run_all_the_same() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let report = report(&url, &["-n", "3", "-c", "1"]).await;
    assert_eq!(report.transport_errors, [("connect failed".to_owned(), 3)]);
    assert_eq!(report.latency, None);
}

#[tokio::test]
async fn each_way_to_lose_an_answer_has_its_name() {
    let cases = [
        ("", TransportError::Closed),
        ("HTTP/1.1 200 OK\r\ncontent-le", TransportError::Closed),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfour", TransportError::Truncated),
        ("what is this\r\n\r\n", TransportError::Invalid),
    ];
    for (answer, wanted) in cases {
        let (address, _heads) = scripted(answer);
        let plan = Plan::new(format!("http://{address}/").parse().unwrap());
        match exchange(&Target::new(Arc::new(plan))).await {
            Outcome::Failed(error) => assert_eq!(error, wanted, "{answer:?}"),
            Outcome::Answered(answered) => panic!("{answer:?} gave {answered:?}"),
        }
    }
}

const OVERLOADED: &str = "HTTP/1.1 503 Service Unavailable\r\nx-modelway-source: router\r\n\
    x-modelway-version: blue\r\nserver-timing: queue;dur=500, total;dur=500.5\r\n\
    content-length: 33\r\nconnection: close\r\n\r\n{\"error\": {\"code\": \"Overloaded\"}}";

#[tokio::test]
async fn answers_are_split_by_status_source_code_and_version() {
    let (address, _heads) = scripted(OVERLOADED);
    let flags = ["-n", "4", "-c", "1", "--expect-split", "blue=80,green=20"];
    let report = report(&format!("http://{address}/"), &flags).await;
    let line = &report.statuses[0];
    assert_eq!((line.status, line.count, report.statuses.len()), (503, 4, 1));
    assert_eq!(line.source.as_deref(), Some("router"));
    assert_eq!(line.code.as_deref(), Some("Overloaded"));
    assert_eq!(report.error_rate, Some(1.0));
    assert_eq!(report.split_deviation_points, Some(20.0));
    let blue = &report.versions[0];
    assert_eq!((blue.count, blue.percent, blue.expected_percent), (4, 100.0, Some(80.0)));
    let queue = report.queue_time.unwrap();
    assert!((queue.p50_ms - 500.0).abs() < 1.0, "{queue:?}");
    assert!((report.router_time.unwrap().p50_ms - 0.5).abs() < 0.01);
    assert_eq!(report.replica_time, None);
    let text = report.to_string();
    for part in ["p99.9", "Overloaded", "router", "blue", "80.0 %", "errors 100.000 %"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn the_configured_shares_come_from_the_admin_port() {
    let (admin, asked) = scripted(
        "HTTP/1.1 200 OK\r\ncontent-length: 105\r\n\r\n{\"versions\": [{\"name\": \"blue\", \
         \"effectivePercentile\": 80}, {\"name\": \"green\", \"effectivePercentile\": 20}]}",
    );
    let (address, _heads) = scripted(OVERLOADED);
    let url = format!("http://{address}/api/v1/service/demo/score");
    let admin = format!("http://{admin}");
    let report = report(&url, &["-n", "1", "-c", "1", "--admin", &admin]).await;
    assert!(asked.recv().unwrap().starts_with("GET /api/v1/endpoints/demo HTTP/1.1"));
    assert_eq!(report.versions[1].expected_percent, Some(20.0));
    let (broken, _asked) = scripted("HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\nx");
    let flags = args(&url, &["--admin", &format!("http://{broken}")]);
    assert!(measure(&flags, pending()).await.is_err());
}

#[tokio::test]
async fn key_pin_headers_and_method_reach_the_server() {
    let (address, heads) = scripted("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    let flags = ["-n1", "-c1", "--key", "k", "--pin", "green", "-H", "x-a: b", "--method", "PUT"];
    report(&format!("http://{address}/s?q=1"), &flags).await;
    let head = heads.recv().unwrap();
    assert!(head.starts_with("PUT /s?q=1 HTTP/1.1\r\n"), "{head}");
    for line in ["authorization: Bearer k", "azureml-model-deployment: green", "x-a: b"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
}

#[tokio::test]
async fn a_true_check_is_named_and_makes_the_exit_code_1() {
    let server = model(&["--latency", "20ms"]).await;
    let checks = ["--fail-if", "p50<10ms", "--fail-if", "p50>10ms", "-n1", "-c1", "-o", "json"];
    let flags = args(&server.url, &checks);
    assert_eq!(measure(&flags, pending()).await.unwrap().failed_checks, ["p50>10ms"]);
    assert_eq!(run(flags).await.unwrap(), ExitCode::FAILURE);
    let good = args(&server.url, &["--fail-if", "error_rate>0%", "-n1", "-c1", "--no-progress"]);
    assert_eq!(run(good).await.unwrap(), ExitCode::SUCCESS);
}

#[tokio::test]
async fn an_interrupted_run_reports_what_there_is() {
    let server = model(&["--latency", "10m"]).await;
    let flags = args(&server.url, &["-c", "3"]);
    let report = measure(&flags, sleep(Duration::from_millis(300))).await.unwrap();
    assert_eq!((report.sent, report.answered, report.unfinished), (3, 0, 3));
}

#[test]
fn percentiles_are_those_of_what_was_recorded() {
    let mut tally = Tally::default();
    for time_ms in 1..=1000 {
        let time = Duration::from_millis(time_ms);
        tally.send();
        tally.end(&Outcome::Answered(Answered::default()), time, time / 2, 10);
    }
    let report = Report::of(&tally, Duration::from_secs(10), None);
    let latency = report.latency.unwrap();
    let cases = [
        (latency.mean_ms, 500.5),
        (latency.p50_ms, 500.0),
        (latency.p90_ms, 900.0),
        (latency.p95_ms, 950.0),
        (latency.p99_ms, 990.0),
        (latency.p999_ms, 999.0),
        (latency.max_ms, 1000.0),
        (report.service_time.unwrap().p99_ms, 495.0),
    ];
    for (seen, wanted) in cases {
        assert!((seen / wanted - 1.0).abs() < 0.002, "{seen} for {wanted}");
    }
    assert!((report.rps - 100.0).abs() < 1e-9);
    assert_eq!(report.request_bytes, 10_000);
}

#[test]
fn versions_beyond_the_bound_are_counted_together() {
    let mut tally = Tally::default();
    for number in 0..1000 {
        let version = format!("v{number}").try_into().ok();
        let answered = Answered { version, timing: ServerTiming::default(), ..Answered::default() };
        tally.end(&Outcome::Answered(answered), Duration::ZERO, Duration::ZERO, 0);
    }
    assert_eq!(tally.versions.len(), 257);
    assert_eq!(tally.versions["other"], 744);
}

#[test]
fn the_json_names_scripts_hang_on_are_there() {
    let mut tally = Tally::default();
    let time = Duration::from_millis(1);
    tally.send();
    tally.end(&Outcome::Answered(Answered::default()), time, time, 0);
    let json = serde_json::to_value(Report::of(&tally, time, None)).unwrap();
    for pointer in [
        "/apiVersion",
        "/seconds",
        "/rps",
        "/sent",
        "/answered",
        "/missed",
        "/unfinished",
        "/errorRate",
        "/latency/p50Ms",
        "/latency/p99Ms",
        "/latency/p999Ms",
        "/latency/maxMs",
        "/serviceTime/p99Ms",
        "/queueTime",
        "/routerTime",
        "/statuses/0/status",
        "/versions",
        "/transportErrors",
        "/splitDeviationPoints",
        "/failedChecks",
    ] {
        assert!(json.pointer(pointer).is_some(), "{pointer} in {json}");
    }
}

#[test]
fn there_are_as_many_threads_as_asked_for() {
    assert_eq!(runtime(1).unwrap().metrics().num_workers(), 1);
    assert_eq!(runtime(2).unwrap().metrics().num_workers(), 2);
    assert_eq!(args("http://a/", &["--threads", "2"]).threads, 2);
}
