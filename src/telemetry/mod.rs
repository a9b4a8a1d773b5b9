//! What the outside sees of the inside: metrics and the attempt log.
//!
//! [`metrics`] names every metric once; [`attempt_log`] writes one line per recipient and attempt; [`events`]
//! remembers what happened lately, [`journal`] keeps that on disk, [`unmatched`] the replies no rule knew, [`history`] the
//! last hour minute by minute; [`log`] sets up `tracing`.

pub mod attempt_log;
pub mod events;
pub mod health_log;
pub mod history;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod process;
pub mod spf_log;
pub mod tls_log;
pub mod unmatched;
pub mod warmup_log;

pub use metrics::Metrics;
