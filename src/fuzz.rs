//! The fuzz targets by name, and the replay of their corpus as plain tests.
//!
//! Not in the program: `cargo fuzz` sets `cfg(fuzzing)`, `cargo test` sets `cfg(test)`. Each target
//! lives beside what it tests and panics when its oracle is contradicted. `fuzz/README.md` says
//! how to run them.

/// What a fuzzer calls with its bytes.
pub type Target = fn(&[u8]);

/// Every target, under the name of its folder in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 6] = [
    ("authorization", crate::auth::fuzz::authorization),
    ("data_plane", crate::proxy::fuzz::data_plane),
    ("endpoints", crate::platform::spec::fuzz::endpoints),
    ("path", crate::routing::fuzz::path),
    ("raw_head", crate::proxy::fuzz::raw_head),
    ("token", crate::auth::fuzz::token),
];

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// Small enough to be read by a person and replayed with every change.
    const CORPUS_FILES_MAX: usize = 300;
    const CORPUS_BYTES_MAX: usize = 300 * 1024;

    fn folder(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
    }

    /// The inputs of a target by file name, in order.
    fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(folder("corpus").join(target)).expect("a folder for the target");
        let paths = entries.map(|entry| entry.expect("a folder that can be listed").path());
        let mut inputs: Vec<_> = paths
            .map(|path| {
                let name = path.file_name().expect("a file").to_string_lossy().into_owned();
                (name, fs::read(&path).expect("a file that can be read"))
            })
            .collect();
        inputs.sort();
        inputs
    }

    fn replay(target: &str) {
        let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
        let inputs = corpus(target);
        assert!(!inputs.is_empty(), "fuzz/corpus/{target} is empty");
        for (name, input) in &inputs {
            // Shown with a failure: it names the input that caused it.
            println!("fuzz/corpus/{target}/{name}: {} bytes", input.len());
            run(input);
        }
        println!("{target}: {} inputs", inputs.len());
    }

    #[test]
    fn the_corpus_of_the_path_grammar_contradicts_nothing() {
        replay("path");
    }

    #[test]
    fn the_corpus_of_the_authorization_grammar_contradicts_nothing() {
        replay("authorization");
    }

    #[test]
    fn the_corpus_of_the_endpoint_files_contradicts_nothing() {
        replay("endpoints");
    }

    #[test]
    fn the_corpus_of_the_raw_head_check_contradicts_nothing() {
        replay("raw_head");
    }

    #[test]
    fn the_corpus_of_the_check_of_tokens_contradicts_nothing() {
        replay("token");
    }

    #[test]
    fn the_corpus_of_the_data_plane_contradicts_nothing() {
        replay("data_plane");
    }

    #[test]
    fn the_corpus_is_small_and_every_target_has_a_program() {
        let inputs: Vec<_> = TARGETS.iter().flat_map(|(name, _)| corpus(name)).collect();
        let bytes: usize = inputs.iter().map(|(_, input)| input.len()).sum();
        assert!(inputs.len() <= CORPUS_FILES_MAX, "{} files; minimise with cmin", inputs.len());
        assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes; minimise with cmin");
        let manifest =
            fs::read_to_string(folder("Cargo.toml")).expect("the package of the targets");
        for (name, _) in TARGETS {
            let program = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs")));
            let program = program.expect("a program for each target");
            assert!(program.contains(&format!("::{name}(")), "{name}.rs calls another target");
            assert!(manifest.contains(&format!("name = \"{name}\"")), "Cargo.toml lacks {name}");
        }
    }
}
