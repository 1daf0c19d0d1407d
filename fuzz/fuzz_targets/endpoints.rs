//! Endpoint files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| modelway::platform::spec::fuzz::endpoints(data));
