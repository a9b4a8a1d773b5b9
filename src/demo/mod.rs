//! Scripted peers on loopback, shared by `remuda demo`, the tests and the benches.
//!
//! [`sink`] is a receiver that does what it is told and remembers what it got, [`zone`] a name server whose records and
//! moods are set while it runs, [`injector`] a client that sends many messages and can say afterwards which of them
//! were answered `250`. They speak real SMTP and DNS over real sockets, so that nothing of the relay has to be replaced
//! to be watched; they live in the library because a demonstration and a test that use the same peers cannot drift
//! apart. None of them is part of the relay's own path. [`scenario`] is `remuda demo`, [`world`] is `remuda demo --stay`.

pub mod injector;
pub mod scenario;
pub mod sink;
pub mod world;
pub mod zone;
