//! The `modelway` binary.

fn main() {}
