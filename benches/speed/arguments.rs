//! What the command line may change: `cargo bench --bench speed -- ratio rounds=7`.

use std::{path::PathBuf, time::Duration};

/// How to measure, and what.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    /// The word `ratio`: only CPU time per request.
    pub(crate) ratio: bool,
    /// The word `memory`: only the memory of uploads.
    pub(crate) memory: bool,
    /// `connections=N`.
    pub(crate) connections: usize,
    /// `rounds=N`.
    pub(crate) rounds: usize,
    /// `seconds=N` of each measurement.
    pub(crate) window: Duration,
    /// `router=PATH`, as often as wanted: other binaries of the router to measure in the same
    /// rounds, for example that of the commit before.
    pub(crate) others: Vec<PathBuf>,
}

impl Arguments {
    /// The defaults, changed by words. `--bench`, which Cargo adds, is nobody's.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Self {
        let (mut only_ratio, mut only_memory) = (false, false);
        let mut arguments = Self {
            ratio: true,
            memory: true,
            connections: 64,
            rounds: 5,
            window: Duration::from_secs(2),
            others: Vec::new(),
        };
        for word in words.filter(|word| word != "--bench") {
            let number = |text: &str| text.parse().expect("a number after the sign =");
            match word.split_once('=') {
                None if word == "ratio" => only_ratio = true,
                None if word == "memory" => only_memory = true,
                Some(("connections", text)) => arguments.connections = number(text),
                Some(("rounds", text)) => arguments.rounds = number(text).max(1),
                Some(("seconds", text)) => {
                    arguments.window = Duration::from_secs(number(text).max(1) as u64);
                }
                Some(("router", path)) => arguments.others.push(path.into()),
                _ => assert!(word.is_empty(), "unknown argument {word}"),
            }
        }
        if only_ratio || only_memory {
            (arguments.ratio, arguments.memory) = (only_ratio, only_memory);
        }
        arguments
    }

    /// The binary under test.
    pub(crate) fn router() -> PathBuf {
        PathBuf::from(env!("CARGO_BIN_EXE_modelway"))
    }
}
