//! The grammar of paths.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| modelway::routing::fuzz::path(data));
