//! What receivers demand of TLS: MTA-STS (RFC 8461) and DANE (RFC 7672), and what follows for each host.
//!
//! ```text
//!   recipient domain ──▶ sts (record, policy, cell)  ─┐
//!                        over fetch, kept as facts    ├─▶ ruling ──▶ TlsDemand, or: no mail to this host
//!   host ──────────────▶ tlsa (what records mean)    ─┘      ▲
//!                        over validator                      └── configuration and the sender's wish
//! ```
//!
//! [`sts`], [`tlsa`], [`ruling`] and [`shown`] are pure. [`fetch`] fetches policies over HTTPS, [`validator`] asks DNS and has the
//! answers proven by DNSSEC, [`look`] does both as a task of
//! its own, [`holder`] keeps what is known and puts it together for whoever connects.
//!
//! No answer never means "no demand" where something was promised before: a policy that was fetched holds until it runs
//! out, and an answer of a signed zone that cannot be proven keeps mail back (the next try may be luckier) instead of
//! sending it unprotected. A zone that is provably unsigned has no DANE.

pub mod fetch;
pub mod holder;
pub mod look;
pub mod ruling;
pub mod shown;
pub mod sts;
pub mod tlsa;
pub mod validator;

pub use holder::Policies;
pub use ruling::{Policy, Ruling};
