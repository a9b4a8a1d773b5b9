//! A report as the operator sees it: event, log line, metrics.
//!
//! Labels of metrics are bounded by the configuration; of recipients even the event names the domain only.

use std::collections::BTreeSet;

use super::book::{Booking, Verdict};
use super::read::{Mail, Place};
use super::whose::Whose;
use crate::clock::Wall;
use crate::message::{DestinationName, Mailbox};
use crate::queue::dispatcher::Dispatcher;
use crate::reputation::Evidence;
use crate::reputation::evidence::AttemptResult;
use crate::telemetry::events::Kind;
use crate::telemetry::metrics;

/// Domains of recipients that an event names.
const DOMAINS_MAX: usize = 5;

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
        ("cause", causes(&booking.evidence)),
        ("mark", name(whose.place().map(|place| place.as_str().to_owned()))),
        ("recipient_domain", domains(mail)),
        ("detail", booking.detail.clone()),
        ("mail", done.to_owned()),
    ];
    show(dispatcher, mail.kind.as_str(), booking.verdict, fields, now);
    for evidence in &booking.evidence {
        count(dispatcher, evidence);
    }
}

/// Shows a forged return path that was refused before anything was sent.
pub(super) fn refused(dispatcher: &Dispatcher, to: &Mailbox, now: Wall) {
    let fields = [
        ("verdict", Verdict::Forged.as_str().to_owned()),
        ("mark", Place::Recipient.as_str().to_owned()),
        ("detail", format!("refused at RCPT for {}", to.domain_str())),
        ("mail", "refused".to_owned()),
    ];
    show(dispatcher, "unknown", Verdict::Forged, fields, now);
}

fn show<const N: usize>(
    dispatcher: &Dispatcher,
    kind: &str,
    verdict: Verdict,
    fields: [(&'static str, String); N],
    now: Wall,
) {
    dispatcher.metrics().reports.with_label_values(&[kind, verdict.as_str()]).inc();
    let said = fields.iter().filter(|(_, text)| !text.is_empty());
    let line: Vec<String> = said.map(|(name, text)| format!("{name}={}", text.replace(' ', "_"))).collect();
    tracing::info!(target: "feedback", "report {}", line.join(" "));
    dispatcher.events().note(Kind::Report, fields, now);
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

fn causes(evidence: &[Evidence]) -> String {
    let cause = |evidence: &Evidence| match evidence {
        Evidence::LateBounce { result: AttemptResult::Refused { cause, .. }, .. } => Some(cause.as_str()),
        _ => None,
    };
    let all: BTreeSet<&str> = evidence.iter().filter_map(cause).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

fn domains(mail: &Mail) -> String {
    let named = mail.recipients.iter().flat_map(|r| [&r.original_recipient, &r.final_recipient]).flatten();
    let domains = named.filter_map(|name| name.parse::<Mailbox>().ok()).map(|mailbox| mailbox.domain().to_string());
    let all: BTreeSet<String> = domains.take(DOMAINS_MAX).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ages_are_short() {
        let at = Wall::from_millis(1_795_000_000_000);
        let after = |seconds| age(at, at.plus(Duration::from_secs(seconds)));
        assert_eq!([59, 61, 3661, 90_000].map(after), ["0m", "1m", "1h1m", "1d1h"]);
        assert_eq!(age(at.plus(Duration::from_secs(60)), at), "0m");
    }
}
