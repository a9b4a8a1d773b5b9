//! A report as the operator sees it: event, log line, metrics.
//!
//! Labels of metrics are bounded by the configuration; of recipients even the event names the domain only.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;

use super::book::{Booking, Verdict};
use super::read::Mail;
use super::whose::Whose;
use crate::clock::Wall;
use crate::message::{DestinationName, Mailbox};
use crate::outcome::template::{Particular, is_invisible, sample};
use crate::queue::dispatcher::Dispatcher;
use crate::reputation::Evidence;
use crate::reputation::evidence::AttemptResult;
use crate::telemetry::events::Kind;
use crate::telemetry::metrics;

/// Domains of recipients that an event names.
const DOMAINS_MAX: usize = 5;
/// Rules and causes that an event names.
const WORDS_MAX: usize = 5;
/// Recipients whose names are masked in the reply shown.
const NAMES_MAX: usize = 100;
/// Characters of that reply.
const REPLY_MAX: usize = 200;
/// How often refusals are shown.
const REFUSALS_EVERY: Duration = Duration::from_secs(60);

/// Shows a mail that was taken. `done` is what became of it, in a word.
pub(super) fn taken(dispatcher: &Dispatcher, mail: &Mail, whose: &Whose, booking: &Booking, done: &str, now: Wall) {
    let attempted = whose.attempted();
    let name = |of: Option<String>| of.unwrap_or_default();
    let fields = [
        ("verdict", booking.verdict.as_str().to_owned()),
        ("mail_kind", mail.kind.as_str().to_owned()),
        ("tenant", name(attempted.map(|a| a.tenant.to_string()))),
        ("pool", name(attempted.map(|a| a.pool.to_string()))),
        ("binding", name(attempted.map(|a| a.binding.to_string()))),
        ("destination", name(attempted.and_then(|a| a.destination.as_ref()).map(ToString::to_string))),
        ("message", name(whose.message().map(|id| id.to_string()))),
        ("age", name(whose.found().map(|found| age(found.opened.at, now)))),
        ("cause", of_bounces(&booking.evidence, |bounce| bounce.cause.to_owned())),
        ("rule", of_bounces(&booking.evidence, |bounce| bounce.rule.to_owned())),
        ("counts", of_bounces(&booking.evidence, |bounce| bounce.counts.to_string())),
        ("reply", bounces(&booking.evidence).next().map_or(String::new(), |bounce| reply(bounce.text, mail))),
        ("mark", name(whose.place().map(|place| place.as_str().to_owned()))),
        ("recipient_domain", domains(mail)),
        ("detail", booking.detail.clone()),
        ("mail", done.to_owned()),
    ];
    dispatcher.metrics().reports.with_label_values(&[mail.kind.as_str(), booking.verdict.as_str()]).inc();
    note(dispatcher, fields, now);
    for evidence in &booking.evidence {
        count(dispatcher, evidence);
    }
}

/// Addresses refused at RCPT before anything was sent: guesses at return paths. Whoever guesses does so by the thousand,
/// so each is counted, and once a minute there is an event with their number.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<Refusals>);

#[derive(Debug, Default)]
struct Refusals {
    shown: Option<Wall>,
    forged: u64,
    other: u64,
}

impl Refused {
    /// Counts one.
    pub(super) fn note(&self, dispatcher: &Dispatcher, forged: bool, now: Wall) {
        let verdict = if forged { Verdict::Forged.as_str() } else { "no_such_address" };
        dispatcher.metrics().reports.with_label_values(&["unknown", verdict]).inc();
        {
            let mut refusals = self.0.lock();
            if forged {
                refusals.forged += 1;
            } else {
                refusals.other += 1;
            }
        }
        self.show(dispatcher, now);
    }

    /// Shows those not shown yet, unless some were within the last minute.
    pub(super) fn show(&self, dispatcher: &Dispatcher, now: Wall) {
        let mut refusals = self.0.lock();
        let is_early = refusals.shown.is_some_and(|shown| now.since(shown) < REFUSALS_EVERY);
        if is_early || refusals.forged + refusals.other == 0 {
            return;
        }
        let Refusals { forged, other, .. } =
            std::mem::replace(&mut *refusals, Refusals { shown: Some(now), ..Refusals::default() });
        drop(refusals);
        let number = |number: u64| if number > 0 { number.to_string() } else { String::new() };
        let fields = [
            ("verdict", "refused".to_owned()),
            ("forged", number(forged)),
            ("no_such_address", number(other)),
            ("detail", "at RCPT, since the last event".to_owned()),
            ("mail", "refused".to_owned()),
        ];
        note(dispatcher, fields, now);
    }
}

fn note<const N: usize>(dispatcher: &Dispatcher, fields: [(&'static str, String); N], now: Wall) {
    let fields = fields.map(|(name, text)| (name, harmless(&text, ' ')));
    let said = fields.iter().filter(|(_, text)| !text.is_empty());
    let line: Vec<String> = said.map(|(name, text)| format!("{name}={}", harmless(text, '_'))).collect();
    tracing::info!(target: "feedback", "report {}", line.join(" "));
    dispatcher.events().note(Kind::Report, fields, now);
}

/// Strangers choose some of the words: none of them makes a field of its own or moves the cursor of a terminal.
fn harmless(text: &str, space: char) -> String {
    text.chars().map(|c| if c.is_whitespace() || c.is_control() || is_invisible(c) { space } else { c }).collect()
}

fn count(dispatcher: &Dispatcher, evidence: &Evidence) {
    let providers = &dispatcher.config().providers;
    let known = |name: &DestinationName| providers.iter().any(|provider| provider.name.as_str() == name.as_str());
    let label = |name: &Option<DestinationName>| {
        name.as_ref().filter(|name| known(name)).map_or(metrics::OTHER.to_owned(), ToString::to_string)
    };
    match evidence {
        Evidence::LateBounce { binding, destination, result: AttemptResult::Refused { cause, .. }, .. } => {
            let labels = [binding.as_str(), &label(destination), cause.as_str()];
            dispatcher.metrics().late_bounces.with_label_values(&labels).inc();
        }
        Evidence::Complaint { binding, destination, tenant, incidents, .. } => {
            let labels = [binding.as_str(), &label(destination), tenant.as_str()];
            dispatcher.metrics().complaints.with_label_values(&labels).inc_by(u64::from(*incidents));
        }
        // Reports are no evidence of any other kind.
        _ => {}
    }
}

fn age(at: Wall, now: Wall) -> String {
    let minutes = now.since(at).as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m"),
        (0, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

/// A late bounce, in words.
struct Bounce<'a> {
    cause: &'static str,
    rule: &'a str,
    counts: bool,
    text: &'a str,
}

fn bounces(evidence: &[Evidence]) -> impl Iterator<Item = Bounce<'_>> {
    evidence.iter().filter_map(|evidence| match evidence {
        Evidence::LateBounce {
            result: AttemptResult::Refused { cause, rule, text, counts_against_ip, .. }, ..
        } => Some(Bounce { cause: cause.as_str(), rule, counts: *counts_against_ip, text }),
        _ => None,
    })
}

/// What the bounces are, each once.
fn of_bounces(evidence: &[Evidence], what: impl Fn(&Bounce<'_>) -> String) -> String {
    let all: BTreeSet<String> = bounces(evidence).map(|bounce| what(&bounce)).collect();
    all.into_iter().take(WORDS_MAX).collect::<Vec<_>>().join(",")
}

/// A reply, clipped and without anybody's address.
fn reply(text: &str, mail: &Mail) -> String {
    let named = mail.recipients.iter().flat_map(|r| [&r.original_recipient, &r.final_recipient]).flatten();
    let recipients: Vec<Mailbox> = named.take(NAMES_MAX).filter_map(|name| name.parse().ok()).collect();
    let addresses: Vec<&Mailbox> = recipients.iter().collect();
    let text = sample(text, &Particular { addresses: &addresses, hosts: &[] });
    text.chars().take(REPLY_MAX).collect()
}

fn domains(mail: &Mail) -> String {
    let named = mail.recipients.iter().flat_map(|r| [&r.original_recipient, &r.final_recipient]).flatten();
    let domains = named.filter_map(|name| name.parse::<Mailbox>().ok()).map(|mailbox| mailbox.domain().to_string());
    let all: BTreeSet<String> = domains.take(DOMAINS_MAX).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_a_stranger_makes_a_field_or_moves_a_cursor() {
        let text = "opt\u{1b}[31m\tverdict=booked\n\u{a0}binding=z\u{202e}";
        assert_eq!(harmless(text, '_'), "opt_[31m_verdict=booked__binding=z_");
    }

    #[test]
    fn ages_are_short() {
        let at = Wall::from_millis(1_795_000_000_000);
        let after = |seconds| age(at, at.plus(Duration::from_secs(seconds)));
        assert_eq!([59, 61, 3661, 90_000].map(after), ["0m", "1m", "1h1m", "1d1h"]);
        assert_eq!(age(at.plus(Duration::from_secs(60)), at), "0m");
    }
}
