//! The rows of plain HTTP, asked for over HTTP/1 and over HTTP/2.

use super::{
    rogue::{Rogue, Speaks},
    row::{Act, Ask, Row},
    rows::rows,
    stage::{Stage, judge, on_lanes},
};
use crate::support::wire::{Answer, Wire, h2_answer, h2_request, h2_upload, with_h2};

/// More than the buffers of all sockets on the way.
const UPLOAD_BYTES: usize = 30_000_000;

/// One row over one protocol.
struct Case<'a> {
    stage: &'a Stage,
    row: &'a Row,
    rogue: &'a Rogue,
    path: String,
    /// Tells this case from all others.
    ask: String,
}

impl<'a> Case<'a> {
    fn of(stage: &'a Stage, lane: usize, row: &'a Row, protocol: &str) -> Self {
        let (kind, rogues) =
            if row.is_slow() { ("slow", &stage.slow) } else { ("quick", &stage.quick) };
        let path = format!("/api/v1/endpoint/{kind}-{lane}/score");
        Self { stage, row, rogue: &rogues[lane], path, ask: format!("{}-{protocol}", row.name) }
    }

    /// Whether the acts begin before the request is read.
    fn is_armed(&self) -> bool {
        !matches!(self.row.acts.first(), Some(Act::Read | Act::ReadHead))
    }

    fn prepare(&self) {
        if self.is_armed() {
            self.rogue.arm(&self.row.acts);
        }
    }

    fn fields(&self, extra: &str) -> String {
        let row = if self.is_armed() { "none" } else { self.row.name };
        format!("host: t\r\nx-row: {row}\r\nx-ask: {}\r\n{extra}", self.ask)
    }

    fn over_http1(&self) -> Result<(), String> {
        self.prepare();
        let mut wire = Wire::connect(self.stage.router.data);
        let path = &self.path;
        let is_head = self.row.ask == Ask::Head;
        let sent = match self.row.ask {
            Ask::Post => {
                format!("POST {path} HTTP/1.1\r\n{}\r\n{{}}", self.fields("content-length: 2\r\n"))
            }
            Ask::Head => format!("HEAD {path} HTTP/1.1\r\n{}\r\n", self.fields("")),
            Ask::Upload => {
                let length = format!("content-length: {UPLOAD_BYTES}\r\n");
                let body = "x".repeat(UPLOAD_BYTES);
                format!("POST {path} HTTP/1.1\r\n{}\r\n{body}", self.fields(&length))
            }
            Ask::Upgrade => {
                let fields = "connection: upgrade\r\nupgrade: websocket\r\n\
                              sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
                format!("GET {path} HTTP/1.1\r\n{}\r\n", self.fields(fields))
            }
        };
        wire.try_send(sent);
        let answer = wire.try_answer(is_head).ok_or("no answer")?;
        judge(&answer, &self.row.sight)?;
        let closes = answer.fields.iter().any(|(n, v)| n == "connection" && v == "close");
        if !answer.complete || closes {
            wire = Wire::connect(self.stage.router.data);
        }
        let clean = format!("{}-clean", self.ask);
        let fields = format!("host: t\r\nx-ask: {clean}\r\ncontent-length: 2\r\n");
        wire.try_send(format!("POST {path} HTTP/1.1\r\n{fields}\r\n{{}}"));
        let answer = wire.try_answer(false).ok_or("no clean answer")?;
        self.is_clean(&answer, &clean)
    }

    fn over_http2(&self) -> Result<(), String> {
        self.prepare();
        with_h2(self.stage.router.data, async |sender| {
            let method = if self.row.ask == Ask::Head { "HEAD" } else { "POST" };
            let row = if self.is_armed() { "none" } else { self.row.name };
            let is_head = self.row.ask == Ask::Head;
            let length = if self.row.ask == Ask::Upload { UPLOAD_BYTES } else { 2 };
            let stated = length.to_string();
            let fields = [("x-row", row), ("x-ask", &*self.ask), ("content-length", &*stated)];
            let fields = if is_head { &fields[..2] } else { &fields[..] };
            let request = h2_request(method, &self.path, fields);
            let mut ready = sender.clone().ready().await.map_err(|e| e.to_string())?;
            let (response, mut stream) =
                ready.send_request(request, is_head).map_err(|e| e.to_string())?;
            let upload = async {
                if !is_head {
                    drop(h2_upload(&mut stream, length as u64, true).await);
                }
                std::future::pending::<()>().await;
            };
            let answer = tokio::select! {
                answer = h2_answer(response) => answer.map_err(|e| format!("no answer: {e}"))?,
                () = upload => return Err("unreachable".to_owned()),
            };
            judge(&answer, &self.row.sight)?;
            let clean = format!("{}-clean", self.ask);
            let request = h2_request("POST", &self.path, &[("x-ask", &*clean)]);
            let mut ready = sender.clone().ready().await.map_err(|e| e.to_string())?;
            let (response, mut stream) =
                ready.send_request(request, false).map_err(|e| e.to_string())?;
            h2_upload(&mut stream, 2, true).await.map_err(|e| e.to_string())?;
            let answer = h2_answer(response).await.map_err(|e| format!("no clean answer: {e}"))?;
            self.is_clean(&answer, &clean)
        })
    }

    fn is_clean(&self, answer: &Answer, ask: &str) -> Result<(), String> {
        if (answer.status, &*answer.text(), answer.complete) != (200, "clean", true) {
            return Err(format!("the next answer: {} {:?}", answer.status, answer.text()));
        }
        let (first, second) = (self.rogue.connections(&self.ask), self.rogue.connections(ask));
        let [clean] = second[..] else { return Err(format!("the next came {second:?}")) };
        let is_same = first.contains(&clean);
        if is_same != self.row.is_reusable {
            return Err(format!("connections {first:?}, then {clean}"));
        }
        if first.len() > 1 {
            return Err(format!("sent {} times", first.len()));
        }
        Ok(())
    }
}

#[test]
fn what_a_replica_does_ends_with_its_own_request() {
    let rows = rows();
    assert!(rows.len() >= 100, "{}", rows.len());
    let stage = Stage::of(Speaks::Http1, &rows);
    on_lanes(&rows, |lane, row| {
        Case::of(&stage, lane, row, "h1").over_http1().map_err(|why| format!("HTTP/1: {why}"))?;
        if row.ask == Ask::Upgrade {
            return Ok(());
        }
        Case::of(&stage, lane, row, "h2").over_http2().map_err(|why| format!("HTTP/2: {why}"))
    });
    stage.all_slots_come_back();
}
