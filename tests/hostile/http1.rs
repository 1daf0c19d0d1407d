//! Runs a case over a raw HTTP/1 socket.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    support::wire::Answer,
    verdict::{End, Outcome, Said, Verdict},
    world::Lane,
};

/// No answer and no end is waited for longer than this. A case that is right never waits.
const LIMIT: Duration = Duration::from_secs(15);

/// A client connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// Bytes read and not used yet.
    pub(crate) rest: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the router accepts");
        stream.set_nodelay(true).expect("an option of every socket");
        stream.set_read_timeout(Some(LIMIT)).expect("an option of every socket");
        stream.set_write_timeout(Some(LIMIT)).expect("an option of every socket");
        Self { stream, rest: Vec::new() }
    }

    /// Sends bytes, all at once or in pieces of these lengths in turns. The router may have closed.
    pub(crate) fn send(&mut self, bytes: &[u8], pieces: Option<&[usize]>) {
        let Some(lengths) = pieces else {
            drop(self.stream.write_all(bytes));
            return;
        };
        let mut rest = bytes;
        for length in lengths.iter().cycle() {
            let (piece, behind) = rest.split_at((*length).min(rest.len()));
            if rest.is_empty() || self.stream.write_all(piece).is_err() {
                return;
            }
            rest = behind;
        }
    }

    /// Reads one answer; `None` when the connection ends before its head is there.
    pub(crate) fn answer(&mut self, to_head: bool) -> Result<Option<Answer>, String> {
        let end = loop {
            if let Some(end) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if !self.more()? {
                return if self.rest.is_empty() { Ok(None) } else { Err(self.cut("head")) };
            }
        };
        let head: Vec<u8> = self.rest.drain(..end + 4).collect();
        let mut answer = head_of(&head).ok_or_else(|| format!("no answer: {head:?}"))?;
        let length = answer.field("content-length").map_or(Ok(0), str::parse::<usize>);
        let length =
            if to_head || answer.status < 200 { 0 } else { length.map_err(|e| e.to_string())? };
        while self.rest.len() < length {
            if !self.more()? {
                return Err(self.cut("body"));
            }
        }
        answer.body = self.rest.drain(..length).collect();
        Ok(Some(answer))
    }

    fn cut(&self, what: &str) -> String {
        format!("the {what} of an answer was cut: {:?}", String::from_utf8_lossy(&self.rest))
    }

    /// Whether the connection ends, with nothing before its end.
    fn ends(&mut self) -> Result<(), String> {
        let more = self.more()?;
        if !more && self.rest.is_empty() {
            return Ok(());
        }
        while self.more()? {}
        Err(format!("more than the answers came: {:?}", String::from_utf8_lossy(&self.rest)))
    }

    /// Reads something; `false` at the end.
    pub(crate) fn more(&mut self) -> Result<bool, String> {
        let mut piece = vec![0; 64 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.rest.extend_from_slice(&piece[..count]);
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    let rest = String::from_utf8_lossy(&self.rest).into_owned();
                    return Err(format!(
                        "nothing came for {LIMIT:?}, and no end; before that: {rest:?}"
                    ));
                }
                // A reset is an end.
                Err(_) => return Ok(false),
            }
        }
    }
}

fn head_of(head: &[u8]) -> Option<Answer> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let fields = lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect::<Option<_>>()?;
    Some(Answer { status, fields, body: Vec::new(), complete: true })
}

/// Sends the bytes of a case and reads what comes of it.
pub(crate) fn run(
    lane: Lane<'_>,
    bytes: &[u8],
    pieces: Option<&[usize]>,
    verdict: &Verdict,
) -> Result<Outcome, String> {
    let mut client = Client::connect(lane.address);
    client.send(bytes, pieces);
    if verdict.end == End::Fin {
        drop(client.stream.shutdown(Shutdown::Write));
    }
    let mut outcome = Outcome { said: Vec::new(), last: Answer::default() };
    for _ in 0..verdict.count() {
        let Some(answer) = client.answer(verdict.is_head)? else { break };
        check_form(&answer, verdict.is_head)?;
        outcome.said.push(Said::Status(answer.status));
        outcome.last = answer;
    }
    verdict.accepts(&outcome.said)?;
    match verdict.end {
        End::Open => good(&mut client, lane, "same")?,
        End::Closes | End::Fin => client.ends()?,
    }
    Ok(outcome)
}

/// An answer of the router is in its form, an answer of the model says so.
fn check_form(answer: &Answer, to_head: bool) -> Result<(), String> {
    if answer.status < 200 {
        return Ok(());
    }
    let by_router = answer.status >= 400;
    let typed = answer.all("content-type") == ["application/problem+json"];
    let source = if by_router { "router" } else { "model" };
    let fits = answer.all("x-modelway-source") == [source]
        && answer.all("x-request-id").iter().map(|id| id.len()).eq([36])
        && (!by_router || (typed && (to_head || tells(answer))));
    if fits { Ok(()) } else { Err(format!("not in our form: {answer:?}")) }
}

/// Whether the body of a refusal says the same as its status line.
pub(crate) fn tells(answer: &Answer) -> bool {
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    problem["status"] == answer.status
}

/// A good request is answered as ever.
pub(crate) fn good(client: &mut Client, lane: Lane<'_>, mark: &str) -> Result<(), String> {
    let path = lane.good_path(mark);
    let text = format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\ngood");
    client.send(text.as_bytes(), None);
    let answer = client.answer(false)?;
    let right =
        answer.as_ref().is_some_and(|a| a.status == 200 && a.text() == format!("/good?{mark}"));
    if right { Ok(()) } else { Err(format!("the next request ({mark}) got {answer:?}")) }
}
