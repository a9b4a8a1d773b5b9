//! Reports to senders: who is told of what, as new mail beside the record it is about.
//!
//! A report is a message of its own, with the null reverse path, from the pool of the mail it is about. It goes to disk in one
//! commit with what it reports, so it is made once or not at all. What a sender is told of is decided in
//! [`crate::outcome::dsn`]; mail without a sender that fails is told to the postmaster where the operator wants it, and noted
//! in any case. A report is never reported on: it leaves with `NOTIFY=NEVER` (RFC 3461 §6.1).

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::super::state::{Decided, Settled};
use super::Dispatcher;
use crate::config::DoubleBounce;
use crate::message::wishes::{Notify, Return};
use crate::message::{
    Entry, EntryId, EntryState, Mailbox, MessageId, PoolName, Recipient, RecipientState, RecipientWishes, Wishes,
};
use crate::outcome::Disposition;
use crate::outcome::dsn::{self, Action, Extent, Report, ReportInput, Reported};
use crate::store::Op;
use crate::telemetry::events::Kind;

/// How much of a message is read for its header.
const HEADER_MAX: usize = 16 * 1024;

/// A report that is to be, or was, written down.
#[derive(Clone, Debug)]
pub(super) struct NewReport {
    entry: Entry,
    body: Bytes,
    /// Recipients it is about, by what became of them.
    about: Vec<Action>,
}

impl NewReport {
    /// What puts it on disk.
    pub(super) fn ops(&self) -> [Op; 2] {
        [Op::PutBody(self.entry.message, self.body.clone()), Op::PutEntry(Box::new(self.entry.clone()))]
    }
}

impl Dispatcher {
    /// What the sender is told of recipients whose fate is decided. None where nobody wants to know, and none for mail with
    /// the null reverse path (RFC 5321 §4.5.5) but to the postmaster.
    pub(super) fn report_of_end(&self, entry: &Entry, settled: &Settled) -> Option<NewReport> {
        let Some(sender) = &entry.reverse_path else { return self.double_bounce(entry, settled) };
        let recipients: Vec<Reported<'_>> = settled
            .decided
            .iter()
            .filter_map(|decided| match decided.disposition {
                Disposition::Delivered => {
                    let is_told = dsn::relays_to_tell(&decided.wishes, settled.dsn_passed);
                    is_told.then(|| self.reported(entry, decided, Action::Relayed))
                }
                _ => {
                    dsn::is_told(&decided.wishes, Action::Failed).then(|| self.reported(entry, decided, Action::Failed))
                }
            })
            .collect();
        self.report(entry, sender, &recipients)
    }

    /// What the sender of an entry is told that waits.
    pub(super) fn report_of_delay(&self, entry: &Entry) -> Option<NewReport> {
        // Where the operator names no time, those are told who asked.
        let only_asked = self.config().queue.delay_warning.is_empty();
        let late = |one: &&Recipient| {
            dsn::is_told(&one.wishes, Action::Delayed) && !(only_asked && one.wishes.notify.is_none())
        };
        let recipients: Vec<Reported<'_>> = entry
            .recipients
            .iter()
            .filter(late)
            .map(|one| Reported {
                address: &one.address,
                original: one.wishes.original.as_ref(),
                action: Action::Delayed,
                expired: false,
                reply: one.state.last_reply.as_deref(),
                host: one.state.last_host.as_deref(),
                // When it was is not kept.
                last_attempt: None,
                returned: None,
            })
            .collect();
        self.report(entry, entry.reverse_path.as_ref()?, &recipients)
    }

    fn double_bounce(&self, entry: &Entry, settled: &Settled) -> Option<NewReport> {
        let config = self.config();
        let DoubleBounce::Postmaster(to) = &config.reports.double_bounce else { return None };
        // What the postmaster does not get, nobody gets.
        if settled.failed().any(|decided| decided.address == *to) {
            return None;
        }
        let recipients: Vec<Reported<'_>> =
            settled.failed().map(|decided| self.reported(entry, decided, Action::Failed)).collect();
        self.report(entry, to, &recipients)
    }

    fn reported<'a>(&self, entry: &Entry, decided: &'a Decided, action: Action) -> Reported<'a> {
        let was_tried = entry.state.attempts > 0 || decided.disposition != Disposition::Expired;
        Reported {
            address: &decided.address,
            original: decided.wishes.original.as_ref(),
            action,
            expired: decided.disposition == Disposition::Expired,
            reply: decided.text.as_deref(),
            host: decided.host.as_deref(),
            last_attempt: was_tried.then(|| self.clock.now().wall).filter(|_| decided.returned.is_none()),
            returned: decided.returned.as_deref(),
        }
    }

    fn report(&self, entry: &Entry, to: &Mailbox, recipients: &[Reported<'_>]) -> Option<NewReport> {
        if recipients.is_empty() {
            return None;
        }
        let in_force = self.in_force();
        let config = &in_force.config;
        let now = self.clock.now().wall;
        // Without its header a report is poorer, but still a report.
        let original = self.spool.body(entry.message).ok().flatten().unwrap_or_default();
        let is_any_failed = recipients.iter().any(|one| one.action == Action::Failed);
        let is_wanted_whole = entry.wishes.ret == Some(Return::Full) && is_any_failed;
        let is_whole = is_wanted_whole && original.len() as u64 <= config.reports.max_returned_bytes;
        let message = MessageId(self.next_id());
        let Report { body, eight_bit, utf8 } = dsn::report(
            &ReportInput {
                hostname: config.server.hostname.as_str(),
                id: &message.to_string(),
                to,
                is_double_bounce: entry.reverse_path.is_none(),
                original: if is_whole { &original } else { &original[..original.len().min(HEADER_MAX)] },
                extent: if is_whole { Extent::Full } else { Extent::Headers },
                envelope_id: entry.wishes.envelope_id.as_ref(),
                recipients,
                arrived: entry.arrived,
                until: entry.expires,
                now,
            },
            &in_force.texts,
        );
        let unreported = RecipientWishes { notify: Some(Notify::NEVER), original: None };
        let entry = Entry {
            id: EntryId(self.next_id()),
            message,
            tenant: entry.tenant.clone(),
            stream: entry.stream.clone(),
            pool: self.pool_of_report(entry),
            domain: to.domain(),
            reverse_path: None,
            recipients: vec![Recipient { address: to.clone(), wishes: unreported, state: RecipientState::default() }],
            arrived: now,
            expires: now.plus(config.queue.bounce_lifetime),
            size: body.len() as u64,
            eight_bit,
            wishes: Wishes { utf8, ..Wishes::NONE },
            state: EntryState::default(),
        };
        Some(NewReport { entry, body, about: recipients.iter().map(|one| one.action).collect() })
    }

    /// Where the report about an entry leaves from: its own pool, or its tenant's default pool where that is gone. Where the
    /// tenant is gone as well the report is stranded like everything of it.
    fn pool_of_report(&self, entry: &Entry) -> PoolName {
        let config = self.config();
        let is_there = |name: &PoolName| config.pools.iter().any(|pool| pool.name == *name);
        if is_there(&entry.pool) {
            return entry.pool.clone();
        }
        let tenant = config.tenants.iter().find(|tenant| tenant.name == entry.tenant);
        let default = tenant.and_then(|tenant| tenant.pools.get("default"));
        default.filter(|name| is_there(name)).unwrap_or(&entry.pool).clone()
    }

    /// Takes a report that is on disk into the queue.
    pub(super) fn take_in_report(&self, report: Option<NewReport>) {
        let Some(NewReport { entry, about, .. }) = report else { return };
        self.metrics.dsns.inc();
        for action in about {
            self.metrics.reported_recipients.with_label_values(&[action.as_str()]).inc();
        }
        self.take_in(vec![entry], None, |counts| {
            counts.dsn.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// Notes mail without a sender that failed, once that is on disk.
    pub(super) fn note_double_bounce(&self, entry: &Entry, settled: &Settled) {
        let failed: Vec<&Decided> = settled.failed().collect();
        let Some(first) = failed.first().filter(|_| entry.reverse_path.is_none()) else { return };
        let config = self.config();
        let to = match &config.reports.double_bounce {
            DoubleBounce::Postmaster(to) if failed.iter().all(|decided| decided.address != *to) => Some(to),
            _ => None,
        };
        let fate = if to.is_some() { "reported" } else { "dropped" };
        self.metrics.double_bounces.with_label_values(&[fate]).inc();
        let fields = [
            ("note", "double_bounce".to_owned()),
            ("tenant", entry.tenant.to_string()),
            ("message", entry.message.to_string()),
            ("to", first.address.to_string()),
            ("recipients", failed.len().to_string()),
            ("reply", first.text.clone().unwrap_or_default()),
            ("fate", fate.to_owned()),
        ];
        self.events.note(Kind::Note, fields, self.clock.now().wall);
        tracing::warn!(id = %entry.id, message = %entry.message, to = first.address.as_str(), fate,
            "mail without a sender could not be delivered");
    }
}
