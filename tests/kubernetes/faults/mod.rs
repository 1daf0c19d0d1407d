//! `serve --kubernetes` against the scripted API server: what the real one does only on bad days.

mod away;
mod foreign;
mod scale;
mod storms;
mod world;
