//! The parts of a watch by themselves: cutting, allowance, pauses.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::super::{
    Rhythm,
    fault::Fault,
    rhythm::Allowance,
    split::{LineCutter, ListCutter, MAX_OBJECT_BYTES, Piece},
};

/// The pieces of a text that comes in chunks of this size.
fn cut(text: &str, size: usize) -> Result<Vec<String>, Fault> {
    let mut cutter = ListCutter::default();
    let mut pieces = Vec::new();
    for chunk in text.as_bytes().chunks(size) {
        cutter.push(chunk, |piece| {
            let (kind, bytes) = match piece {
                Piece::Object(bytes) => ("object", bytes),
                Piece::ListMeta(bytes) => ("meta", bytes),
            };
            pieces.push(format!("{kind} {}", String::from_utf8_lossy(bytes)));
            Ok(())
        })?;
    }
    cutter.finish().map(|()| pieces)
}

#[test]
fn a_list_is_cut_into_the_same_objects_however_it_comes_in() {
    let text = r#" {"kind":"items","metadata":{"resourceVersion":"7","items":[{"no":1}]},
        "items" : [ {"a":"}]\"{"}, {"metadata":{"name":"\\"},"items":[{}]} ,{}],
        "other":{"items":[{"no":2}]},"x":[{"no":3}]} "#;
    let pieces = [
        r#"meta {"resourceVersion":"7","items":[{"no":1}]}"#,
        r#"object {"a":"}]\"{"}"#,
        r#"object {"metadata":{"name":"\\"},"items":[{}]}"#,
        "object {}",
    ];
    for size in 1..=text.len() {
        assert_eq!(cut(text, size).expect("a list"), pieces, "chunks of {size}");
    }
}

#[test]
fn the_metadata_may_come_behind_the_items() {
    let text = r#"{"apiVersion":"v1","items":[{}],"kind":"L","metadata":{"resourceVersion":"7"}}"#;
    assert_eq!(cut(text, 5).expect("a list"), ["object {}", r#"meta {"resourceVersion":"7"}"#]);
    assert_eq!(cut(r#"{"items":null,"metadata":{}}"#, 3).expect("a list"), ["meta {}"]);
}

#[test]
fn what_is_no_list_or_only_a_part_of_one_is_refused() {
    for text in ["<html>", "[]", "{}{}", "x", "null"] {
        assert!(matches!(cut(text, 2), Err(Fault::Garbled(_))), "{text}");
    }
    for text in ["", "{", r#"{"items":[{}"#, r#"{"items":[{}],"a":""#] {
        assert!(matches!(cut(text, 2), Err(Fault::Broken(_))), "{text}");
    }
}

#[test]
fn an_object_may_be_as_large_as_the_bound_and_no_larger() {
    let of = |length: usize| {
        let filler = "x".repeat(length - r#"{"a":""}"#.len());
        format!(r#"{{"items":[{{"a":"{filler}"}}]}}"#)
    };
    assert_eq!(cut(&of(MAX_OBJECT_BYTES), 1 << 20).expect("fits").len(), 1);
    assert!(matches!(cut(&of(MAX_OBJECT_BYTES + 1), 1 << 20), Err(Fault::TooLarge(_))));
}

#[test]
fn lines_are_the_same_however_they_come_in() {
    let text = "one\n\ntwo{}\nthree";
    for size in 1..=text.len() {
        let mut cutter = LineCutter::default();
        let mut lines = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            let mut rest = chunk;
            while let Some(line) = cutter.next(&mut rest).expect("short lines") {
                lines.push(String::from_utf8(line).expect("UTF-8"));
            }
        }
        assert_eq!(lines, ["one", "", "two{}"]);
        assert!(cutter.is_cut());
    }
}

#[test]
fn a_line_may_not_be_larger_than_an_object() {
    let mut cutter = LineCutter::default();
    let long = vec![b'x'; MAX_OBJECT_BYTES];
    assert!(cutter.next(&mut long.as_slice()).expect("fits").is_none());
    assert!(matches!(cutter.next(&mut b"x".as_slice()), Err(Fault::TooLarge(_))));
}

#[tokio::test(start_paused = true)]
async fn no_minute_has_more_lists_than_promised() {
    let rhythm = Rhythm::default();
    let mut allowance = Allowance::new(&rhythm);
    let mut times: Vec<Instant> = Vec::new();
    for _ in 0..100 {
        sleep_until(allowance.next()).await;
        allowance.take();
        times.push(Instant::now());
    }
    for from in &times {
        let minute =
            times.iter().filter(|at| **at >= *from && **at - *from < Duration::from_secs(60));
        assert!(minute.count() <= 12);
    }
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= rhythm.list_gap));
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= rhythm.list_every));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_never_arrived_costs_nothing() {
    let mut allowance = Allowance::new(&Rhythm::default());
    for _ in 0..100 {
        assert!(allowance.next() <= Instant::now());
        allowance.take();
        allowance.give_back();
    }
}

#[test]
fn pauses_double_up_to_their_bound() {
    let rhythm = Rhythm::default();
    for (failures, least_ms, most_ms) in [
        (0, 187, 313),
        (1, 187, 313),
        (2, 375, 625),
        (4, 1_500, 2_500),
        (5, 3_000, 5_000),
        (u32::MAX, 3_750, 6_250),
    ] {
        for _ in 0..100 {
            let pause = rhythm.backoff_pause(failures).as_millis();
            assert!((least_ms..=most_ms).contains(&pause), "{failures}: {pause} ms");
        }
    }
}
