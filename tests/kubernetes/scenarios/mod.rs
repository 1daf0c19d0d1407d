//! What happens in a cluster while requests go on. Each scenario has a namespace, a node and a router
//! of its own, and prints one line with its figures.

mod credentials;
mod deletions;
mod edits;
mod faults;
mod leaders;
mod outages;
mod pods;
mod scaling;
mod stage;
mod writers;
