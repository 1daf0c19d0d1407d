//! The rows of HTTP/1.1 replicas.

use super::row::{
    Act::{self, Close, Deaf, Drip, Flood, Pause, Read, ReadHead, Reset, Send, Silence},
    Ask, CLOSED, INVALID, LATE, Row,
    Sight::{self, Answer, CutOff, OneOf, Refused},
};

const HI: Sight = Answer(200, "hi");
/// A complete answer.
const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
/// A second one that nobody has asked for.
const FORGED: &str = "HTTP/1.1 200 OK\r\nx-request-id: forged\r\ncontent-length: 6\r\n\r\nforged";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// 200 with these lines of framing, and what follows the head.
fn framed(fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}").into_bytes()
}

/// This status line, with a body of two bytes.
fn status(line: &str) -> Vec<u8> {
    format!("{line}\r\ncontent-length: 2\r\n\r\nhi").into_bytes()
}

pub(crate) fn rows() -> Vec<Row> {
    [
        lengths(),
        codings(),
        without_body(),
        behind_the_end(),
        informational(),
        status_lines(),
        fields(),
        limits(),
        forgeries(),
        truncations(),
        bad_chunks(),
        early(),
        silences(),
        resets(),
    ]
    .concat()
}

fn lengths() -> Vec<Row> {
    const RULE: &str = "RFC 9112 §6.3";
    let bad = |name, value: &str| {
        Row::answer(name, RULE, framed(&format!("content-length: {value}\r\n"), "hi"), INVALID)
    };
    vec![
        Row::answer("one length", RULE, WHOLE, HI).reusable(),
        Row::answer(
            "two equal lengths",
            "RFC 9110 §8.6",
            framed("content-length: 2\r\ncontent-length: 2\r\n", "hi"),
            HI,
        )
        .reusable(),
        Row::answer(
            "a list of equal lengths",
            "RFC 9110 §8.6",
            framed("content-length: 2, 2\r\n", "hi"),
            HI,
        )
        .reusable(),
        Row::answer(
            "a length with zeros before it",
            "RFC 9110 §8.6",
            framed("content-length: 0002\r\n", "hi"),
            HI,
        )
        .reusable(),
        Row::answer(
            "two lengths that differ",
            RULE,
            framed("content-length: 2\r\ncontent-length: 3\r\n", "hi!"),
            INVALID,
        ),
        Row::answer(
            "two lengths, the shorter last",
            RULE,
            framed("content-length: 3\r\ncontent-length: 2\r\n", "hi!"),
            INVALID,
        ),
        bad("a list of lengths that differ", "2, 3"),
        bad("a negative length", "-2"),
        bad("a length with a sign", "+2"),
        bad("a hexadecimal length", "0x2"),
        bad("a length of two words", "2 2"),
        bad("an empty length", ""),
        bad("a length with a fraction", "2.0"),
        bad("a length of letters", "two"),
        bad("a length of 2^64", "18446744073709551616"),
        bad("a length of thirty digits", "100000000000000000000000000000"),
        bad("a length and a comma", "2,"),
    ]
}

fn codings() -> Vec<Row> {
    const RULE: &str = "RFC 9112 §6.1";
    let chunks = "2\r\nhi\r\n0\r\n\r\n";
    let bad = |name, value: &str| {
        let head = framed(&format!("transfer-encoding: {value}\r\n"), chunks);
        Row::answer(name, RULE, head, INVALID).then(Close)
    };
    let both = "content-length: 3\r\ntransfer-encoding: chunked\r\n";
    let reverse = "transfer-encoding: chunked\r\ncontent-length: 3\r\n";
    vec![
        Row::answer("chunked", RULE, framed("transfer-encoding: chunked\r\n", chunks), HI)
            .reusable(),
        Row::answer(
            "chunked in capitals",
            "RFC 9112 §7",
            framed("transfer-encoding: ChunKed\r\n", chunks),
            HI,
        )
        .reusable(),
        Row::answer("a length and chunked", "RFC 9112 §6.3", framed(both, chunks), HI),
        Row::answer("chunked and a length", "RFC 9112 §6.3", framed(reverse, chunks), HI),
        Row::answer(
            "two lengths and chunked",
            "RFC 9112 §6.3",
            framed(&format!("content-length: 1\r\n{both}"), chunks),
            HI,
        ),
        bad("coding identity", "identity"),
        bad("coding gzip", "gzip"),
        bad("coding gzip before chunked", "gzip, chunked"),
        bad("coding chunked before identity", "chunked, identity"),
        bad("coding chunked twice", "chunked, chunked"),
        bad("coding chunked in two fields", "chunked\r\ntransfer-encoding: chunked"),
        bad("coding identity and chunked in two fields", "identity\r\ntransfer-encoding: chunked"),
        bad("coding xchunked", "xchunked"),
        bad("coding chunked with a parameter", "chunked;q=1"),
        bad("coding chunked in quotes", "\"chunked\""),
        bad("coding of nothing", ""),
        bad("coding with a vertical tab", "\x0bchunked"),
        Row::answer(
            "chunked in HTTP/1.0",
            RULE,
            format!("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"),
            INVALID,
        )
        .then(Close),
        Row::answer("a body that the close ends", "RFC 9112 §6.3", framed("", "hi"), HI)
            .then(Pause)
            .then(Close),
        Row::answer(
            "an HTTP/1.0 body that the close ends",
            "RFC 9112 §6.3",
            "HTTP/1.0 200 OK\r\n\r\nhi",
            HI,
        )
        .then(Close),
        Row::answer("a body that a reset ends", "RFC 9112 §8", framed("", "hi"), CutOff(200))
            .then(Pause)
            .then(Reset),
        Row::answer(
            "HTTP/1.0 with a length",
            "RFC 9112 §9.3",
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            HI,
        ),
        Row::answer(
            "an answer that is the last",
            "RFC 9112 §9.6",
            framed("connection: close\r\ncontent-length: 2\r\n", "hi"),
            HI,
        ),
        Row::answer(
            "close among others",
            "RFC 9112 §9.6",
            framed("connection: foo, Close\r\ncontent-length: 2\r\n", "hi"),
            HI,
        ),
    ]
}

fn without_body() -> Vec<Row> {
    const RULE: &str = "RFC 9112 §6.3";
    vec![
        Row::answer("204", RULE, "HTTP/1.1 204 No Content\r\n\r\n", Answer(204, "")).reusable(),
        Row::answer(
            "304 with the length of what is left out",
            "RFC 9110 §15.4.5",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 500\r\n\r\n",
            Answer(304, ""),
        )
        .reusable(),
        Row::answer(
            "204 with a length and a body",
            "RFC 9110 §8.6",
            "HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\nforged",
            Answer(204, ""),
        ),
        Row::answer(
            "204 with chunks",
            RULE,
            "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            Answer(204, ""),
        ),
        Row::answer(
            "304 with a body",
            RULE,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\nforged",
            Answer(304, ""),
        ),
        Row::answer(
            "HEAD",
            "RFC 9110 §9.3.2",
            "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n",
            Answer(200, ""),
        )
        .asked(Ask::Head)
        .reusable(),
        Row::answer(
            "HEAD with a body",
            RULE,
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged",
            Answer(200, ""),
        )
        .asked(Ask::Head),
        Row::answer(
            "HEAD with a whole answer behind",
            RULE,
            format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n{FORGED}"),
            Answer(200, ""),
        )
        .asked(Ask::Head),
    ]
}

fn behind_the_end() -> Vec<Row> {
    const RULE: &str = "RFC 9112 §11.1";
    let behind = |name, bytes: &str| Row::answer(name, RULE, format!("{WHOLE}{bytes}"), HI);
    vec![
        behind("an answer behind the answer", FORGED),
        behind("ten answers behind the answer", &FORGED.repeat(10)),
        behind("a line feed behind the answer", "\n"),
        behind("an empty line behind the answer", "\r\n"),
        behind("a letter behind the answer", "x"),
        behind("100 behind the answer", "HTTP/1.1 100 Continue\r\n\r\n"),
        behind("half an answer behind the answer", "HTTP/1.1 200 OK\r\nx-request-id: for"),
        Row::answer(
            "an answer behind the chunks",
            RULE,
            format!("{CHUNKED}2\r\nhi\r\n0\r\n\r\n{FORGED}"),
            HI,
        ),
        Row::answer(
            "an answer behind an empty one",
            RULE,
            format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n{FORGED}"),
            Answer(200, ""),
        ),
        Row::answer(
            "an answer behind 204",
            RULE,
            format!("HTTP/1.1 204 No Content\r\n\r\n{FORGED}"),
            Answer(204, ""),
        ),
    ]
}

fn informational() -> Vec<Row> {
    const RULE: &str = "RFC 9110 §15.2";
    let before =
        |name, bytes: &str| Row::answer(name, RULE, format!("{bytes}{WHOLE}"), HI).reusable();
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let switch = |fields: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
    let asked = |name, fields: &str| {
        Row::answer(name, "RFC 9110 §7.8", switch(fields), INVALID).asked(Ask::Upgrade)
    };
    vec![
        before("100 that nobody asked for", go_on),
        before("102", "HTTP/1.1 102 Processing\r\n\r\n"),
        before(
            "103 with fields",
            "HTTP/1.1 103 Early Hints\r\nlink: </forged>\r\nx-request-id: forged\r\n\r\n",
        ),
        before("199 with a length", "HTTP/1.1 199 Odd\r\ncontent-length: 0\r\n\r\n"),
        before("a thousand times 100", &go_on.repeat(1000)),
        Row::answer("100 for ever", RULE, "", INVALID)
            .then(Flood(go_on.repeat(100).into(), 10_000)),
        Row::answer("103 with large fields for ever", RULE, "", INVALID).then(Flood(
            format!("HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n", "x".repeat(10_000)).into(),
            10_000,
        )),
        Row::answer("100 and the end", RULE, go_on, INVALID).then(Pause).then(Close),
        Row::answer(
            "101 that nobody asked for",
            "RFC 9110 §7.8",
            switch("connection: upgrade\r\nupgrade: websocket\r\n"),
            INVALID,
        ),
        Row::answer("101 without a field", "RFC 9110 §7.8", switch(""), INVALID),
        Row::answer(
            "101 and an answer",
            "RFC 9110 §7.8",
            format!("{}{FORGED}", switch("connection: upgrade\r\nupgrade: foo\r\n")),
            INVALID,
        ),
        asked("101 to another protocol", "connection: upgrade\r\nupgrade: h2c\r\n"),
        asked("101 to several protocols", "connection: upgrade\r\nupgrade: websocket, h2c\r\n"),
        asked("101 to none", "connection: upgrade\r\n"),
        asked("101 that does not say upgrade", "connection: close\r\nupgrade: websocket\r\n"),
        Row::answer("an upgrade that is declined", "RFC 9110 §7.8", WHOLE, HI).asked(Ask::Upgrade),
    ]
}

fn status_lines() -> Vec<Row> {
    const RULE: &str = "RFC 9112 §4";
    let bad = |name, line: &str| Row::answer(name, RULE, status(line), INVALID);
    vec![
        Row::answer("no reason phrase", RULE, status("HTTP/1.1 200 "), HI).reusable(),
        Row::answer("no space before no reason phrase", RULE, status("HTTP/1.1 200"), HI)
            .reusable(),
        Row::answer("another reason phrase", RULE, status("HTTP/1.1 200 Odd"), HI).reusable(),
        Row::answer("status 599", "RFC 9110 §15", status("HTTP/1.1 599 Odd"), Answer(599, "hi"))
            .reusable(),
        bad("status 600", "HTTP/1.1 600 Odd"),
        bad("status 999", "HTTP/1.1 999 Odd"),
        bad("status 099", "HTTP/1.1 099 Odd"),
        bad("status 000", "HTTP/1.1 000 Odd"),
        bad("status 20", "HTTP/1.1 20 OK"),
        bad("status 2000", "HTTP/1.1 2000 OK"),
        bad("status abc", "HTTP/1.1 abc OK"),
        bad("status -1", "HTTP/1.1 -1 OK"),
        bad("no status", "HTTP/1.1 OK"),
        bad("HTTP/0.9", "HTTP/0.9 200 OK"),
        bad("HTTP/1.2", "HTTP/1.2 200 OK"),
        bad("HTTP/2.0", "HTTP/2.0 200 OK"),
        bad("http/1.1 in small letters", "http/1.1 200 OK"),
        bad("ICY", "ICY 200 OK"),
        bad("a space before the status line", " HTTP/1.1 200 OK"),
        bad("a reason phrase with NUL", "HTTP/1.1 200 O\0K"),
        Row::answer("HTTP/0.9 without a head", RULE, "<html>hi</html>", INVALID).then(Close),
        Row::answer("garbage", RULE, "this is not HTTP\r\n\r\n", INVALID),
        Row::answer("zeros", RULE, vec![0; 1000], INVALID),
        Row::answer("a TLS alert", RULE, b"\x15\x03\x01\x00\x02\x02\x46".to_vec(), INVALID)
            .then(Close),
        Row::answer("an SSH banner", RULE, "SSH-2.0-OpenSSH_9.6\r\n", INVALID),
        Row::answer("HTTP/2 SETTINGS", RULE, b"\0\0\0\x04\0\0\0\0\0".to_vec(), INVALID).then(Close),
        Row::answer("a request", RULE, "GET / HTTP/1.1\r\nhost: x\r\n\r\n", INVALID),
    ]
}

fn fields() -> Vec<Row> {
    const RULE: &str = "RFC 9112 §5";
    let bad = |name, field: &str| {
        Row::answer(name, RULE, framed(&format!("{field}\r\ncontent-length: 2\r\n"), "hi"), INVALID)
    };
    vec![
        bad("a space in a name", "bad name: x"),
        bad("a space before the colon", "name : x"),
        bad("a folded value", "name: x\r\n y"),
        bad("no colon", "name"),
        bad("no name", ": x"),
        bad("NUL in a value", "name: x\0y"),
        bad("NUL in a name", "na\0me: x"),
        bad("CR in a value", "name: x\ry"),
        bad("a bell in a value", "name: \x07"),
        bad("a line of spaces", " "),
        Row::answer(
            "a folded first line",
            RULE,
            "HTTP/1.1 200 OK\r\n x: y\r\ncontent-length: 2\r\n\r\nhi",
            INVALID,
        ),
        Row::answer("an empty value", RULE, framed("name:\r\ncontent-length: 2\r\n", "hi"), HI)
            .reusable(),
        Row::answer(
            "a value beyond ASCII",
            "RFC 9110 §5.5",
            framed("name: \u{e9}\r\ncontent-length: 2\r\n", "hi"),
            HI,
        )
        .reusable(),
        Row::answer(
            "line feeds alone",
            "RFC 9112 §2.2",
            "HTTP/1.1 200 OK\ncontent-length: 2\n\nhi",
            HI,
        )
        .reusable(),
    ]
}

fn limits() -> Vec<Row> {
    const RULE: &str = "RFC 9110 §5.4";
    let many = |count: usize| {
        let fields: Vec<String> = (0..count).map(|at| format!("x-{at}: y\r\n")).collect();
        let fields = fields.concat();
        framed(&format!("{fields}content-length: 2\r\n"), "hi")
    };
    vec![
        Row::answer("127 fields and a length", RULE, many(127), HI).reusable(),
        Row::answer("128 fields and a length", RULE, many(128), INVALID),
        Row::answer("ten thousand fields", RULE, many(10_000), INVALID),
        Row::answer(
            "a value of 64 KiB",
            RULE,
            framed(&format!("x: {}\r\ncontent-length: 2\r\n", "y".repeat(64 * 1024)), "hi"),
            HI,
        )
        .reusable(),
        Row::answer(
            "a value of 1 MiB",
            RULE,
            framed(&format!("x: {}\r\ncontent-length: 2\r\n", "y".repeat(1024 * 1024)), "hi"),
            INVALID,
        ),
        Row::answer("fields for ever", RULE, "HTTP/1.1 200 OK\r\n", INVALID)
            .then(Flood(format!("x: {}\r\n", "y".repeat(1000)).into(), 100_000)),
        Row::answer("one field for ever", RULE, "HTTP/1.1 200 OK\r\nx: ", INVALID)
            .then(Flood("y".repeat(10_000).into(), 10_000)),
        Row::answer("a status line for ever", "RFC 9112 §4", "HTTP/1.1 200 ", INVALID)
            .then(Flood("y".repeat(10_000).into(), 10_000)),
        Row::answer("empty lines for ever", "RFC 9112 §2.2", "", INVALID)
            .then(Flood("\r\n".repeat(5_000).into(), 10_000)),
    ]
}

fn forgeries() -> Vec<Row> {
    const RULE: &str = "RFC 9110 §7.6.1";
    let with = |name, fields: &str| {
        Row::answer(name, RULE, framed(&format!("{fields}content-length: 2\r\n"), "hi"), HI)
            .reusable()
    };
    let trailers = "x-request-id: forged\r\nx-modelway-source: forged\r\nname: forged\r\n";
    vec![
        with("a forged id", "x-request-id: forged\r\nx-ms-request-id: forged\r\n"),
        with("two forged ids", "x-request-id: forged\r\nX-Request-ID: forged\r\n"),
        with("fields of the router", "x-modelway-source: forged\r\nx-modelway-version: forged\r\nX-ModelWay-Other: forged\r\n"),
        with("fields that the connection lists", "connection: name\r\nname: forged\r\n"),
        with("fields of one connection", "keep-alive: forged, timeout=5\r\nproxy-connection: forged\r\nproxy-authorization: forged\r\nte: forged\r\ntrailer: forged\r\n"),
        with("an offer to upgrade", "connection: upgrade\r\nupgrade: forged\r\n"),
        with("a connection that lists ids", "connection: x-request-id, x-modelway-version\r\n"),
        with("a connection that lists the length", "connection: content-length\r\n"),
        Row::answer("trailers", "RFC 9110 §6.5.1", format!("HTTP/1.1 200 OK\r\ntrailer: x-request-id\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{trailers}\r\n"), HI).reusable(),
    ]
}

fn truncations() -> Vec<Row> {
    const RULE: &str = "RFC 9112 §8";
    let cut = |name, bytes: Vec<u8>, act| {
        Row::answer(name, RULE, bytes, CutOff(200)).then(Pause).then(act)
    };
    let chunks = |body: &str| format!("{CHUNKED}{body}").into_bytes();
    let long = || framed("content-length: 100\r\n", "half");
    vec![
        cut("a length, a part and the end", long(), Close),
        cut("a length, a part and a reset", long(), Reset),
        cut("a length, nothing and the end", framed("content-length: 100\r\n", ""), Close),
        cut("a length, nothing and a reset", framed("content-length: 100\r\n", ""), Reset),
        cut("all but one byte", framed("content-length: 5\r\n", "half"), Close),
        cut("the end instead of the first chunk", chunks(""), Close),
        cut("the end between chunks", chunks("4\r\nhalf\r\n"), Close),
        cut("a reset between chunks", chunks("4\r\nhalf\r\n"), Reset),
        cut("the end in a chunk", chunks("9\r\nhalf"), Close),
        cut("the end in the size of a chunk", chunks("4\r\nhalf\r\n4"), Close),
        cut("the end before the line behind a chunk", chunks("4\r\nhalf"), Close),
        cut("the end in the last chunk", chunks("4\r\nhalf\r\n0\r\n"), Close),
        cut("the end in the trailers", chunks("4\r\nhalf\r\n0\r\nname: val"), Close),
    ]
}

fn bad_chunks() -> Vec<Row> {
    const RULE: &str = "RFC 9112 §7.1";
    let bad = |name, body: &str| {
        Row::answer(name, RULE, format!("{CHUNKED}4\r\ngood\r\n{body}"), CutOff(200))
            .then(Pause)
            .then(Close)
    };
    let endless = |name, begin: &str, more: &str| {
        Row::answer(name, RULE, format!("{CHUNKED}4\r\ngood\r\n{begin}"), CutOff(200))
            .then(Flood(more.repeat(1000).into(), 10_000))
    };
    vec![
        Row::answer(
            "an extension of a chunk",
            "RFC 9112 §7.1.1",
            format!("{CHUNKED}2;name=value\r\nhi\r\n0;x\r\n\r\n"),
            HI,
        )
        .reusable(),
        Row::answer(
            "zeros before the size",
            RULE,
            format!("{CHUNKED}0002\r\nhi\r\n000\r\n\r\n"),
            HI,
        )
        .reusable(),
        bad("a size of letters", "zz\r\n"),
        bad("a negative size", "-2\r\nhi\r\n0\r\n\r\n"),
        bad("a size with a sign", "+2\r\nhi\r\n0\r\n\r\n"),
        bad("a size with 0x", "0x2\r\nhi\r\n0\r\n\r\n"),
        bad("a size of 2^64", "10000000000000000\r\nhi\r\n0\r\n\r\n"),
        bad("a size of thirty digits", "fffffffffffffffffffffffffffffff\r\nhi\r\n"),
        bad("no size", "\r\nhi\r\n0\r\n\r\n"),
        bad("a chunk that is longer than its size", "1\r\nhi\r\n0\r\n\r\n"),
        bad("a chunk that is shorter than its size", "3\r\nhi\r\n0\r\n\r\n"),
        bad("a bare line feed behind the size", "2\nhi\r\n0\r\n\r\n"),
        bad("a bare return behind the size", "2\rhi\r\n0\r\n\r\n"),
        bad("a space before the size", " 2\r\nhi\r\n0\r\n\r\n"),
        bad("an answer instead of a chunk", FORGED),
        endless("an extension for ever", "2;name=", "x"),
        endless("trailers for ever", "0\r\n", "name: value\r\n"),
    ]
}

fn early() -> Vec<Row> {
    const RULE: &str = "RFC 9112 §9.5";
    let busy = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nbusy";
    let on_upload = |name, acts, sight| Row::of(name, RULE, acts, sight).asked(Ask::Upload);
    let bytes = || Send(busy.into());
    vec![
        on_upload(
            "an answer before the upload is read, and silence",
            vec![ReadHead, bytes(), Silence],
            Answer(429, "busy"),
        ),
        on_upload(
            "an answer before the upload is read, and the end",
            vec![ReadHead, bytes(), Pause, Close],
            OneOf(vec![Answer(429, "busy"), CLOSED, INVALID]),
        ),
        on_upload("the end before the upload is read", vec![ReadHead, Pause, Close], CLOSED),
        on_upload("a reset before the upload is read", vec![ReadHead, Pause, Reset], CLOSED),
        on_upload(
            "half a head before the upload is read",
            vec![ReadHead, Send("HTTP/1.1 2".into()), Pause, Reset],
            OneOf(vec![INVALID, CLOSED]),
        ),
        Row::of(
            "an answer before the request",
            "RFC 9112 §9.3.2",
            vec![Send(WHOLE.into()), Close],
            OneOf(vec![HI, CLOSED, INVALID]),
        ),
        Row::of(
            "garbage before the request",
            "RFC 9112 §9.3.2",
            vec![Send("garbage\r\n\r\n".into()), Pause, Close],
            OneOf(vec![CLOSED, INVALID]),
        ),
    ]
}

fn silences() -> Vec<Row> {
    const RULE: &str = "RFC 9110 §15.6.5";
    let after = |name, acts: Vec<Act>, sight| Row::of(name, RULE, acts, sight).then(Silence);
    let sent = |bytes: &str| vec![Read, Send(bytes.into())];
    vec![
        after("silence instead of reading", vec![], LATE),
        after("silence after the request", vec![Read], LATE),
        after("silence in the status line", sent("HTTP/1.1 20"), LATE),
        after("silence in the head", sent("HTTP/1.1 200 OK\r\ncontent-le"), LATE),
        after("silence after 100", sent("HTTP/1.1 100 Continue\r\n\r\n"), LATE),
        after(
            "silence after the head",
            sent("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
            CutOff(200),
        ),
        after(
            "silence in the body",
            sent("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
            CutOff(200),
        ),
        after("silence in a chunk", sent(&format!("{CHUNKED}9\r\nhalf")), CutOff(200)),
        after(
            "silence instead of the last chunk",
            sent(&format!("{CHUNKED}4\r\nhalf\r\n")),
            CutOff(200),
        ),
        after(
            "silence in a stream",
            sent("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: x\n\n"),
            CutOff(200),
        ),
        Row::of(
            "a head that drips",
            RULE,
            vec![Read, Drip(status(&format!("HTTP/1.1 200 {}", "x".repeat(1000))))],
            LATE,
        ),
        Row::of(
            "the size of a chunk that drips",
            RULE,
            vec![Read, Send(CHUNKED.into()), Drip(vec![b'0'; 1000])],
            CutOff(200),
        ),
        Row::of(
            "a body that drips",
            RULE,
            vec![
                Read,
                Send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".to_vec()),
                Drip(vec![b'x'; 1000]),
            ],
            CutOff(200),
        ),
        Row::of(
            "an upload that nobody reads",
            RULE,
            vec![ReadHead, Deaf],
            Refused(408, "client_timeout"),
        )
        .asked(Ask::Upload),
    ]
}

fn resets() -> Vec<Row> {
    const RULE: &str = "RFC 9112 §9.6";
    // Where the end comes before the request was sent, the connection counts as not made, and another
    // one is tried.
    let early = OneOf(vec![CLOSED, Answer(200, "clean")]);
    vec![
        Row::of("the end instead of reading", RULE, vec![Close], early.clone()),
        Row::of("a reset instead of reading", RULE, vec![Reset], early),
        Row::of("the end after the request", RULE, vec![Read, Close], CLOSED),
        Row::of("a reset after the request", RULE, vec![Read, Reset], CLOSED),
        Row::answer("the end in the status line", RULE, "HTTP/1.1 20", INVALID).then(Close),
        Row::answer("a reset in the status line", RULE, "HTTP/1.1 20", INVALID)
            .then(Pause)
            .then(Reset),
        Row::answer("the end in the head", RULE, "HTTP/1.1 200 OK\r\ncontent-le", INVALID)
            .then(Close),
        Row::answer("a reset in the head", RULE, "HTTP/1.1 200 OK\r\ncontent-le", INVALID)
            .then(Pause)
            .then(Reset),
        Row::answer("the end behind the answer", RULE, WHOLE, HI).then(Close),
    ]
}
