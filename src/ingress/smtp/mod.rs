//! SMTP server (RFC 5321) for submission by trusted clients, and for reports by anybody.
//!
//! [`command`] reads one line, [`data`] reads a message, [`session`] is the dialogue; all three are pure: octets in,
//! replies and effects out. [`server`] gives them sockets, limits and an end.
//!
//! Offered: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), ENHANCEDSTATUSCODES (RFC 2034). Not yet:
//! STARTTLS, AUTH; their place is marked in [`command::Command`] and [`session`].

pub mod command;
mod connection;
pub mod data;
mod reply;
mod seats;
pub mod server;
pub mod session;
