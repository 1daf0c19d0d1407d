//! As much of HPACK as the suite needs (RFC 7541): literals out; literals, the static table and
//! Huffman codes in. The router is told to use no dynamic table.

/// A field as a literal without indexing and without Huffman code: every byte as it is.
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut block = vec![0];
    for text in [name, value] {
        integer(text.len(), 7, 0, &mut block);
        block.extend_from_slice(text);
    }
    block
}

fn integer(value: usize, bits: u32, first: u8, block: &mut Vec<u8>) {
    let most = (1_usize << bits) - 1;
    if value < most {
        block.push(first | u8::try_from(value).expect("less than seven bits"));
        return;
    }
    block.push(first | u8::try_from(most).expect("at most seven bits"));
    let mut rest = value - most;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("seven bits") | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("seven bits"));
}

/// The fields of a block; `None` where it is not one, or needs a dynamic table.
pub(crate) fn decode(mut block: &[u8]) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    while let Some(first) = block.first().copied() {
        if first & 0x80 != 0 {
            let (name, value) = STATIC.get(number(&mut block, 7)?.checked_sub(1)?)?;
            fields.push(((*name).to_owned(), (*value).to_owned()));
        } else if first & 0xe0 == 0x20 {
            // A new size of the dynamic table.
            number(&mut block, 5)?;
        } else {
            let index = number(&mut block, if first & 0x40 == 0 { 4 } else { 6 })?;
            let name = match index.checked_sub(1) {
                None => string(&mut block)?,
                Some(index) => STATIC.get(index)?.0.to_owned(),
            };
            fields.push((name, string(&mut block)?));
        }
    }
    Some(fields)
}

fn number(block: &mut &[u8], bits: u32) -> Option<usize> {
    let (first, mut rest) = block.split_first()?;
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(*first) & most;
    if value == most {
        for shift in (0..28).step_by(7) {
            let (byte, behind) = rest.split_first()?;
            rest = behind;
            value += usize::from(*byte & 127) << shift;
            if byte & 128 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Some(value)
}

fn string(block: &mut &[u8]) -> Option<String> {
    let coded = block.first()? & 128 != 0;
    let length = number(block, 7)?;
    let (text, rest) = block.split_at_checked(length)?;
    *block = rest;
    let text = if coded { huffman(text)? } else { text.to_owned() };
    String::from_utf8(text).ok()
}

/// The code is canonical (RFC 7541, appendix B): within a length the codes go up with the symbols, and
/// so the lengths alone make it.
fn huffman(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let (mut code, mut length, mut first) = (0_u32, 0_usize, 0_u32);
    for bit in text.iter().flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1))) {
        (code, length) = (code << 1 | bit, length + 1);
        first <<= 1;
        let symbols = SYMBOLS.get(length)?;
        let count = u32::try_from(symbols.len()).ok()?;
        if code.checked_sub(first)? < count {
            decoded.push(symbols[usize::try_from(code - first).ok()?]);
            (code, length, first) = (0, 0, 0);
        } else {
            first += count;
        }
    }
    // What is left is padding: the beginning of a code of ones.
    (length < 8 && code == (1 << length) - 1).then_some(decoded)
}

/// The symbols by the length of their codes, as far as they stand in fields: printable ASCII.
const SYMBOLS: [&[u8]; 16] = [
    b"",
    b"",
    b"",
    b"",
    b"",
    b"012aceiost",
    b" %-./3456789=A_bdfghlmnpru",
    b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    b"&*,;XZ",
    b"",
    b"!\"()?",
    b"'+|",
    b"#>",
    b"\0$@[]~",
    b"^}",
    b"<`{",
];

/// RFC 7541, appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[test]
fn the_examples_of_the_rfc_are_read() {
    // RFC 7541, C.4.1 and C.6.1 without their additions to the dynamic table.
    let block = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
    let fields = decode(block).unwrap();
    let last = fields.last().map(|(name, value)| (name.as_str(), value.as_str()));
    assert_eq!((fields.len(), last), (4, Some((":authority", "www.example.com"))));
    let fields = decode(b"\x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b").unwrap();
    let texts: Vec<&str> = fields.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(texts, ["302", "private"]);
    for length in [0, 126, 127, 128, 70_000] {
        let value = "v".repeat(length);
        let block = literal(b"name", value.as_bytes());
        assert_eq!(decode(&block), Some(vec![("name".to_owned(), value)]));
    }
    assert_eq!(decode(b"\xff"), None);
}
