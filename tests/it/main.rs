//! The real program over real sockets, against scripted and real peers.
//!
//! Every test starts its own relay on loopback with ports the system chose and watches it from outside: what the
//! receivers got and from which address, what `/api/v1/status` says, what a client was answered. Tests in `peers`
//! modules need Debian packages; `tests/run` installs these and runs them as well.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod acts;
mod alerts;
mod api;
mod assignment;
mod attempt_log;
mod auth;
mod bad_input;
mod bounce;
mod cap;
mod clients;
mod command_line;
mod console;
mod console_acts;
mod dane;
mod dashboards;
mod dkim;
mod dnsbl;
mod doctor;
mod egress;
mod events;
mod explain;
mod failover;
mod families;
mod feedback;
mod feeds;
mod http_in;
mod marks;
mod metrics;
mod mta_sts;
mod mx;
mod packaging;
mod peers;
mod queue;
mod reaction;
mod reload;
mod reload_listeners;
mod reload_watch;
mod reports;
mod reputation;
mod resolver;
mod restart;
mod reverse_dns;
mod service;
mod shares;
mod smoke;
mod smtp_in;
mod smtp_out;
mod spf;
mod spool;
mod stop;
mod support;
mod tls_in;
mod tls_out;
mod tour;
