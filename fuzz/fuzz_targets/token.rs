//! The check of tokens.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| modelway::auth::fuzz::token(data));
