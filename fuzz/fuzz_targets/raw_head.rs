//! The check of raw request heads.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| modelway::proxy::fuzz::raw_head(data));
