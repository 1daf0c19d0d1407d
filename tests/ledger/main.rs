//! Every request has one outcome, and every slot one request: the whole program from outside, with
//! the books of clients and models compared.

#[path = "../support/mod.rs"]
mod support;

mod books;
mod drain;
mod queue;
mod slots;
mod split;
