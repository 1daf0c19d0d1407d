//! Streams, gRPC and WebSockets.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_tungstenite::tungstenite::Message;

use super::{PATIENCE, Server, read_until};

#[tokio::test]
async fn a_stream_has_its_events_and_then_says_done() {
    let server = Server::start(&[]).await;
    for path in ["/stream", "/v1/chat/completions"] {
        let target = format!("{path}?chunks=5&interval=1ms");
        let seen = server.send(&target, &[], b"{\"stream\": true}").await.unwrap();
        assert_eq!(seen.headers["content-type"], "text/event-stream");
        let text = String::from_utf8(seen.body.to_vec()).unwrap();
        let events: Vec<_> = text.split_terminator("\n\n").collect();
        assert_eq!(events.len(), 6, "{text}");
        assert!(events[0].contains("token0"));
        assert_eq!(events[5], "data: [DONE]");
    }
    let stats = server.stats();
    assert_eq!((stats.executions, stats.in_progress, stats.cancelled), (2, 0, 0));
}

#[tokio::test]
async fn a_stream_is_in_progress_until_its_client_leaves() {
    let server = Server::start(&[]).await;
    let mut stream =
        server.raw(b"GET /stream?interval=20ms&chunks=1000000 HTTP/1.1\r\nhost: m\r\n\r\n").await;
    read_until(&mut stream, "token3").await;
    assert_eq!(server.stats().in_progress, 1);
    drop(stream);
    assert_eq!(server.until(|stats| stats.in_progress == 0).await.cancelled, 1);
}

#[tokio::test]
async fn an_echo_comes_while_the_upload_is_still_going_on() {
    let server = Server::start(&[]).await;
    let head = b"POST /echo HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = server.raw(head).await;
    for word in ["first", "other"] {
        stream.write_all(format!("5\r\n{word}\r\n").as_bytes()).await.unwrap();
        read_until(&mut stream, word).await;
    }
    assert_eq!(server.stats().in_progress, 1);
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    read_until(&mut stream, "0\r\n\r\n").await;
    let stats = server.until(|stats| stats.in_progress == 0).await;
    assert_eq!((stats.bytes_in, stats.executions, stats.cancelled), (10, 1, 0));
}

async fn grpc(
    server: &Server,
    path: &str,
    status: Option<&str>,
    message: &'static [u8],
) -> (StatusCode, HeaderMap, Bytes) {
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let mut request = Request::post(format!("http://{}{path}", server.address))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers");
    if let Some(status) = status {
        request = request.header("x-model-status", status);
    }
    let request = request.body(Full::new(Bytes::from_static(message))).unwrap();
    let answer = timeout(PATIENCE, client.request(request)).await.unwrap().unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or(head.headers);
    (head.status, trailers, body.to_bytes())
}

const TWO_MESSAGES: &[u8] = &[0, 0, 0, 0, 2, 7, 7, 0, 0, 0, 0, 1, 8];

#[tokio::test]
async fn a_grpc_call_gets_its_messages_back_with_trailers() {
    let server = Server::start(&[]).await;
    let (status, trailers, body) = grpc(&server, "/any.Service/Call", None, TWO_MESSAGES).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, TWO_MESSAGES));
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["x-model-messages"], "2");
    assert_eq!(server.stats().executions, 1);
}

#[tokio::test]
async fn a_grpc_call_may_ask_for_its_status_and_a_cut_message_is_an_error() {
    let server = Server::start(&["--fail", "100%"]).await;
    let (_, trailers, _) = grpc(&server, "/a.B/C", Some("14"), TWO_MESSAGES).await;
    assert_eq!(trailers["grpc-status"], "14");
    let (_, trailers, _) = grpc(&server, "/a.B/C", None, TWO_MESSAGES).await;
    assert_eq!(trailers["grpc-status"], "13");
    let (_, trailers, _) = grpc(&server, "/a.B/C", Some("0"), &TWO_MESSAGES[..9]).await;
    assert_eq!(trailers["grpc-status"], "13");
}

#[tokio::test]
async fn grpc_health_says_whether_it_serves() {
    for (delay, state) in [("0s", 1), ("1h", 2)] {
        let server = Server::start(&["--health-delay", delay]).await;
        let empty: &[u8] = &[0, 0, 0, 0, 0];
        let (_, trailers, body) = grpc(&server, "/grpc.health.v1.Health/Check", None, empty).await;
        assert_eq!(
            (&body[..], &trailers["grpc-status"]),
            (&[0, 0, 0, 0, 2, 8, state][..], &"0".parse().unwrap())
        );
        assert_eq!(server.stats().executions, 0);
    }
}

#[tokio::test]
async fn a_websocket_echoes_answers_pings_and_holds_its_place_until_it_closes() {
    let server = Server::start(&[]).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let url = format!("ws://{}/ws", server.address);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    for message in [Message::text("hello"), Message::binary(vec![1, 2, 3])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.send(Message::Ping("p".into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("p".into()));
    assert_eq!(server.stats().in_progress, 1);
    socket.close(None).await.unwrap();
    let stats = server.until(|stats| stats.in_progress == 0).await;
    assert_eq!((stats.bytes_in, stats.cancelled), (8, 0));
}

#[tokio::test]
async fn stopping_closes_websockets() {
    let mut server = Server::start(&[]).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let url = format!("ws://{}/ws", server.address);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    server.stop();
    assert!(socket.next().await.unwrap().unwrap().is_close());
    server.ended().await;
}

#[tokio::test]
async fn a_websocket_without_a_handshake_is_refused() {
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/ws").await.status, StatusCode::UPGRADE_REQUIRED);
}
