//! The whole data plane, between a client and a replica.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| modelway::proxy::fuzz::data_plane(data));
