//! SMTP server (RFC 5321) for submission by trusted clients and users, and for reports by anybody.
//!
//! [`command`] reads one line, [`data`] reads a message, [`auth`] is the talk of a login, [`session`] is the dialogue; all
//! four are pure: octets in, replies and effects out. [`server`] gives them sockets, limits and an end.
//!
//! Offered: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), CHUNKING (RFC 3030, without
//! BINARYMIME: most hosts that mail goes on to could not take it), DSN (RFC 3461), LIMITS (RFC 9422), ENHANCEDSTATUSCODES
//! (RFC 2034), STARTTLS (RFC 3207) where there is a certificate, REQUIRETLS (RFC 8689) over TLS, AUTH (RFC 4954) where nobody
//! listens in between ([`auth`], [`scram`]), and XCLIENT and XFORWARD ([`xclient`]) to mail servers that may say who the
//! client is.

pub mod auth;
pub mod command;
mod connection;
pub mod data;
mod door;
mod parameters;
mod patience;
mod reply;
pub mod scram;
mod seats;
pub mod server;
pub mod session;
mod sockets;
pub mod xclient;
