//! Runs a case over a raw HTTP/2 connection: frames as the case writes them, byte by byte.

use std::{collections::BTreeMap, net::Shutdown};

use crate::{
    hpack, http1,
    support::wire::Answer,
    text::{self, Names},
    verdict::{End, Outcome, Said, Verdict},
    world::Lane,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `SETTINGS_HEADER_TABLE_SIZE` is zero, so that the answers need no dynamic table.
const SETTINGS: &[u8] = b"\0\x01\0\0\0\0";
/// The largest frame that needs no leave (RFC 9113 §4.2).
const FRAME_BYTES_MAX: usize = 16_384;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTING: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame fits into memory").to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

/// What a case sends, and on which streams it opens a request.
#[derive(Default)]
struct Script {
    bytes: Vec<u8>,
    block: Vec<u8>,
    stream: u32,
    streams: BTreeMap<u32, Stream>,
}

/// What came on a stream.
#[derive(Debug, Clone, Default)]
struct Stream {
    answer: Answer,
    said: Option<Said>,
}

impl Script {
    fn read(lines: &[String], names: &Names) -> Result<Self, String> {
        let mut script = Self { stream: 1, ..Self::default() };
        for line in lines {
            match line.strip_prefix('.') {
                Some(order) => script.order(order, names)?,
                None => script.field(line, names)?,
            }
        }
        if !script.block.is_empty() {
            script.headers(END_STREAM);
        }
        Ok(script)
    }

    fn field(&mut self, line: &str, names: &Names) -> Result<(), String> {
        // The colon of a pseudo-header is a part of its name.
        let colon = line.char_indices().skip(1).find(|(_, c)| *c == ':');
        let (at, _) = colon.ok_or_else(|| format!("no field: {line}"))?;
        let value = line[at + 1..].strip_prefix(' ').unwrap_or(&line[at + 1..]);
        let (name, value) = (text::expanded(&line[..at], names)?, text::expanded(value, names)?);
        self.block.extend(hpack::literal(&name, &value));
        Ok(())
    }

    fn order(&mut self, order: &str, names: &Names) -> Result<(), String> {
        let (word, rest) = order.split_once(' ').unwrap_or((order, ""));
        match word {
            "get" | "post" => {
                let method = format!(":method: {}", word.to_ascii_uppercase());
                for line in [&method, ":scheme: http", ":authority: t", ":path: {path}"] {
                    self.field(line, names)?;
                }
            }
            "fields" => {
                let count: usize = rest.parse().map_err(|_| format!("no number: {rest}"))?;
                for number in 1..=count {
                    self.field(&format!("x-{number}: v"), names)?;
                }
            }
            "stream" => self.stream = rest.parse().map_err(|_| format!("no stream: {rest}"))?,
            "headers" => self.headers(if rest == "end" { END_STREAM } else { 0 }),
            "data" | "end" => {
                let flags = if word == "end" { END_STREAM } else { 0 };
                let payload = text::expanded(rest, names)?;
                self.bytes.extend(frame(DATA, flags, self.stream, &payload));
            }
            "bytes" => self.bytes.extend(text::expanded(rest, names)?),
            "raw" => self.raw(rest, names)?,
            other => return Err(format!("unknown order .{other}")),
        }
        Ok(())
    }

    /// `.raw TYPE FLAGS STREAM PAYLOAD`; `=` stands for the fields collected so far.
    fn raw(&mut self, rest: &str, names: &Names) -> Result<(), String> {
        let mut parts = rest.splitn(4, ' ');
        let mut number = || {
            let part = parts.next().ok_or_else(|| format!("too short: {rest}"))?;
            u32::from_str_radix(part, 16).map_err(|_| format!("no number: {part}"))
        };
        let (kind, flags, stream) = (number()?, number()?, number()?);
        let byte = |n: u32| u8::try_from(n).map_err(|_| format!("no byte: {n}"));
        let payload = parts.next().unwrap_or_default();
        let before = match payload.strip_suffix('=') {
            Some(before) => {
                [text::expanded(before, names)?, std::mem::take(&mut self.block)].concat()
            }
            None => text::expanded(payload, names)?,
        };
        if byte(kind)? == HEADERS && stream % 2 == 1 {
            self.streams.entry(stream).or_default();
        }
        self.bytes.extend(frame(byte(kind)?, byte(flags)?, stream, &before));
        Ok(())
    }

    fn headers(&mut self, flags: u8) {
        let block = std::mem::take(&mut self.block);
        let mut pieces = block.chunks(FRAME_BYTES_MAX).peekable();
        let mut kind = HEADERS;
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            let flags = if kind == HEADERS { flags | last } else { last };
            self.bytes.extend(frame(kind, flags, self.stream, piece));
            kind = CONTINUATION;
        }
        self.streams.entry(self.stream).or_default();
    }
}

/// Sends the frames of a case and reads what comes of them.
pub(crate) fn run(
    lane: Lane<'_>,
    lines: &[String],
    names: &Names,
    pieces: Option<&[usize]>,
    verdict: &Verdict,
) -> Result<Outcome, String> {
    let mut script = Script::read(lines, names)?;
    let mut client = http1::Client::connect(lane.address);
    let begin = [PREFACE, &frame(SETTING, 0, 0, SETTINGS)].concat();
    client.send(&begin, None);
    client.send(&script.bytes, pieces);
    if verdict.end == End::Fin {
        drop(client.stream.shutdown(Shutdown::Write));
    }
    let mut connection =
        Connection { client, streams: std::mem::take(&mut script.streams), goaway: None };
    while connection.streams.values().any(|stream| stream.said.is_none()) && connection.next()? {}
    let goaway = connection.goaway;
    let last = connection.streams.values().next_back().cloned().unwrap_or_default().answer;
    let said: Vec<Said> = connection
        .streams
        .values()
        .map(|stream| stream.said.unwrap_or(Said::Goaway(goaway)))
        .collect();
    for stream in connection.streams.values().filter(|s| matches!(s.said, Some(Said::Status(_)))) {
        check_form(&stream.answer, verdict.is_head)?;
    }
    verdict.accepts(&said)?;
    if verdict.end == End::Open {
        connection.good(lane)?;
    } else {
        while connection.next()? {}
    }
    Ok(Outcome { said, last })
}

struct Connection {
    client: http1::Client,
    streams: BTreeMap<u32, Stream>,
    /// The code of the last GOAWAY.
    goaway: Option<u32>,
}

impl Connection {
    /// Reads a frame; `false` at the end of the connection.
    fn next(&mut self) -> Result<bool, String> {
        let Some(head) = self.take(9)? else {
            return Ok(false);
        };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
        let Some(payload) = self.take(length)? else { return Err("a frame was cut".to_owned()) };
        let (kind, flags) = (head[3], head[4]);
        match kind {
            SETTING if flags & ACK == 0 => self.client.send(&frame(SETTING, ACK, 0, b""), None),
            PING if flags & ACK == 0 => self.client.send(&frame(PING, ACK, 0, &payload), None),
            GOAWAY => {
                let code = payload.get(4..8).and_then(|bytes| bytes.try_into().ok());
                self.goaway = code.map(u32::from_be_bytes);
            }
            DATA | HEADERS | RESET => self.of_stream(kind, flags, stream, &payload)?,
            _ => {}
        }
        Ok(true)
    }

    fn of_stream(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Result<(), String> {
        let stream = self.streams.entry(id).or_default();
        if stream.said.is_some() {
            // RST_STREAM(NO_ERROR) behind an early answer.
            let late = kind == RESET;
            return if late { Ok(()) } else { Err(format!("stream {id} goes on behind its end")) };
        }
        match kind {
            RESET => {
                let code =
                    payload.try_into().map_err(|_| "RST_STREAM of a wrong size".to_owned())?;
                stream.said = Some(Said::Reset(u32::from_be_bytes(code)));
            }
            HEADERS => {
                let fields = hpack::decode(payload).ok_or("a block of fields that is not HPACK")?;
                if let Some((_, status)) = fields.iter().find(|(name, _)| name == ":status") {
                    stream.answer.status =
                        status.parse().map_err(|_| format!("status {status}"))?;
                }
                stream.answer.fields.extend(fields);
            }
            _ => stream.answer.body.extend_from_slice(payload),
        }
        if kind != RESET && flags & END_STREAM != 0 {
            stream.said = Some(Said::Status(stream.answer.status));
        }
        Ok(())
    }

    /// A good request on the same connection is answered as ever.
    fn good(&mut self, lane: Lane<'_>) -> Result<(), String> {
        let id = self.streams.keys().next_back().map_or(1, |last| last + 2);
        let path = lane.good_path("same");
        let fields =
            [(":method", "POST"), (":scheme", "http"), (":authority", "t"), (":path", &path)];
        let block: Vec<u8> = fields
            .iter()
            .flat_map(|(name, value)| hpack::literal(name.as_bytes(), value.as_bytes()))
            .collect();
        self.client.send(&frame(HEADERS, END_HEADERS, id, &block), None);
        self.client.send(&frame(DATA, END_STREAM, id, b"good"), None);
        self.streams.entry(id).or_default();
        while self.streams[&id].said.is_none() && self.next()? {}
        let stream = &self.streams[&id];
        let right = stream.said == Some(Said::Status(200)) && stream.answer.text() == "/good?same";
        if right {
            Ok(())
        } else {
            Err(format!("the next request on the connection got {stream:?}"))
        }
    }

    fn take(&mut self, count: usize) -> Result<Option<Vec<u8>>, String> {
        while self.client.rest.len() < count {
            if !self.client.more()? {
                return Ok(None);
            }
        }
        Ok(Some(self.client.rest.drain(..count).collect()))
    }
}

/// An answer of the router is in its form, an answer of the model says so.
fn check_form(answer: &Answer, to_head: bool) -> Result<(), String> {
    let grpc = !answer.all("grpc-status").is_empty();
    let told = to_head || grpc || answer.status < 400 || http1::tells(answer);
    let source = if answer.status >= 400 || grpc { "router" } else { "model" };
    let fits = answer.all("x-modelway-source") == [source]
        && answer.all("x-request-id").iter().map(|id| id.len()).eq([36])
        && told;
    if fits { Ok(()) } else { Err(format!("not in our form: {answer:?}")) }
}
