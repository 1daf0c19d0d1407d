//! `/ws`: a WebSocket that sends every message back.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    Model,
    answer::{self, Answer},
    score::Progress,
};
use crate::lifecycle::{Lifecycle, Phase};

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// The largest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Shakes hands and leaves the socket to a task of its own, which holds a turn for its life.
pub(super) async fn socket(model: Arc<Model>, mut request: Request<Incoming>) -> Answer {
    let Some(accept) = accept_key(request.headers()) else {
        return answer::text(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket of version 13");
    };
    let progress = model.begin(model.truth.arrive(request.headers())).await;
    let upgrade = hyper::upgrade::on(&mut request);
    let life = model.life.clone();
    model.life.spawn("websocket", async move {
        if let Ok(upgraded) = upgrade.await {
            let config = WebSocketConfig::default()
                .max_message_size(Some(MESSAGE_BYTES_MAX))
                .max_frame_size(Some(MESSAGE_BYTES_MAX));
            let io = TokioIo::new(upgraded);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
            echo(socket, progress, &life).await;
        }
    });
    let mut answer = answer::whole(StatusCode::SWITCHING_PROTOCOLS, "text/plain", Bytes::new());
    let headers = answer.headers_mut();
    headers.clear();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let upgrade = headers.get(UPGRADE)?.to_str().ok()?;
    let version = headers.get(SEC_WEBSOCKET_VERSION)?;
    if !upgrade.eq_ignore_ascii_case("websocket") || version != "13" {
        return None;
    }
    HeaderValue::try_from(derive_accept_key(headers.get(SEC_WEBSOCKET_KEY)?.as_bytes())).ok()
}

/// Sends text and binary messages back until the peer closes, or we do because the server stops: a
/// socket has no end that a drain could wait for. Pings and the closing handshake are answered by
/// the library while we read and write.
async fn echo(mut socket: Socket, progress: Progress, life: &Lifecycle) {
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            () = life.reached(Phase::Closing) => {
                // The peer may be gone already, which is what we want.
                let _closed = socket.close(None).await;
                break;
            }
        };
        let Some(Ok(message)) = message else { break };
        if message.is_text() || message.is_binary() {
            progress.visit().received(message.len());
            if socket.send(message).await.is_err() {
                break;
            }
        }
    }
    progress.finish();
}
