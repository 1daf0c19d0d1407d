//! (room to be furnished)

pub mod replica_step;
