//! HTTP/2 frames as they pass, for what h2 has no bound of its own.
//!
//! h2 stops streams that are reset before anybody has seen them, CONTINUATION without end, header
//! lists and small DATA frames that nobody reads. It lets pass: requests that reach a replica and
//! are then reset, again and again; PING, SETTINGS, PRIORITY and WINDOW_UPDATE without end; and a
//! head that never ends. Only the nine bytes before each frame are looked at (RFC 9113 §4.1), at a
//! cost of some nanoseconds.

use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::ConnectionLimit;

/// Length of a frame's head.
const HEAD_BYTES: usize = 9;
/// Length of the client's preface (RFC 9113 §3.4).
const PREFACE_BYTES: u32 = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Requests of one window of the reset budget, as in Envoy
/// (`premature_reset_total_stream_count`).
const WINDOW_REQUESTS: u32 = 500;
/// A stream that is reset within this time of its begin and before its answer is complete was not
/// meant (Envoy: `premature_reset_min_stream_lifetime`).
const MEANT_AFTER: Duration = Duration::from_secs(1);
/// How many of the last streams are remembered beside those that may be open at once: a stream that
/// is reset must not have lost its place to a later one.
const STREAMS_BESIDE: u32 = 28;

/// How many frames without a request a connection may send at once.
const CREDIT_MAX: u32 = 2_000;
/// What a request brings: clients send PRIORITY, WINDOW_UPDATE and PING with it.
const CREDIT_OF_REQUEST: u32 = 16;
/// What a frame with payload brings, in either direction: gRPC pings while data flows, and what is
/// sent is acknowledged by WINDOW_UPDATE for the stream and for the connection.
const CREDIT_OF_DATA: u32 = 4;
/// What a second brings.
const CREDIT_PER_SECOND: u32 = 100;

/// What a frame's head says.
#[derive(Debug, Clone, Copy)]
struct Head {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
struct Cutter {
    head: [u8; HEAD_BYTES],
    have: usize,
    /// Bytes of the payload that are still to come.
    left: u32,
}

impl Cutter {
    /// The head of the next frame in `bytes`, which begin behind it then; `None` at their end.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        let skipped = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        *bytes = bytes.get(skipped..)?;
        self.left -= u32::try_from(skipped).unwrap_or(self.left);
        if self.left > 0 {
            return None;
        }
        let missing = self.head.get_mut(self.have..)?;
        let count = missing.len().min(bytes.len());
        let (taken, rest) = bytes.split_at_checked(count)?;
        missing.get_mut(..count)?.copy_from_slice(taken);
        *bytes = rest;
        self.have += count;
        if self.have < HEAD_BYTES {
            return None;
        }
        self.have = 0;
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.left = length;
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        Some(Head { length, kind, flags, stream })
    }

    /// Whether the last frame was complete.
    fn is_between_frames(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

/// Follows one HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Frames {
    incoming: Cutter,
    outgoing: Cutter,
    began: Instant,
    /// The last streams by their number, each with its begin in milliseconds since `began`.
    opened: Box<[(u32, u32)]>,
    last_stream: u32,
    requests: u32,
    resets: u32,
    credit: u32,
    /// Until when time has been made into credit.
    credited: Instant,
    /// Whether the last frame is of a head, and whether that was the head's last one.
    is_head: bool,
    is_last: bool,
    head_since: Option<Instant>,
}

impl Frames {
    pub(super) fn new(streams_max: u32) -> Self {
        let now = Instant::now();
        let kept =
            usize::try_from(streams_max.saturating_add(STREAMS_BESIDE)).unwrap_or(usize::MAX);
        Self {
            incoming: Cutter { left: PREFACE_BYTES, ..Cutter::default() },
            outgoing: Cutter::default(),
            began: now,
            opened: vec![(0, 0); kept].into(),
            last_stream: 0,
            requests: 0,
            resets: 0,
            credit: CREDIT_MAX,
            credited: now,
            is_head: false,
            is_last: true,
            head_since: None,
        }
    }

    /// Bytes from the client, in order. An error means that the connection must end.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), ConnectionLimit> {
        let mut now = None;
        while let Some(head) = self.incoming.next(&mut bytes) {
            self.judge(head, &mut now)?;
        }
        // A head is complete when the payload of its last frame is.
        let unfinished = !self.is_last || (self.is_head && self.incoming.left > 0);
        if !unfinished {
            self.head_since = None;
        } else if self.head_since.is_none() {
            self.head_since = Some(Instant::now());
        }
        Ok(())
    }

    fn judge(&mut self, head: Head, now: &mut Option<Instant>) -> Result<(), ConnectionLimit> {
        self.is_head = matches!(head.kind, HEADERS | CONTINUATION);
        match head.kind {
            HEADERS | CONTINUATION => {
                if head.kind == HEADERS && head.stream > self.last_stream {
                    self.request(head.stream, *now.get_or_insert_with(Instant::now));
                }
                self.is_last = head.flags & END_HEADERS != 0;
                // Trailers and further pieces of a head: h2 bounds these by their number and size.
                Ok(())
            }
            DATA if head.length > 0 => {
                self.earn(CREDIT_OF_DATA);
                Ok(())
            }
            RST_STREAM if self.is_early(head.stream, *now.get_or_insert_with(Instant::now)) => {
                self.resets += 1;
                if self.resets > WINDOW_REQUESTS / 2 {
                    return Err(ConnectionLimit::Resets);
                }
                Ok(())
            }
            _ => self.spend(),
        }
    }

    fn request(&mut self, stream: u32, now: Instant) {
        self.last_stream = stream;
        let begun_ms = self.since_began_ms(now);
        if let Some(place) = self.place_of(stream) {
            *place = (stream, begun_ms);
        }
        self.requests += 1;
        if self.requests > WINDOW_REQUESTS {
            self.requests = 1;
            self.resets = 0;
        }
        self.earn(CREDIT_OF_REQUEST);
    }

    /// Whether a reset ends a request that has just begun and is not answered yet.
    fn is_early(&mut self, stream: u32, now: Instant) -> bool {
        let now_ms = self.since_began_ms(now);
        let Some(place) = self.place_of(stream) else { return false };
        let (known, begun_ms) = *place;
        if known != stream {
            return false;
        }
        *place = (0, 0);
        Duration::from_millis(now_ms.saturating_sub(begun_ms).into()) < MEANT_AFTER
    }

    fn since_began_ms(&self, now: Instant) -> u32 {
        // After 49 days every stream counts as old.
        u32::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u32::MAX)
    }

    fn earn(&mut self, credit: u32) {
        self.credit = self.credit.saturating_add(credit).min(CREDIT_MAX);
    }

    /// A frame that carries no request. The clock is asked only when there is no credit left.
    fn spend(&mut self) -> Result<(), ConnectionLimit> {
        if self.credit == 0 {
            let now = Instant::now();
            let passed_ms = now.saturating_duration_since(self.credited).as_millis();
            let earned = passed_ms * u128::from(CREDIT_PER_SECOND) / 1000;
            self.earn(u32::try_from(earned).unwrap_or(CREDIT_MAX));
            if earned > 0 {
                self.credited = now;
            }
        }
        self.credit = self.credit.checked_sub(1).ok_or(ConnectionLimit::Frames)?;
        Ok(())
    }

    /// Bytes to the client, in order.
    pub(super) fn sent(&mut self, mut bytes: &[u8]) {
        while let Some(head) = self.outgoing.next(&mut bytes) {
            if head.kind == DATA && head.length > 0 {
                self.earn(CREDIT_OF_DATA);
            }
            let ends = matches!(head.kind, DATA | HEADERS) && head.flags & END_STREAM != 0;
            if let Some(place) = self.place_of(head.stream)
                && ends
                && place.0 == head.stream
            {
                *place = (0, 0);
            }
        }
    }

    /// Where a stream is remembered. Clients number theirs 1, 3, 5 and so on.
    fn place_of(&mut self, stream: u32) -> Option<&mut (u32, u32)> {
        let number = usize::try_from(stream >> 1).unwrap_or(0);
        let place = number.checked_rem(self.opened.len())?;
        self.opened.get_mut(place)
    }

    /// Since when a head has been incomplete.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.head_since
    }

    /// GOAWAY with `ENHANCE_YOUR_CALM`, where it can be put between two frames.
    pub(super) fn farewell(&self) -> Option<[u8; HEAD_BYTES + 8]> {
        const GOAWAY: u8 = 7;
        const ENHANCE_YOUR_CALM: u8 = 0xb;
        if !self.outgoing.is_between_frames() {
            return None;
        }
        let [a, b, c, d] = self.last_stream.to_be_bytes();
        Some([0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, ENHANCE_YOUR_CALM])
    }
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
