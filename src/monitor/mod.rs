//! Going out to look: DNSBL, FCrDNS.
//!
//! The judgements are pure and know no resolver: [`answer`] says what one DNS answer means, [`zone`] whether a list is
//! to be believed at all, [`watch`] what is confirmed over time and what became of it, [`reverse`] the same for reverse
//! DNS; [`subject`] says what there is to ask about, [`timetable`] when, [`urgent`] about whom between rounds, [`budget`]
//! how often, [`named`] which lists a reply means. The shell asks: `dns` is the one place that knows hickory, [`keys`]
//! reads the keys of lists, [`dnsbl`] and [`fcrdns`] put the questions of one round, `places` bounds how many at a time,
//! [`rounds`] is the task that does so again and again and hands [`Evidence`](crate::reputation::Evidence) on.
//!
//! A list's name may hold a key. It is used to build questions and nothing else: logs, notes, snapshots and errors say
//! the configured [`ZoneName`](crate::message::ZoneName).

mod account;
pub mod answer;
pub mod budget;
mod dns;
pub mod dnsbl;
pub mod fcrdns;
pub mod feeds;
pub mod identity;
pub mod keys;
pub mod named;
mod places;
pub mod reverse;
pub mod rounds;
pub mod spf;
pub mod subject;
mod tell;
pub mod timetable;
pub mod urgent;
pub mod watch;
pub mod zone;

#[cfg(test)]
mod responder;

pub use rounds::{Monitor, Prepared};
pub use watch::Snapshot;
