//! The commands against a real admin server with a sample of everything.

use clap::Parser;
use expect_test::expect_file;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
};

use super::*;
use crate::admin::tests::{sample_state, start};

#[derive(Debug, Parser)]
enum Line {
    Get(GetArgs),
    Describe(DescribeArgs),
}

async fn run_at(address: &str, line: &str) -> anyhow::Result<String> {
    let words = ["modelway"].into_iter().chain(line.split(' ')).chain(["--admin", address]);
    match Line::try_parse_from(words)? {
        Line::Get(args) => got(&args).await,
        Line::Describe(args) => described(&args).await,
    }
}

async fn run(line: &str) -> anyhow::Result<String> {
    let state = sample_state();
    let address = start(&state).await;
    run_at(&format!("http://{address}"), line).await
}

#[tokio::test]
async fn tables_show_what_an_operator_looks_for() {
    let mut page = String::new();
    for line in [
        "get endpoints",
        "get endpoints -o wide",
        "get versions",
        "get versions -o wide",
        "get replicas",
        "get replicas -o wide",
        "get decisions",
        "get decisions -o wide",
        "get routers",
        "get routers -o wide",
        "describe endpoint demo",
    ] {
        let answer = run(line).await.unwrap();
        page.extend(["$ modelway ", line, "\n", &answer, "\n"]);
    }
    assert!(!page.contains('\u{1b}'));
    expect_file!["./testdata/tables.txt"].assert_eq(&page);
}

#[tokio::test]
async fn json_and_yaml_show_the_same_and_what_the_api_says() {
    for kind in ["endpoints", "versions", "replicas", "decisions", "routers"] {
        let json: Value =
            serde_json::from_str(&run(&format!("get {kind} -o json")).await.unwrap()).unwrap();
        assert!(json.as_array().is_some_and(|items| !items.is_empty()), "{kind}");
        let yaml = run(&format!("get {kind} -o yaml")).await.unwrap();
        assert_eq!(yaml, yaml::text(&json), "{kind}");
    }
    let one = run("describe endpoint demo -o json").await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&one).unwrap()["defaultVersion"], "blue");
    let yaml = run("describe endpoint demo -o yaml").await.unwrap();
    assert!(yaml.contains("defaultVersion: blue\n"), "{yaml}");
}

#[tokio::test]
async fn the_filter_keeps_one_endpoint() {
    assert!(run("get versions --endpoint demo").await.unwrap().contains("green"));
    for kind in ["endpoints", "versions", "replicas", "decisions"] {
        let none = run(&format!("get {kind} --endpoint other")).await.unwrap();
        assert_eq!(none, format!("no {kind}\n"));
    }
    assert!(run("get routers --endpoint other").await.unwrap().contains("laptop"));
}

#[tokio::test]
async fn errors_say_what_to_do() {
    // Bound and not listening: refused, and nobody else can get the port.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let error = run_at(&address, "get endpoints").await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("nothing answers at {address} (")), "{error}");
    assert!(error.ends_with("is `modelway dev` running? name another admin address with --admin"));

    let error = run("describe endpoint other").await.unwrap_err().to_string();
    assert!(error.starts_with(r#"no endpoint "other"; GET"#), "{error}");
    for bad in ["https://127.0.0.1:9001", "http://", "a@", "http://127.0.0.1:9001/api"] {
        let error = run_at(bad, "get endpoints").await.unwrap_err().to_string();
        assert!(error.contains("is not of the form http://HOST:PORT"), "{bad}: {error}");
    }
}

#[tokio::test]
async fn somebody_elses_port_is_recognised() {
    for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "SSH-2.0-OpenSSH\r\n\r\n"] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stranger = async {
            let (mut stream, _peer) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let read = stream.read(&mut head).await.unwrap();
            assert!(read > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let address = address.to_string();
        let (error, ()) = tokio::join!(run_at(&address, "get endpoints"), stranger);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("is not the admin port of a router"), "{error}");
    }
}
