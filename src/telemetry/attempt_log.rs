//! One line per recipient and attempt, in the manner mail operators grep for.
//!
//! ```text
//! attempt: id=1m80wte8w0001 message=1m80wte8w0000 to="ann@example.org" from="news@acme.example" tenant=acme
//!   stream=default pool=marketing binding=mta1 local=203.0.113.11 ehlo=mta1.example.net destination=gmail
//!   host=mx1.example.org remote=192.0.2.1:25 reused=true
//!   tls="TLSv1.3 TLS_AES_256_GCM_SHA384 X25519MLKEM768 verified" attempt=1 size=2310 delay_ms=41 disposition=deferred
//!   cause=greylisted scope=destination rule=greylist.words next=2026-11-22T08:05:00.000Z
//!   reply="451 4.7.1 greylisted, try again later"
//! ```
//!
//! `tls` is what was agreed with the host, and at its end what its certificate was held to (`encrypted` is nothing, `verified`
//! names and authorities, `dane` TLSA records); or in one word why there is none, in the terms of RFC 8460; `none` where it
//! was not tried.
//!
//! `id` is the entry, one for each pool and recipient domain of a message; `message` is what the client's `250` and events
//! name. `/api/v1/explain` takes either.
//!
//! What strangers may choose (addresses, replies) is quoted and escaped, so that nobody can write lines of his own.

use crate::clock::Wall;
use crate::config::Binding;
use crate::delivery::Report;
use crate::message::{Entry, Mailbox};
use crate::outcome::Outcome;

/// What a line is made of.
#[derive(Debug)]
pub struct Line<'a> {
    /// The entry as it was before the attempt.
    pub entry: &'a Entry,
    /// The recipient.
    pub recipient: &'a Mailbox,
    /// The binding chosen.
    pub binding: &'a Binding,
    /// Name given in EHLO.
    pub ehlo: &'a str,
    /// Destination name.
    pub destination: &'a str,
    /// What happened on the wire.
    pub report: &'a Report,
    /// Which attempt this was, counted from 1.
    pub attempt: u32,
    /// What it means.
    pub outcome: &'a Outcome,
    /// Reply or failure as text.
    pub text: &'a str,
    /// When the next attempt is due, if there will be one.
    pub next: Option<Wall>,
}

/// Whether anybody wants the lines: making one is dear enough to ask first.
pub fn is_on() -> bool {
    tracing::enabled!(target: "attempt", tracing::Level::INFO)
}

/// Writes the line.
pub fn write(line: &Line<'_>) {
    let entry = line.entry;
    let from = entry.reverse_path.as_ref().map_or("", Mailbox::as_str);
    let local = line.report.local.map(|a| a.ip().to_string()).unwrap_or_default();
    let remote = line.report.remote.map(|a| a.to_string()).unwrap_or_default();
    tracing::info!(
        target: "attempt",
        id = %entry.id,
        message = %entry.message,
        to = line.recipient.as_str(),
        from,
        tenant = %entry.tenant,
        stream = %entry.stream,
        pool = %entry.pool,
        binding = %line.binding.name,
        local = %local,
        ehlo = %line.ehlo,
        destination = %line.destination,
        host = %line.report.host.as_deref().unwrap_or(""),
        remote = %remote,
        reused = line.report.reused,
        tls = %line.report.tls.outcome,
        attempt = line.attempt,
        size = entry.size,
        delay_ms = u64::try_from(line.report.latency.as_millis()).unwrap_or(u64::MAX),
        disposition = %line.outcome.disposition.as_str(),
        cause = %line.outcome.cause.map_or("", |cause| cause.as_str()),
        scope = %line.outcome.scope.as_str(),
        rule = %line.outcome.rule,
        next = %line.next.map(|next| next.to_string()).unwrap_or_default(),
        reply = line.text,
    );
}
