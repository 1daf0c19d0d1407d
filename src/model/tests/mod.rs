//! The server on real sockets.

mod disturbance;
mod protocols;
mod scoring;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Parser;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{Ended, Model, ModelArgs, Stats, server::listen};

/// Far longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    model: ModelArgs,
}

fn args(flags: &[&str]) -> ModelArgs {
    Line::try_parse_from(["model", "--port", "0"].iter().chain(flags)).unwrap().model
}

/// A server in this process.
struct Server {
    address: SocketAddr,
    model: Arc<Model>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinSet<Ended>,
}

struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Server {
    async fn start(flags: &[&str]) -> Self {
        let args = args(flags);
        let listener = listen(&args).await.unwrap();
        let address = listener.local_addr().unwrap();
        let model = Model::new(&args).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut ended = JoinSet::new();
        ended.spawn(Arc::clone(&model).serve(listener, async {
            // A dropped sender stops the server as well.
            let _told = stopped.await;
        }));
        Self { address, model, stop: Some(stop), ended }
    }

    fn stats(&self) -> Stats {
        self.model.truth().stats()
    }

    async fn until(&self, wanted: impl Fn(&Stats) -> bool) -> Stats {
        let start = Instant::now();
        while !wanted(&self.stats()) {
            assert!(start.elapsed() < PATIENCE, "{:?}", self.stats());
            sleep(Duration::from_millis(2)).await;
        }
        self.stats()
    }

    async fn ended(&mut self) -> Ended {
        timeout(PATIENCE, self.ended.join_next()).await.unwrap().unwrap().unwrap()
    }

    fn stop(&mut self) {
        drop(self.stop.take());
    }

    async fn raw(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn get(&self, target: &str) -> Seen {
        self.send(target, &[], b"").await.unwrap()
    }

    async fn send(
        &self,
        target: &str,
        headers: &[(&str, &str)],
        body: &'static [u8],
    ) -> Result<Seen, hyper_util::client::legacy::Error> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut request = Request::post(format!("http://{}{target}", self.address));
        if body.is_empty() {
            request = request.method("GET");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from_static(body))).unwrap();
        let answer = timeout(PATIENCE, client.request(request)).await.unwrap()?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Ok(Seen { status: head.status, headers: head.headers, body })
    }
}

/// Reads until the other side closes.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut text)).await.unwrap().unwrap();
    String::from_utf8(text).unwrap()
}

/// Reads until `end` has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut piece = [0; 1024];
        let read = timeout(PATIENCE, stream.read(&mut piece)).await.unwrap().unwrap();
        assert!(read > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    text
}
