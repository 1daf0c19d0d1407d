//! WebSockets: every kind of message, a slot for life, and every way to end.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream as BlockingStream,
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use socket2::SockRef;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use crate::{
    asked::{SOON, await_busy, busy},
    endpoints::{self, KEY},
    support::router::{Router, signal},
};

async fn open(router: &Router) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(router.data).await.unwrap();
    let mut request = "ws://router/api/v1/endpoint/chat/ws".into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
    let (socket, answer) = client_async(request, stream).await.unwrap();
    assert_eq!(answer.headers()["x-modelway-version"], "one");
    socket
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Option<Message> {
    timeout(SOON, socket.next()).await.expect("a message in time").and_then(Result::ok)
}

#[tokio::test]
async fn messages_of_every_kind_pass_and_the_slot_is_held_for_life() {
    let router = Router::start(&endpoints::chat(), &[]);
    let mut socket = open(&router).await;
    let large: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    for message in [Message::text("text"), Message::binary(vec![0, 159]), Message::binary(large)] {
        socket.send(message.clone()).await.unwrap();
        assert!(next(&mut socket).await == Some(message), "not the same came back");
    }
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Pong("are you there".into())));
    assert_eq!(busy(&router, "one"), 1);
    socket.close(None).await.unwrap();
    assert!(matches!(next(&mut socket).await, Some(Message::Close(_))));
    await_busy(&router, "one", 0);
}

#[tokio::test]
async fn a_client_that_resets_or_vanishes_frees_the_slot() {
    let router = Router::start(&endpoints::chat(), &[]);
    for reset in [true, false] {
        let mut socket = open(&router).await;
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(next(&mut socket).await, Some(Message::text("hello")));
        assert_eq!(busy(&router, "one"), 1);
        if reset {
            SockRef::from(socket.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(socket);
        // Well below the idle limit, which would free it too.
        let what = format!("a free slot, reset: {reset}");
        router.eventually(Duration::from_millis(800), &what, |router| {
            (busy(router, "one") == 0).then_some(())
        });
    }
}

#[tokio::test]
async fn a_replica_that_ends_ends_the_socket() {
    let router = Router::start(&endpoints::chat(), &[]);
    let mut socket = open(&router).await;
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::text("hello")));
    let replicas = router.admin_json("/api/v1/replicas");
    let replica = replicas.as_array().unwrap().iter().find(|r| r["version"] == "one").unwrap();
    signal(u32::try_from(replica["pid"].as_u64().unwrap()).unwrap(), "KILL");
    assert_eq!(next(&mut socket).await, None);
}

#[tokio::test]
async fn a_silent_socket_is_closed() {
    let router = Router::start(&endpoints::chat(), &[]);
    let mut socket = open(&router).await;
    assert_eq!(next(&mut socket).await, None);
    await_busy(&router, "one", 0);
}

#[test]
fn bytes_right_behind_the_handshake_are_not_lost() {
    let router = Router::start(&endpoints::chat(), &[]);
    // A masked text frame with the mask 0: "hi".
    let frame = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
    for _ in 0..20 {
        let mut stream = BlockingStream::connect(router.data).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut bytes = handshake("Connection: keep-alive, Upgrade\r\n").into_bytes();
        bytes.extend(frame);
        stream.write_all(&bytes).unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(&[0x81, 2, b'h', b'i']) {
            let mut piece = [0; 1024];
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0, "ended after {}", String::from_utf8_lossy(&seen));
            seen.extend(&piece[..count]);
        }
        assert!(seen.starts_with(b"HTTP/1.1 101"));
    }
}

#[test]
fn upgrade_without_connection_upgrade_is_no_upgrade() {
    let router = Router::start(&endpoints::chat(), &[]);
    let mut stream = BlockingStream::connect(router.data).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(handshake("Connection: close\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    // The model says that it wants an upgrade: it has seen none.
    assert!(answer.starts_with("HTTP/1.1 426"), "{answer}");
    assert!(answer.contains("x-modelway-source: model"), "{answer}");
}

fn handshake(connection: &str) -> String {
    format!(
        "GET /api/v1/endpoint/chat/ws HTTP/1.1\r\nHost: router\r\nAuthorization: Bearer {KEY}\r\n\
         Upgrade: websocket\r\n{connection}Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}
