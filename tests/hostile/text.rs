//! The bytes of a case: escapes, placeholders and fillers (`README.md`).

use std::collections::BTreeMap;

/// What the placeholders of a case stand for.
pub(crate) type Names = BTreeMap<&'static str, String>;

/// The bytes of these lines, each ended with CR LF unless it ends with a backslash.
pub(crate) fn bytes_of(lines: &[String], names: &Names) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut fill = None;
    for line in lines {
        let (line, ends) = without_continuation(line);
        if let Some(size) = line.strip_prefix("{fill ").and_then(|rest| rest.strip_suffix('}')) {
            let size = size.parse::<usize>().map_err(|_| format!("no size: {line}"))?;
            fill = Some((bytes.len(), size));
            continue;
        }
        bytes.extend(expanded(line, names)?);
        if ends {
            bytes.extend_from_slice(b"\r\n");
        }
    }
    match fill {
        None => Ok(bytes),
        Some((at, size)) => filled(&bytes, at, size),
    }
}

/// The line, and whether CR LF follows it.
fn without_continuation(line: &str) -> (&str, bool) {
    let slashes = line.bytes().rev().take_while(|b| *b == b'\\').count();
    match line.strip_suffix('\\') {
        Some(rest) if slashes % 2 == 1 => (rest, false),
        _ => (line, true),
    }
}

/// Puts fields into the first head, so that it has `size` bytes.
fn filled(bytes: &[u8], at: usize, size: usize) -> Result<Vec<u8>, String> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or("no head to fill")?;
    let mut left = size.checked_sub(end + 4).ok_or("the head is over the size already")?;
    let mut fields = Vec::with_capacity(left);
    let mut number = 0;
    while left > 0 {
        let length = if left > 8192 { 4096 } else { left };
        let name = format!("x-fill-{number:02}: ");
        let value = length.checked_sub(name.len() + 2).ok_or("too little room for a field")?;
        fields.extend_from_slice(name.as_bytes());
        fields.resize(fields.len() + value, b'v');
        fields.extend_from_slice(b"\r\n");
        left -= length;
        number += 1;
    }
    Ok([&bytes[..at], &fields, &bytes[at..]].concat())
}

/// One line with its placeholders and escapes resolved.
pub(crate) fn expanded(line: &str, names: &Names) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let tail = &rest[first.len_utf8()..];
        match first {
            '{' => {
                let (inner, behind) =
                    tail.split_once('}').ok_or_else(|| format!("'{{' without '}}': {line}"))?;
                bytes.extend(placeholder(inner, names)?);
                rest = behind;
            }
            '\\' => {
                let (byte, behind) = escape(tail).ok_or_else(|| format!("bad escape: {line}"))?;
                bytes.push(byte);
                rest = behind;
            }
            other => {
                bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                rest = tail;
            }
        }
    }
    Ok(bytes)
}

fn escape(tail: &str) -> Option<(u8, &str)> {
    let sign = tail.chars().next()?;
    let behind = &tail[sign.len_utf8()..];
    Some(match sign {
        'r' => (b'\r', behind),
        'n' => (b'\n', behind),
        't' => (b'\t', behind),
        's' => (b' ', behind),
        '0' => (0, behind),
        '\\' => (b'\\', behind),
        'x' => (u8::from_str_radix(behind.get(..2)?, 16).ok()?, &behind[2..]),
        _ => return None,
    })
}

fn placeholder(inner: &str, names: &Names) -> Result<Vec<u8>, String> {
    if let Some(value) = names.get(inner) {
        return Ok(value.clone().into_bytes());
    }
    if let Some(count) = inner.strip_prefix("fields ").and_then(|n| n.parse::<usize>().ok()) {
        return Ok((1..=count).flat_map(|n| format!("x-{n}: v\r\n").into_bytes()).collect());
    }
    if let Some(length) = inner.strip_prefix("target ").and_then(|n| n.parse::<usize>().ok()) {
        let before = names.get("path").map_or(0, String::len) + 1;
        return Ok(vec![b'q'; length.saturating_sub(before)]);
    }
    if let Some((text, count)) = inner.rsplit_once('*')
        && let Ok(count) = count.parse::<usize>()
    {
        let once = names.get(text).map(|value| value.clone().into_bytes());
        return Ok(once.map_or_else(|| expanded(text, names), Ok)?.repeat(count));
    }
    Err(format!("unknown placeholder {{{inner}}}"))
}

#[test]
fn lines_become_the_bytes_that_the_readme_says() {
    let names = Names::from([("path", "/p".to_owned())]);
    let of = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        bytes_of(&lines, &names)
    };
    assert_eq!(
        of(&["GET {path}", "a:\\sb\\x41\\0\\\\", "x\\"]).unwrap(),
        b"GET /p\r\na: bA\0\\\r\nx"
    );
    assert_eq!(of(&["{ab*3}{fields 2}\\"]).unwrap(), b"abababx-1: v\r\nx-2: v\r\n");
    assert!(of(&["{nobody}"]).is_err() && of(&["\\q"]).is_err() && of(&["{open"]).is_err());
    for size in [100, 8_300, 65_536] {
        let head =
            of(&["GET / HTTP/1.1", "{fill SIZE}".replace("SIZE", &size.to_string()).as_str(), ""]);
        assert_eq!(head.unwrap().len(), size);
    }
}
