//! Texts of others and lists of them, made to fit.

use std::fmt::Write as _;

const ELLIPSIS: &str = "…";
/// Room for `; … and 4294967295 more`.
const REST_BYTES: usize = 32;

/// The text, cut at a character to at most so many bytes; an ellipsis shows the cut.
pub(in super::super) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let room = bytes_max.saturating_sub(ELLIPSIS.len());
        let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(ELLIPSIS);
    }
    text
}

/// The text on one line, cut to at most so many bytes.
pub(in super::super) fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.len() > bytes_max {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    cut(line, bytes_max)
}

/// The texts with semicolons between them, in at most so many bytes. What does not fit is counted;
/// the first text is always there, cut if it must be.
pub(in super::super) fn listed<'a>(
    texts: impl ExactSizeIterator<Item = &'a str>,
    bytes_max: usize,
) -> String {
    let total = texts.len();
    let mut list = String::new();
    for (at, text) in texts.enumerate() {
        let is_last = at + 1 == total;
        let room = bytes_max.saturating_sub(if is_last { 0 } else { REST_BYTES });
        if at == 0 {
            list = one_line(text, room);
            continue;
        }
        let text = one_line(text, bytes_max);
        if list.len() + "; ".len() + text.len() > room {
            write!(list, "; {ELLIPSIS} and {} more", total - at).expect("a string takes all");
            break;
        }
        list.push_str("; ");
        list.push_str(&text);
    }
    cut(list, bytes_max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_that_fits_stays_and_one_byte_more_is_cut() {
        assert_eq!(cut("abcdef".into(), 6), "abcdef");
        assert_eq!(cut("abcdefg".into(), 6), "abc…");
        assert_eq!(cut("äöüß".into(), 7), "äö…");
    }

    #[test]
    fn lines_become_one() {
        assert_eq!(one_line(" a\n\tb  c\r\n", 20), "a b c");
    }

    #[test]
    fn what_does_not_fit_in_a_list_is_counted() {
        let texts = ["first problem", "second problem", "third problem", "fourth problem"];
        assert_eq!(listed(texts.into_iter(), 200), texts.join("; "));
        assert_eq!(listed(texts.into_iter(), 62), "first problem; second problem; … and 2 more");
        assert_eq!(listed(texts.into_iter(), 45), "first problem; … and 3 more");
        assert_eq!(listed([].into_iter(), 45), "");
    }

    proptest! {
        #[test]
        fn nothing_is_longer_than_its_limit(
            texts in prop::collection::vec("\\PC{0,80}", 0..20), limit in REST_BYTES * 2..400_usize,
        ) {
            let list = listed(texts.iter().map(String::as_str), limit);
            prop_assert!(list.len() <= limit, "{} > {limit}: {list}", list.len());
        }
    }
}
