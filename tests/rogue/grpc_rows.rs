//! The rows of HTTP/2 replicas, as gRPC calls meet them.

use std::ops::RangeInclusive;

use super::{
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE,
        RST_STREAM, SETTINGS, STREAM, WINDOW_UPDATE, answer, block, frame, head, headers, message,
        trailers,
    },
    row::Act::{self, Close, Flood, Pause, ReadHead, Reset, Send, Silence},
};

/// What the caller must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// This status of gRPC, and these messages before it.
    Status(&'static str, &'static str),
    /// These messages and the end, without a status: the library of the client calls that an error.
    NoStatus(&'static str),
    /// The stream is reset.
    Broken,
}

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct GrpcRow {
    pub(crate) name: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) acts: Vec<Act>,
    pub(crate) seen: Seen,
    pub(crate) is_reusable: bool,
    /// How often the replica sees the call.
    pub(crate) tries: RangeInclusive<usize>,
    /// Whether the call has more bytes than a replica that opens no window can take.
    pub(crate) is_large: bool,
}

impl GrpcRow {
    fn new(name: &'static str, rule: &'static str, acts: Vec<Act>, seen: Seen) -> Self {
        Self { name, rule, acts, seen, is_reusable: false, tries: 1..=1, is_large: false }
    }

    fn reusable(mut self) -> Self {
        self.is_reusable = true;
        self
    }

    fn twice(mut self) -> Self {
        self.tries = 2..=2;
        self
    }

    /// Tried again where the connection had served a call before (contract §5, "retry").
    fn perhaps_twice(mut self) -> Self {
        self.tries = 1..=2;
        self
    }

    fn large(mut self) -> Self {
        self.is_large = true;
        self
    }

    /// Whether it ends only with a time limit.
    pub(crate) fn is_slow(&self) -> bool {
        self.acts.iter().any(|act| matches!(act, Silence))
    }
}

const DOWN: Seen = Seen::Status("14", "");
/// The message came, the end did not.
const HALF: Seen = Seen::Status("14", "hi");
const GOOD: Seen = Seen::Status("0", "hi");
const LATE: Seen = Seen::Status("4", "");

fn error(code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, STREAM, &code.to_be_bytes())
}

fn away(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// What comes behind a whole answer is of one stream, which has ended (RFC 9113 §5.1).
const BEHIND_THE_END: [&str; 2] = ["DATA behind the end", "a head behind the end"];

pub(crate) fn rows() -> Vec<GrpcRow> {
    let mut rows =
        [whole(), resets(), goaways(), stages(), order(), malformed(), frames(), floods()].concat();
    for row in &mut rows {
        row.is_reusable |= BEHIND_THE_END.contains(&row.name);
    }
    rows
}

fn whole() -> Vec<GrpcRow> {
    const RULE: &str = "gRPC over HTTP/2, Responses";
    let sent = |name, bytes, seen| GrpcRow::new(name, RULE, vec![Send(bytes)], seen).reusable();
    let forged = [("x-request-id", "forged"), ("x-modelway-source", "forged")];
    let forged_head =
        [&[(":status", "200"), ("content-type", "application/grpc")][..], &forged].concat();
    let forged_end = [&[("grpc-status", "0")][..], &forged].concat();
    vec![
        sent("an answer", answer("hi"), GOOD),
        sent(
            "trailers only",
            headers(
                END_STREAM,
                &[(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "5")],
            ),
            Seen::Status("5", ""),
        ),
        sent(
            "no trailers",
            [head(), message("hi"), frame(DATA, END_STREAM, STREAM, &[])].concat(),
            Seen::NoStatus("hi"),
        ),
        sent(
            "trailers without a status",
            [head(), message("hi"), headers(END_STREAM, &[("name", "value")])].concat(),
            Seen::NoStatus("hi"),
        ),
        sent(
            "forged fields",
            [headers(0, &forged_head), message("hi"), trailers("0")].concat(),
            GOOD,
        ),
        sent(
            "forged trailers",
            [head(), message("hi"), headers(END_STREAM, &forged_end)].concat(),
            GOOD,
        ),
        sent(
            "an informational head before",
            [headers(0, &[(":status", "103"), ("link", "forged")]), answer("hi")].concat(),
            GOOD,
        ),
        sent(
            "padding",
            [
                head(),
                frame(DATA, 8, STREAM, &[&[4_u8][..], b"\0\0\0\0\x02hi", &[0; 4]].concat()),
                trailers("0"),
            ]
            .concat(),
            GOOD,
        ),
        sent(
            "a frame of an unknown kind",
            [frame(0xfa, 0xff, STREAM, b"?"), answer("hi")].concat(),
            GOOD,
        ),
        sent(
            "PRIORITY",
            [frame(PRIORITY, 0, STREAM, &[0, 0, 0, 0, 16]), answer("hi")].concat(),
            GOOD,
        ),
        sent(
            "a head in pieces",
            {
                let b = block(&[(":status", "200"), ("content-type", "application/grpc")]);
                let (x, y) = b.split_at(7);
                [
                    frame(HEADERS, 0, STREAM, x),
                    frame(CONTINUATION, END_HEADERS, STREAM, y),
                    message("hi"),
                    trailers("0"),
                ]
                .concat()
            },
            GOOD,
        ),
    ]
}

fn resets() -> Vec<GrpcRow> {
    const RULE: &str = "RFC 9113 §7";
    let reset = |name, code| GrpcRow::new(name, RULE, vec![Send(error(code))], DOWN).reusable();
    vec![
        reset("NO_ERROR", 0),
        reset("PROTOCOL_ERROR", 1),
        reset("INTERNAL_ERROR", 2),
        reset("FLOW_CONTROL_ERROR", 3),
        reset("CANCEL", 8),
        reset("ENHANCE_YOUR_CALM", 11),
        reset("INADEQUATE_SECURITY", 12),
        reset("HTTP_1_1_REQUIRED", 13),
        reset("a code that nobody knows", 0xffff_ffff),
        GrpcRow::new("REFUSED_STREAM", "RFC 9113 §8.7", vec![Send(error(7))], DOWN)
            .twice()
            .reusable(),
        GrpcRow::new(
            "a reset behind the head",
            RULE,
            vec![Send([head(), error(2)].concat())],
            DOWN,
        )
        .reusable(),
        GrpcRow::new(
            "a reset behind a message",
            RULE,
            vec![Send([head(), message("hi")].concat()), Pause, Send(error(2))],
            HALF,
        )
        .reusable(),
        GrpcRow::new(
            "REFUSED_STREAM behind a message",
            "RFC 9113 §8.7",
            vec![Send([head(), message("hi")].concat()), Pause, Send(error(7))],
            HALF,
        )
        .reusable(),
    ]
}

fn goaways() -> Vec<GrpcRow> {
    const RULE: &str = "RFC 9113 §6.8";
    vec![
        GrpcRow::new("GOAWAY before the call", RULE, vec![Send(away(0, 0))], DOWN).twice(),
        GrpcRow::new(
            "GOAWAY and an answer",
            RULE,
            vec![Send(away(STREAM, 0)), Send(answer("hi"))],
            GOOD,
        ),
        GrpcRow::new("GOAWAY with an error", RULE, vec![Send(away(0, 11)), Close], DOWN)
            .perhaps_twice(),
        GrpcRow::new(
            "GOAWAY in an answer, and the end",
            RULE,
            vec![Send([head(), message("hi")].concat()), Pause, Send(away(STREAM, 2)), Close],
            HALF,
        ),
    ]
}

fn stages() -> Vec<GrpcRow> {
    const RULE: &str = "RFC 9113 §5.4";
    let open = || Send([head(), message("hi")].concat());
    let of = |name, acts, seen| GrpcRow::new(name, RULE, acts, seen);
    vec![
        of("the end instead of a head", vec![Close], DOWN).perhaps_twice(),
        of("a reset instead of a head", vec![Reset], DOWN).perhaps_twice(),
        of("the end in a frame", vec![Send(head()[..12].to_vec()), Pause, Close], DOWN),
        of("the end behind the head", vec![Send(head()), Pause, Close], DOWN),
        of("the end behind a message", vec![open(), Pause, Close], HALF),
        of("a closed socket behind a message", vec![open(), Pause, Reset], HALF),
        of(
            "half a message and the end",
            vec![Send([head(), frame(DATA, 0, STREAM, b"\0\0\0\0\x09hi")].concat()), Pause, Close],
            DOWN,
        ),
        of("silence instead of a head", vec![Silence], LATE),
        of("silence in a frame", vec![Send(head()[..12].to_vec()), Silence], LATE),
        of(
            "silence behind a head without an end",
            vec![Send(frame(HEADERS, 0, STREAM, &block(&[(":status", "200")]))), Silence],
            LATE,
        ),
        of("silence behind a message", vec![open(), Silence], Seen::Status("4", "hi")),
        of("a window that never opens", vec![ReadHead, Silence], LATE).large(),
        of("an answer before the upload", vec![ReadHead, Send(answer("hi"))], GOOD)
            .large()
            .reusable(),
        of("a reset before the upload", vec![ReadHead, Send(error(2))], DOWN).large().reusable(),
    ]
}

fn order() -> Vec<GrpcRow> {
    const RULE: &str = "RFC 9113 §5.1";
    let sent = |name, bytes: Vec<u8>, seen| GrpcRow::new(name, RULE, vec![Send(bytes)], seen);
    vec![
        sent("DATA before a head", [message("hi"), trailers("0")].concat(), DOWN),
        sent("DATA behind the end", [answer("hi"), message("forged")].concat(), GOOD),
        sent(
            "a head behind the end",
            [answer("hi"), headers(END_STREAM, &[(":status", "200"), ("x-request-id", "forged")])]
                .concat(),
            GOOD,
        ),
        sent("DATA of the connection", [frame(DATA, 0, 0, b"x"), answer("hi")].concat(), DOWN),
        sent(
            "a head of the connection",
            frame(HEADERS, END_HEADERS, 0, &block(&[(":status", "200")])),
            DOWN,
        ),
        sent(
            "a head of a stream to come",
            frame(HEADERS, END_HEADERS, 0x7fff_fff1, &block(&[(":status", "200")])),
            DOWN,
        ),
        sent(
            "a head of a stream of the server",
            frame(HEADERS, END_HEADERS, 2, &block(&[(":status", "200")])),
            DOWN,
        ),
        sent(
            "a push",
            frame(
                PUSH_PROMISE,
                END_HEADERS,
                STREAM,
                &[
                    &[0, 0, 0, 2][..],
                    &block(&[
                        (":method", "GET"),
                        (":path", "/"),
                        (":scheme", "http"),
                        (":authority", "x"),
                    ]),
                ]
                .concat(),
            ),
            DOWN,
        ),
        sent(
            "CONTINUATION without a head",
            frame(CONTINUATION, END_HEADERS, STREAM, &block(&[(":status", "200")])),
            DOWN,
        ),
        sent(
            "another frame between the pieces of a head",
            [frame(HEADERS, 0, STREAM, &block(&[(":status", "200")])), frame(PING, 0, 0, &[0; 8])]
                .concat(),
            DOWN,
        ),
        sent(
            "trailers without an end",
            [head(), message("hi"), headers(0, &[("grpc-status", "0")]), trailers("0")].concat(),
            HALF,
        ),
    ]
}

fn malformed() -> Vec<GrpcRow> {
    const RULE: &str = "RFC 9113 §8.1.1";
    let ends = |name, fields: &[(&str, &str)]| {
        GrpcRow::new(name, RULE, vec![Send(headers(END_STREAM, fields))], DOWN)
    };
    let long = "x".repeat(200_000);
    let in_pieces = |flags, fields: &[(&str, &str)]| {
        let block = block(fields);
        let mut bytes = Vec::new();
        let last = block.chunks(16_000).count() - 1;
        for (at, piece) in block.chunks(16_000).enumerate() {
            let end = if at == last { END_HEADERS } else { 0 };
            let (kind, flags) = if at == 0 { (HEADERS, flags | end) } else { (CONTINUATION, end) };
            bytes.extend(frame(kind, flags, STREAM, piece));
        }
        bytes
    };
    vec![
        ends("no :status", &[("content-type", "application/grpc")]),
        ends("two :status", &[(":status", "200"), (":status", "500")]),
        ends(":status abc", &[(":status", "abc")]),
        ends(":status 99", &[(":status", "99")]),
        ends(":status 999", &[(":status", "999")]),
        ends(":status 101", &[(":status", "101")]),
        ends("an unknown pseudo field", &[(":status", "200"), (":forged", "x")]),
        ends("a pseudo field behind others", &[("name", "value"), (":status", "200")]),
        ends("capitals in a name", &[(":status", "200"), ("Name", "value")]),
        ends("connection", &[(":status", "200"), ("connection", "close")]),
        ends("transfer-encoding", &[(":status", "200"), ("transfer-encoding", "chunked")]),
        ends("a name with a space", &[(":status", "200"), ("na me", "x")]),
        ends("CR LF in a value", &[(":status", "200"), ("name", "x\r\nx-request-id: forged")]),
        ends("NUL in a value", &[(":status", "200"), ("name", "x\0y")]),
        ends("an informational head that ends", &[(":status", "103")]),
        GrpcRow::new(
            "more bytes than the length says",
            RULE,
            vec![Send(
                [
                    headers(
                        0,
                        &[
                            (":status", "200"),
                            ("content-type", "application/grpc"),
                            ("content-length", "3"),
                        ],
                    ),
                    message("hi"),
                    trailers("0"),
                ]
                .concat(),
            )],
            DOWN,
        ),
        GrpcRow::new(
            "fewer bytes than the length says",
            RULE,
            vec![Send(
                [
                    headers(
                        0,
                        &[
                            (":status", "200"),
                            ("content-type", "application/grpc"),
                            ("content-length", "30"),
                        ],
                    ),
                    message("hi"),
                    trailers("0"),
                ]
                .concat(),
            )],
            HALF,
        ),
        GrpcRow::new(
            "a large head",
            "RFC 9113 §10.5.1",
            vec![Send(in_pieces(END_STREAM, &[(":status", "200"), ("name", &long)]))],
            DOWN,
        ),
        GrpcRow::new(
            "large trailers",
            "RFC 9113 §10.5.1",
            vec![Send(
                [
                    head(),
                    message("hi"),
                    in_pieces(END_STREAM, &[("grpc-status", "0"), ("name", &long)]),
                ]
                .concat(),
            )],
            HALF,
        ),
    ]
}

fn frames() -> Vec<GrpcRow> {
    const RULE: &str = "RFC 9113 §6";
    let sent =
        |name, bytes: Vec<u8>| GrpcRow::new(name, RULE, vec![Send(bytes), Pause, Close], DOWN);
    let set = |id: u16, value: u32| {
        frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
    };
    vec![
        sent(
            "an index of fields that is not there",
            frame(HEADERS, END_HEADERS | END_STREAM, STREAM, &[0xff, 0xff, 0x7f]),
        ),
        sent(
            "a string that is longer than its block",
            frame(HEADERS, END_HEADERS | END_STREAM, STREAM, &[0, 0x7e, b'x']),
        ),
        sent("a frame beyond the largest", frame(DATA, 0, STREAM, &[0; 16_385])),
        sent(
            "padding that is longer than its frame",
            [head(), frame(DATA, 8, STREAM, &[200, 1])].concat(),
        ),
        sent("RST_STREAM of three bytes", frame(RST_STREAM, 0, STREAM, &[0; 3])),
        sent("RST_STREAM of the connection", frame(RST_STREAM, 0, 0, &[0; 4])),
        sent("SETTINGS of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        sent("SETTINGS of a stream", frame(SETTINGS, 0, STREAM, &[])),
        sent("a window beyond 2^31", set(4, 0xffff_ffff)),
        sent("a frame size of zero", set(5, 0)),
        sent("PING of seven bytes", frame(PING, 0, 0, &[0; 7])),
        sent("WINDOW_UPDATE of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        sent(
            "a window that overflows",
            [
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat(),
        ),
        sent("GOAWAY of four bytes", frame(GOAWAY, 0, 0, &[0; 4])),
        sent(
            "HTTP/1.1 in the place of HTTP/2",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_vec(),
        ),
        sent("garbage", b"this is not HTTP/2, not at all".to_vec()),
    ]
}

fn floods() -> Vec<GrpcRow> {
    const RULE: &str = "RFC 9113 §10.5";
    let ping = frame(PING, 0, 0, &[0; 8]).repeat(1000);
    let fields = block(&[(":status", "103")]);
    vec![
        GrpcRow::new("ten thousand PINGs", RULE, vec![Flood(ping, 10), Send(answer("hi"))], GOOD)
            .reusable(),
        GrpcRow::new(
            "ten thousand SETTINGS",
            RULE,
            vec![Flood(frame(SETTINGS, 0, 0, &[]).repeat(1000), 10), Send(answer("hi"))],
            GOOD,
        )
        .reusable(),
        GrpcRow::new(
            "some empty DATA",
            RULE,
            vec![
                Send(head()),
                Flood(frame(DATA, 0, STREAM, &[]), 10),
                Send([message("hi"), trailers("0")].concat()),
            ],
            GOOD,
        )
        .reusable(),
        GrpcRow::new(
            "empty DATA for ever",
            RULE,
            vec![Send(head()), Flood(frame(DATA, 0, STREAM, &[]).repeat(100), 100_000)],
            DOWN,
        ),
        GrpcRow::new(
            "a hundred informational heads",
            RULE,
            vec![
                Flood(frame(HEADERS, END_HEADERS, STREAM, &fields).repeat(100), 1),
                Send(answer("hi")),
            ],
            GOOD,
        )
        .reusable(),
        GrpcRow::new(
            "informational heads for ever",
            RULE,
            vec![Flood(frame(HEADERS, END_HEADERS, STREAM, &fields).repeat(1000), 100_000)],
            DOWN,
        ),
        GrpcRow::new(
            "a head in pieces for ever",
            RULE,
            vec![
                Send(frame(HEADERS, 0, STREAM, &block(&[(":status", "200")]))),
                Flood(
                    frame(CONTINUATION, 0, STREAM, &block(&[("name", "value")])).repeat(100),
                    100_000,
                ),
            ],
            DOWN,
        ),
        GrpcRow::new(
            "DATA beyond the window",
            "RFC 9113 §6.9",
            vec![Send(head()), Flood(frame(DATA, 0, STREAM, &[0; 16_000]).repeat(10), 10_000)],
            Seen::Broken,
        ),
    ]
}
