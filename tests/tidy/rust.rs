//! Just enough of Rust's grammar: words and signs with their lines, strings as one token each, no
//! comments; and which of them are tests.

use std::{iter::Peekable, str::Chars};

use crate::tree::Source;

/// A word, `::`, one sign, or a literal in quotes, which is `"` and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// Its text.
    pub(crate) text: String,
    /// Its line, from 1.
    pub(crate) line: usize,
}

/// Words that begin an item; a comma does not end those.
const ITEM_WORDS: [&str; 15] = [
    "async",
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "macro_rules",
    "mod",
    "pub",
    "static",
    "struct",
    "trait",
    "type",
    "unsafe",
    "use",
];

/// The tokens of a file.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: text.chars().peekable(), line: 1, tokens: Vec::new() };
    while let Some(sign) = lexer.take() {
        lexer.token(sign);
    }
    lexer.tokens
}

/// The tokens outside of `#[cfg(test)]` items, and how many lines those items take.
pub(crate) fn without_tests(tokens: &[Token]) -> (Vec<Token>, usize) {
    let mut production = Vec::new();
    let mut test_lines = 0;
    let mut rest = tokens;
    while let Some((first, tail)) = rest.split_first() {
        if is_test_attribute(rest) {
            let (item, after) = rest.split_at(item_length(rest));
            let last = item.last().unwrap_or(first);
            test_lines += last.line - first.line + 1;
            rest = after;
        } else {
            production.push(first.clone());
            rest = tail;
        }
    }
    (production, test_lines)
}

/// The modules that `#[cfg(test)] mod name;` declares in this file, as paths without `.rs`.
pub(crate) fn test_modules(source: &Source) -> Vec<String> {
    let (here, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let inside = match file {
        "mod.rs" | "lib.rs" | "main.rs" => here,
        _ => source.path.trim_end_matches(".rs"),
    };
    let mut modules = Vec::new();
    for start in 0..source.tokens.len() {
        let rest = source.tokens.get(start..).unwrap_or_default();
        if is_test_attribute(rest)
            && let Some(item) = rest.get(..item_length(rest))
            && let [.., keyword, name, end] = item
            && keyword.text == "mod"
            && end.text == ";"
        {
            let written = item.windows(3).find_map(|tokens| match tokens {
                [path, equals, file] if path.text == "path" && equals.text == "=" => {
                    file.text.strip_prefix('"')
                }
                _ => None,
            });
            modules.push(match written {
                Some(file) => format!("{here}/{}", file.trim_end_matches(".rs")),
                None => format!("{inside}/{}", name.text),
            });
        }
    }
    modules
}

/// Whether the tokens begin with these texts.
pub(crate) fn begins(tokens: &[Token], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.text == *text)
}

fn is_test_attribute(tokens: &[Token]) -> bool {
    begins(tokens, &["#", "[", "cfg", "(", "test", ")", "]"])
}

/// How many tokens the attributes at the start and the item, field or statement after them take.
fn item_length(tokens: &[Token]) -> usize {
    let mut nesting = 0_usize;
    let mut is_attribute = true;
    let mut is_item = false;
    for (index, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => nesting += 1,
            "}" if nesting == 0 => return index,
            "}" if nesting == 1 => return index + 1,
            ")" | "]" | "}" => nesting = nesting.saturating_sub(1),
            ";" if nesting == 0 => return index + 1,
            "," if nesting == 0 && !is_item => return index + 1,
            "#" => {}
            word if nesting == 0 && is_attribute => {
                is_attribute = false;
                is_item = ITEM_WORDS.contains(&word);
            }
            _ => {}
        }
    }
    tokens.len()
}

struct Lexer<'text> {
    rest: Peekable<Chars<'text>>,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn take(&mut self) -> Option<char> {
        let sign = self.rest.next();
        if sign == Some('\n') {
            self.line += 1;
        }
        sign
    }

    fn next_is(&mut self, sign: char) -> bool {
        self.rest.peek() == Some(&sign)
    }

    fn push(&mut self, text: String, line: usize) {
        self.tokens.push(Token { text, line });
    }

    fn token(&mut self, first: char) {
        let line = self.line;
        match first {
            '/' if self.next_is('/') => while self.take().is_some_and(|sign| sign != '\n') {},
            '/' if self.next_is('*') => self.block_comment(),
            '"' => {
                let content = self.string();
                self.push(format!("\"{content}"), line);
            }
            '\'' => self.quote(),
            ':' if self.next_is(':') => {
                self.take();
                self.push("::".to_owned(), line);
            }
            _ if first.is_alphanumeric() || first == '_' => self.word(first),
            _ if first.is_whitespace() => {}
            _ => self.push(first.to_string(), line),
        }
    }

    fn word(&mut self, first: char) {
        let line = self.line;
        let mut word = first.to_string();
        while let Some(sign) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
            word.push(sign);
        }
        if matches!(word.as_str(), "r" | "br" | "cr") && (self.next_is('"') || self.next_is('#')) {
            self.raw(line);
        } else {
            self.push(word, line);
        }
    }

    /// After `r`: `#`s and a raw string, or `#` and a raw identifier.
    fn raw(&mut self, line: usize) {
        let mut fence = 0;
        while self.rest.next_if_eq(&'#').is_some() {
            fence += 1;
        }
        if self.rest.next_if_eq(&'"').is_none() {
            return;
        }
        let mut seen = None;
        while let Some(sign) = self.take() {
            seen = match (sign, seen) {
                ('"', _) => Some(0),
                ('#', Some(count)) => Some(count + 1),
                _ => None,
            };
            if seen == Some(fence) {
                break;
            }
        }
        self.push("\"".to_owned(), line);
    }

    /// The content, with escapes left out.
    fn string(&mut self) -> String {
        let mut content = String::new();
        while let Some(sign) = self.take() {
            match sign {
                '\\' => _ = self.take(),
                '"' => break,
                _ => content.push(sign),
            }
        }
        content
    }

    /// A character, or the sign of a lifetime, whose name then follows as a word.
    fn quote(&mut self) {
        let mut ahead = self.rest.clone();
        let is_character = match ahead.next() {
            Some('\\') => true,
            Some(_) => ahead.next() == Some('\''),
            None => false,
        };
        if !is_character {
            return;
        }
        if self.take() == Some('\\') {
            self.take();
        }
        while self.take().is_some_and(|sign| sign != '\'') {}
        let line = self.line;
        self.push("\"".to_owned(), line);
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        let mut previous = '/';
        while let Some(sign) = self.take() {
            match (previous, sign) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {}
            }
            // A sign that has closed or opened a comment is not half of the next mark.
            let is_mark = matches!((previous, sign), ('/', '*') | ('*', '/'));
            previous = if is_mark { ' ' } else { sign };
            if depth == 0 {
                return;
            }
        }
    }
}

#[test]
fn comments_strings_and_characters_are_not_code() {
    let text = r##"
        // tokio::one
        /* tokio::two /* tokio::three */ tokio::four */
        /// [`tokio::five`]
        const A: &str = "tokio::six \" tokio::seven";
        const B: &str = r#"tokio::eight " tokio::nine"#;
        const C: [char; 3] = ['"', '\'', '\u{1F600}'];
        fn f<'a>(x: &'a str) { code::here(x, r#type) }
    "##;
    let words: Vec<String> = tokens(text).into_iter().map(|token| token.text).collect();
    assert!(!words.iter().any(|word| word == "tokio"), "{words:?}");
    assert!(words.windows(3).any(|w| w == ["code", "::", "here"]), "{words:?}");
    assert!(words.iter().any(|word| word == "type"), "{words:?}");
}

#[test]
fn production_ends_where_a_test_item_begins_and_goes_on_behind_it() {
    let text = "fn a() {}\n#[cfg(test)]\n#[path = \"x\"]\nmod tests {\n  fn b() { c() }\n}\n\
                struct S { d: u8, #[cfg(test)] e: u8, f: u8 }\n#[cfg(test)]\nmod g;\nfn h() {}\n";
    let (production, test_lines) = without_tests(&tokens(text));
    let words: Vec<&str> = production.iter().map(|token| token.text.as_str()).collect();
    for (word, is_production) in [
        ("a", true),
        ("b", false),
        ("c", false),
        ("d", true),
        ("e", false),
        ("f", true),
        ("g", false),
        ("h", true),
    ] {
        assert_eq!(words.contains(&word), is_production, "{word} in {words:?}");
    }
    assert_eq!(test_lines, 5 + 1 + 2);
}

#[test]
fn files_of_tests_are_found_by_their_declaration() {
    let declared = |path: &str, text: &str| {
        let tokens = tokens(text);
        test_modules(&Source {
            path: path.to_owned(),
            text: text.to_owned(),
            production: Vec::new(),
            production_lines: 0,
            tokens,
        })
    };
    assert_eq!(declared("src/a/mod.rs", "mod x;\n#[cfg(test)]\nmod tests;"), ["src/a/tests"]);
    assert_eq!(declared("src/a/b.rs", "#[cfg(test)] mod tests; mod y;"), ["src/a/b/tests"]);
    let named = "#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod tests;";
    assert_eq!(declared("src/a/b.rs", named), ["src/a/b_tests"]);
    assert_eq!(declared("src/a/b.rs", "#[cfg(test)] mod tests { fn f() {} }"), [""; 0]);
}
