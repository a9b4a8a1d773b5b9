//! What comes back by mail, hours or days after a receiver said `250`: bounces (RFC 3464 and prose) and complaints
//! (RFC 5965), and whose they are.
//!
//! A `250` is not the end. Receivers that scan later send a bounce, people press "this is spam", and neither says from
//! which of our addresses the message came. So each message carries a mark, sealed with a key of ours, that names the
//! delivering attempt: message, tenant, pool, binding, destination, time ([`token`]). It travels in up to three places
//! ([`marks`]): the return path, where the tenant has opted in; a header field; the envelope id of RFC 3461. A report
//! that brings one of them back is evidence about that binding at that time; one that brings none, a forged one or one
//! that is too old is counted and shown, and moves nothing.
//!
//! ```text
//!   receiver ──▶ ingress ──▶ desk ──▶ read: what kind of mail is it, what does it say      (P)
//!                (S)         (S)      token: is the mark ours, which attempt was it        (P)
//!                                     book: whose fault, told before?  → evidence          (P)
//!                             └──▶ evidence to reputation · copy to the sender · events · kept aside
//! ```
//!
//! The key lies in a file of its own ([`keys`]); [`crate::queue::dispatcher`] seals a mark for each attempt.
//!
//! Everything is done before the `250` to the reporter: what we could not write down, the reporter sends again.

pub mod addresses;
pub mod aside;
pub mod book;
pub mod desk;
pub mod keys;
pub mod marks;
pub mod read;
mod second_hand;
pub mod senders;
mod shown;
pub mod token;
pub mod told;
pub mod whose;
