//! The grammar of credentials.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| modelway::auth::fuzz::authorization(data));
