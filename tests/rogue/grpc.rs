//! The rows of gRPC, asked for over HTTP/2.

use std::collections::HashMap;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};

use super::{
    grpc_rows::{GrpcRow, Seen, rows},
    rogue::{Rogue, Speaks},
    row::{Act, Row, Sight},
    stage::{Stage, on_lanes},
};
use crate::support::wire::{h2_upload, with_h2};

/// More than the window that a replica grants without being asked (RFC 9113 §6.9.2).
const LARGE_BYTES: u64 = 1_000_000;

/// What came of a call.
#[derive(Debug, Default)]
struct Outcome {
    head: HeaderMap,
    messages: Vec<u8>,
    trailers: HeaderMap,
    broken: bool,
}

impl Outcome {
    fn status(&self) -> Option<&str> {
        let found = self.trailers.get("grpc-status").or_else(|| self.head.get("grpc-status"));
        found.map(|value| value.to_str().expect("digits"))
    }

    /// The payload of each message, without the five bytes before it.
    fn text(&self) -> String {
        let mut text = Vec::new();
        let mut rest = &self.messages[..];
        while let [_, a, b, c, d, after @ ..] = rest {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            let Some(message) = after.get(..length) else { break };
            text.extend_from_slice(message);
            rest = &after[length..];
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn is(&self, seen: Seen) -> bool {
        match seen {
            Seen::Status(status, text) => {
                self.status() == Some(status) && self.text() == text && !self.broken
            }
            Seen::NoStatus(text) => self.status().is_none() && self.text() == text && !self.broken,
            Seen::Broken => self.broken || self.status() == Some("14"),
        }
    }

    fn is_forged(&self) -> bool {
        self.head
            .iter()
            .chain(&self.trailers)
            .any(|(_, value)| value.as_bytes().windows(6).any(|w| w == b"forged"))
            || self.trailers.keys().any(|name| name.as_str().starts_with("x-modelway-"))
    }
}

async fn call(
    sender: &SendRequest<Bytes>,
    endpoint: &str,
    is_large: bool,
) -> Result<Outcome, String> {
    let request = Request::post("http://t/pkg.Service/Method")
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-ms-aml-grpc-service-route", format!("/api/v1/endpoint/{endpoint}"))
        .body(())
        .map_err(|e| e.to_string())?;
    let mut ready = sender.clone().ready().await.map_err(|e| e.to_string())?;
    let (response, mut stream) = ready.send_request(request, false).map_err(|e| e.to_string())?;
    let upload = async {
        if is_large {
            let length = u32::try_from(LARGE_BYTES).expect("small").to_be_bytes();
            let head = [&[0][..], &length].concat();
            drop(stream.send_data(Bytes::from(head), false));
            drop(h2_upload(&mut stream, LARGE_BYTES, true).await);
        } else {
            drop(stream.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), true));
        }
        std::future::pending::<()>().await;
    };
    let read = async {
        let (parts, mut body) = response.await.map_err(|e| format!("no head: {e}"))?.into_parts();
        let mut outcome = Outcome { head: parts.headers, ..Outcome::default() };
        while let Some(data) = body.data().await {
            let Ok(data) = data else {
                outcome.broken = true;
                return Ok(outcome);
            };
            body.flow_control().release_capacity(data.len()).map_err(|e| e.to_string())?;
            outcome.messages.extend_from_slice(&data);
        }
        match body.trailers().await {
            Ok(trailers) => outcome.trailers = trailers.unwrap_or_default(),
            Err(_) => outcome.broken = true,
        }
        Ok(outcome)
    };
    tokio::select! {
        outcome = read => outcome,
        () = upload => Err("unreachable".to_owned()),
    }
}

fn run(stage: &Stage, lane: usize, row: &GrpcRow) -> Result<(), String> {
    let (kind, rogue): (_, &Rogue) =
        if row.is_slow() { ("slow", &stage.slow[lane]) } else { ("quick", &stage.quick[lane]) };
    let endpoint = format!("{kind}-{lane}");
    with_h2(stage.router.data, async |sender| {
        rogue.expect(row.name, &row.acts);
        let outcome = call(&sender, &endpoint, row.is_large).await?;
        if !outcome.is(row.seen) || outcome.is_forged() {
            return Err(format!("expected {:?}, got {:?} {outcome:?}", row.seen, outcome.text()));
        }
        let ask = format!("{}, then a clean one", row.name);
        rogue.expect(&ask, &[Act::Send(super::frames::answer("clean"))]);
        let clean = call(&sender, &endpoint, false).await.map_err(|why| format!("then {why}"))?;
        if !clean.is(Seen::Status("0", "clean")) || clean.is_forged() {
            return Err(format!("the next call: {clean:?}"));
        }
        let (first, second) = (rogue.connections(row.name), rogue.connections(&ask));
        let [then] = second[..] else { return Err(format!("the next came {second:?}")) };
        if !row.tries.contains(&first.len())
            || first.last().is_some_and(|c| *c == then) != row.is_reusable
        {
            return Err(format!("connections {first:?}, then {then}"));
        }
        Ok(())
    })
}

#[test]
fn what_a_grpc_replica_does_ends_with_its_own_call() {
    let rows = rows();
    assert!(rows.len() >= 80, "{}", rows.len());
    let stage = Stage::of(Speaks::Http2, &[]);
    let named: HashMap<&str, &GrpcRow> = rows.iter().map(|row| (row.name, row)).collect();
    assert_eq!(named.len(), rows.len(), "each name once");
    let places: Vec<Row> = rows
        .iter()
        .map(|row| Row::of(row.name, row.rule, row.acts.clone(), Sight::CutOff(0)))
        .collect();
    on_lanes(&places, |lane, row| run(&stage, lane, named[row.name]));
    stage.all_slots_come_back();
}
