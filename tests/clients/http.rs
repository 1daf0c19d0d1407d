//! Events as they come, on bare sockets and with curl, and what a client that leaves frees.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    asked::{SOON, await_busy, busy, stat},
    endpoints::{self, KEY},
    support::router::Router,
};

fn request(path: &str, fields: &str) -> String {
    format!(
        "POST /api/v1/endpoint/chat{path} HTTP/1.1\r\nHost: router\r\n\
         Authorization: Bearer {KEY}\r\nContent-Length: 0\r\n{fields}\r\n"
    )
}

fn send(router: &Router, text: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(router.data).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    BufReader::new(stream)
}

fn read_until(stream: &mut BufReader<TcpStream>, word: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(word) {
        assert!(stream.read_line(&mut seen).unwrap() > 0, "the stream ended: {seen}");
    }
    seen
}

#[test]
fn an_event_arrives_before_the_next_is_made() {
    let router = Router::start(&endpoints::chat(), &[]);
    let mut stream = send(&router, &request("/stream?chunks=2&interval=900ms", ""));
    let begun = Instant::now();
    let head = read_until(&mut stream, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
    assert!(head.contains("x-modelway-source: model"), "{head}");
    read_until(&mut stream, "token0");
    let first = begun.elapsed();
    read_until(&mut stream, "token1");
    read_until(&mut stream, "[DONE]");
    assert!(first + Duration::from_millis(1200) < begun.elapsed(), "{first:?}: held back");
    await_busy(&router, "one", 0);
    // The connection is as good as new.
    let again = request("/stream?chunks=1&interval=0s", "Connection: close\r\n");
    stream.get_mut().write_all(again.as_bytes()).unwrap();
    read_until(&mut stream, "[DONE]");
}

#[test]
fn a_reset_frees_the_slot_and_a_half_closed_client_still_reads() {
    let router = Router::start(&endpoints::chat(), &[]);
    let mut stream = send(&router, &request("/stream?chunks=100000&interval=20ms", ""));
    read_until(&mut stream, "token1");
    assert_eq!(busy(&router, "one"), 1);
    SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    await_busy(&router, "one", 0);
    router.eventually(SOON, "the replica is cut off", |router| {
        std::thread::park_timeout(Duration::from_millis(5));
        (stat(router, "one", "cancelled") == 1).then_some(())
    });

    let mut stream = send(&router, &request("/score?latency=300ms", ""));
    stream.get_ref().shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_silent_stream_is_cut_off_and_frees_its_slot() {
    let router = Router::start(&endpoints::chat(), &[]);
    let mut stream = send(&router, &request("/stream?chunks=5&interval=30s", ""));
    read_until(&mut stream, "token0");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("[DONE]") && !rest.ends_with("0\r\n\r\n"), "ended as whole: {rest:?}");
    await_busy(&router, "one", 0);
    let (_, metrics) = router.admin_get("/metrics");
    let counted = metrics.lines().any(|line| {
        line.starts_with("modelway_requests_total") && line.contains("request_timeout")
    });
    assert!(counted, "{metrics}");
}

#[test]
fn curl_reads_events_as_they_come_over_both_versions_of_http() {
    let router = Router::start(&endpoints::chat(), &[]);
    let url = format!("http://{}/api/v1/endpoint/chat/stream?chunks=2&interval=900ms", router.data);
    // `--http2` asks for an upgrade to h2c, which is not taken.
    for (flag, version) in
        [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2"), ("--http2", "1.1")]
    {
        let mut curl = Command::new("curl")
            .args(["-sSN", flag, "-d", "{}", "-w", "version %{http_version}\n", &url])
            .args(["-H", &format!("api-key: {KEY}")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl runs");
        let begun = Instant::now();
        let mut times = Vec::new();
        let mut last = String::new();
        for line in BufReader::new(curl.stdout.take().unwrap()).lines() {
            last = line.unwrap();
            if last.contains("token") {
                times.push(begun.elapsed());
            }
        }
        assert!(curl.wait().unwrap().success(), "{flag}");
        assert_eq!(last, format!("version {version}"), "{flag}");
        let [first, second] = times[..] else { panic!("{flag}: {times:?}") };
        assert!(first + Duration::from_millis(500) < second, "{flag}: {times:?}: held back");
    }
}

#[test]
fn curl_reads_an_early_refusal_of_a_large_upload() {
    let router = Router::start(&endpoints::chat(), &[]);
    let file = router.folder().join("large");
    std::fs::write(&file, vec![b'x'; 8 << 20]).unwrap();
    for flag in ["--http1.1", "--http2-prior-knowledge"] {
        let done = Command::new("curl")
            .args(["-sS", flag, "-H", "Expect:", "-w", " %{http_code}", "--data-binary"])
            .arg(format!("@{}", file.display()))
            .arg(format!("http://{}/api/v1/endpoint/chat/score", router.data))
            .output()
            .expect("curl runs");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{flag}: {}", String::from_utf8_lossy(&done.stderr));
        assert!(said.contains("credential_missing") && said.ends_with(" 401"), "{flag}: {said}");
    }
}
