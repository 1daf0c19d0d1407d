//! What each kind of flood costs its connection, and what ordinary clients may do.

use super::*;

const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const WHOLE: u8 = END_HEADERS | END_STREAM;

#[test]
fn the_budgets_in_docs_are_those_in_force() {
    const PAGE: &str = include_str!("../../docs/configuration.md");
    let resets = format!("| {} of {WINDOW_REQUESTS} on one connection |", WINDOW_REQUESTS / 2);
    let frames = format!(
        "| {CREDIT_MAX} at once and {CREDIT_PER_SECOND} a second, {CREDIT_OF_REQUEST} more for each \
         request, {CREDIT_OF_DATA} for each frame with payload"
    );
    let meant = format!("reset within {} s", MEANT_AFTER.as_secs());
    for text in [resets, frames, meant] {
        assert!(PAGE.contains(&text), "docs/configuration.md lacks `{text}`");
    }
}

fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(length).unwrap().to_be_bytes();
    let mut bytes = vec![a, b, c, kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.resize(HEAD_BYTES + length, 0);
    bytes
}

/// A connection whose preface has passed.
fn begun() -> Frames {
    let mut frames = Frames::new(100);
    frames.follow(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    frames
}

/// How many of these the connection takes, at most so many.
fn taken(frames: &mut Frames, most: usize, bytes: impl FnMut(u32) -> Vec<u8>) -> usize {
    let streams = (1..).step_by(2).take(most);
    streams.map(bytes).take_while(|b| frames.follow(b).is_ok()).count()
}

#[tokio::test(start_paused = true)]
async fn frames_are_cut_right_wherever_the_bytes_are_split() {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    for stream in [1, 3, 5] {
        bytes.extend(frame(HEADERS, END_HEADERS, stream, 40));
        bytes.extend(frame(DATA, 0, stream, 0));
        bytes.extend(frame(DATA, END_STREAM, stream, 300));
        bytes.extend(frame(PING, 0, 0, 8));
    }
    for size in [1, 2, 7, 9, 10, 24, 33, 1000] {
        let mut frames = Frames::new(100);
        for piece in bytes.chunks(size) {
            frames.follow(piece).unwrap();
        }
        assert_eq!((frames.requests, frames.last_stream), (3, 5), "pieces of {size}");
        assert_eq!(frames.credit, CREDIT_MAX - 1, "pieces of {size}");
        assert!(frames.incoming.is_between_frames());
    }
}

#[tokio::test(start_paused = true)]
async fn early_resets_of_more_than_half_of_a_window_end_the_connection() {
    let mut frames = begun();
    let pair =
        |stream| [frame(HEADERS, WHOLE, stream, 9), frame(RST_STREAM, 0, stream, 4)].concat();
    assert_eq!(taken(&mut frames, 10_000, pair), 250);
    // One reset for each answered request is half, and not more.
    let mut frames = begun();
    let half = |stream| {
        let reset = if stream % 4 == 1 { frame(RST_STREAM, 0, stream, 4) } else { Vec::new() };
        [frame(HEADERS, WHOLE, stream, 9), reset].concat()
    };
    assert_eq!(taken(&mut frames, 10_000, half), 10_000);
}

#[tokio::test(start_paused = true)]
async fn paced_resets_count_and_late_ones_do_not() {
    for (pause_ms, expected) in [(900, 2), (1100, 20)] {
        let mut frames = begun();
        let mut rounds = 0;
        for round in 0..20_u32 {
            let streams = move || (0..100).map(move |n| round * 200 + n * 2 + 1);
            let open: Vec<u8> = streams().flat_map(|s| frame(HEADERS, WHOLE, s, 9)).collect();
            let reset: Vec<u8> = streams().flat_map(|s| frame(RST_STREAM, 0, s, 4)).collect();
            frames.follow(&open).unwrap();
            tokio::time::advance(Duration::from_millis(pause_ms)).await;
            if frames.follow(&reset).is_err() {
                break;
            }
            rounds += 1;
        }
        assert_eq!(rounds, expected, "after {pause_ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_an_answered_stream_is_not_early() {
    let mut frames = begun();
    for stream in (1..20_000).step_by(2) {
        frames.follow(&frame(HEADERS, END_HEADERS, stream, 9)).unwrap();
        frames.sent(&frame(HEADERS, END_HEADERS, stream, 20));
        frames.sent(&frame(DATA, END_STREAM, stream, 5));
        frames.follow(&frame(RST_STREAM, 0, stream, 4)).unwrap();
    }
    assert_eq!(frames.resets, 0);
}

#[tokio::test(start_paused = true)]
async fn frames_without_a_request_have_a_budget_that_time_refills() {
    for kind in [2, 4, PING, WINDOW_UPDATE, DATA, 77] {
        let mut frames = begun();
        let budget = usize::try_from(CREDIT_MAX).unwrap();
        assert_eq!(taken(&mut frames, 100_000, |_| frame(kind, 0, 1, 0)), budget, "kind {kind}");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(taken(&mut frames, 100_000, |_| frame(kind, 0, 1, 0)), 200, "kind {kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_pays_for_its_own_acknowledgements() {
    let mut frames = begun();
    frames.follow(&frame(HEADERS, WHOLE, 1, 9)).unwrap();
    for _ in 0..100_000 {
        frames.sent(&frame(DATA, 0, 1, 16));
        for stream in [0, 1] {
            frames.follow(&frame(WINDOW_UPDATE, 0, stream, 4)).unwrap();
        }
        frames.follow(&frame(PING, 0, 0, 8)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn requests_with_priority_and_settings_go_on_for_ever() {
    let mut frames = begun();
    let request = |stream| {
        let more = [2, 4, PING, WINDOW_UPDATE].map(|kind| frame(kind, 0, 0, 8)).concat();
        [frame(HEADERS, WHOLE, stream, 9), more].concat()
    };
    assert_eq!(taken(&mut frames, 100_000, request), 100_000);
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_head_is_dated_from_its_first_bytes() {
    let whole = frame(HEADERS, END_HEADERS, 1, 40);
    let (part, rest) = whole.split_at(20);
    let mut frames = begun();
    frames.follow(part).unwrap();
    let since = frames.head_since().expect("a part of a payload");
    tokio::time::advance(Duration::from_secs(3)).await;
    frames.follow(&rest[..5]).unwrap();
    assert_eq!(frames.head_since(), Some(since), "a drop does not start it anew");
    frames.follow(&rest[5..]).unwrap();
    assert_eq!(frames.head_since(), None);
    // Without END_HEADERS, until the CONTINUATION that has it is complete.
    frames.follow(&frame(HEADERS, 0, 3, 40)).unwrap();
    assert!(frames.head_since().is_some());
    frames.follow(&frame(CONTINUATION, 0, 3, 0)).unwrap();
    assert!(frames.head_since().is_some());
    let last = frame(CONTINUATION, END_HEADERS, 3, 10);
    frames.follow(&last[..12]).unwrap();
    assert!(frames.head_since().is_some());
    frames.follow(&last[12..]).unwrap();
    assert_eq!(frames.head_since(), None);
    // DATA has a clock of its own.
    frames.follow(&frame(DATA, 0, 3, 40)[..20]).unwrap();
    assert_eq!(frames.head_since(), None);
}

#[tokio::test(start_paused = true)]
async fn the_last_frame_is_put_between_frames_only() {
    let mut frames = begun();
    frames.follow(&frame(HEADERS, WHOLE, 7, 9)).unwrap();
    let answer = frame(DATA, 0, 7, 10);
    frames.sent(&answer[..12]);
    assert_eq!(frames.farewell(), None);
    frames.sent(&answer[12..]);
    let goaway = frames.farewell().unwrap();
    assert_eq!(goaway, [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 11]);
}
