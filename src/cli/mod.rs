//! (room to be furnished)

pub mod operator;
