//! # Remuda: a relay that chooses the IP address
//!
//! Remuda is an outbound SMTP relay. It accepts mail, decides whose mail it is (*tenant*), from which *pool* of
//! *bindings* (name + source IP + EHLO name + limits) it may leave, and picks the binding at the moment of each
//! delivery attempt. It reads every reply and every DNSBL, concludes whose fault a refusal is, takes a sick binding
//! out before it does harm, lets backups take over where that helps, and brings the binding back gently.
//!
//! ## The way of a message
//!
//! ```text
//!   clients ──▶ ingress ──▶ assignment ──▶ queue ──▶ scheduler ──▶ delivery ──▶ remote MX
//!               SMTP        tenant, pool   spool     pool→binding   bound IP        │
//!                                            ▲           ▲                          │ reply
//!                                   deferred │           │ health                   ▼
//!                                            └────────── │ ◀── reputation ◀── outcome
//!                                                        │         ▲
//!                                      operator ▶ admin ─┘         │ evidence
//!                                                              monitor  (DNSBL, FCrDNS)
//! ```
//!
//! The queue holds messages by (pool, destination). The binding is chosen at each attempt, never stored with the
//! message: a suspension needs no rerouting of mail that waits.
//!
//! ## Pure core, thin shell
//!
//! Modules marked **P** decide: no tokio, no sockets, no files, no DNS, no clock, no randomness of their own; `now` is
//! an argument. Modules marked **S** act: they own tasks, timers and descriptors and decide nothing that could be
//! decided in P. `tests/tidy.rs` reads the sources and fails when a P module names what it must not.
//!
//! | module | | what it is for | must never know |
//! |---|---|---|---|
//! | [`clock`] | P | two clocks as values; one line of shell | |
//! | [`message`] | P | ids, addresses, envelope, trace headers | who sends or where to |
//! | [`config`] | P | what the operator wrote → values that cannot be wrong | the running program |
//! | [`ingress`] | S | SMTP server, and mail over HTTP (their protocol parts are P) | pools, bindings |
//! | [`assignment`] | P | message → tenant, stream, pool | bindings |
//! | [`queue`] | S | the loop: what waits, what is due; `queue::core` (P) joins scheduler and reputation | sockets |
//! | [`scheduler`] | P | which binding, now or when | replies, DNSBLs |
//! | [`delivery`] | S | from a bound address to the remote MX | pools, caps |
//! | [`outcome`] | P | what a reply means, whose fault it is | bindings' state |
//! | [`reputation`] | P | evidence → health of a binding or a route | queues |
//! | [`feedback`] | S | bounces and complaints that come back by mail → evidence (reading and booking are P) | the scheduler |
//! | [`monitor`] | S | goes out to look: DNSBL, FCrDNS (its judgements are P) | the scheduler |
//! | [`signing`] | S | DKIM: keys, and which of them sign (that is P) | queues, sockets |
//! | [`store`] | S | durable spool and facts | what the records mean |
//! | [`orders`] | P | what the operator orders while it runs, laid over the configuration | the running program |
//! | [`live`] | S | the configuration in force, and how it changes (what is different is P) | |
//! | [`admin`] | S | HTTP: status, metrics, the operator's acts, the console | |
//! | [`telemetry`] | S | metrics, attempt log | |
//! | [`alerts`] | S | tells people by itself (what holds is P) | how it came about |
//! | [`simulate`] | P | a world of modelled receivers for the core to run in; `remuda simulate` | sockets, the clock |
//! | [`demo`] | S | scripted receivers and DNS on loopback; `remuda demo` | |
//! | [`cli`], [`app`] | S | command line; composition root | |

pub mod admin;
pub mod alerts;
pub mod app;
pub mod assignment;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod demo;
pub mod feedback;
pub mod ingress;
pub mod live;
pub mod message;
pub mod monitor;
pub mod orders;
pub mod outcome;
pub mod queue;
pub mod reputation;
pub mod scheduler;
pub mod signing;
pub mod simulate;
pub mod store;
pub mod telemetry;
