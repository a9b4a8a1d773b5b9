//! Reports to senders: who is told of what, as new mail beside the record it is about.
//!
//! A report is a message of its own, with the null reverse path, from the pool of the mail it is about. It goes to disk in one
//! commit with what it reports, so it is made once or not at all. What a sender is told of is decided in
//! [`crate::outcome::dsn`]; mail without a sender that fails is told to the postmaster where the operator wants it, and noted
//! in any case, within limits ([`postmaster`](super::postmaster)). A report is never reported on: it leaves with
//! `NOTIFY=NEVER` (RFC 3461 §6.1).
//!
//! A report about mail with REQUIRETLS must be protected like the mail, or say nothing of it (RFC 8689 §5). It returns
//! nothing, not even the header, and leaves as any other mail: the way back need not know REQUIRETLS, and a report that must
//! not be sent in the clear would be lost there.
//!
//! First a [`Draft`] says who is told of what; only where there is one the message is looked at ([`originals`](super::originals)).

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::super::state::{Decided, Settled};
use super::Dispatcher;
use super::originals::HEADER_MAX;
use super::postmaster::{Excess, PER_HOUR};
use crate::clock::Wall;
use crate::config::DoubleBounce;
use crate::message::wishes::{Notify, Return};
use crate::message::{
    Entry, EntryId, EntryState, Mailbox, MessageId, PoolName, Recipient, RecipientState, RecipientWishes, TlsWish,
    Wishes,
};
use crate::outcome::Disposition;
use crate::outcome::dsn::{self, Action, Extent, Report, ReportInput, Reported};
use crate::store::Op;
use crate::telemetry::events::Kind;

/// Who is to be told of what, before the message it is about was looked at.
struct Draft<'a> {
    to: Mailbox,
    recipients: Vec<Reported<'a>>,
    extent: Extent,
}

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
    /// the null reverse path (RFC 5321 §4.5.5) but to the postmaster. `attempted`: the body, where an attempt has ended just
    /// now.
    pub(super) async fn report_of_end(
        &self,
        entry: &Entry,
        settled: &Settled,
        attempted: Option<Bytes>,
    ) -> Option<NewReport> {
        let at = attempted.is_some().then(|| self.clock.now().wall);
        let draft = self.draft_of_end(entry, settled, at)?;
        let original = match attempted {
            Some(body) => body,
            None => self.original(entry.message, draft.extent).await,
        };
        Some(self.report(entry, &draft, &original))
    }

    /// The same where no attempt was made. Blocks.
    pub(super) fn report_of_end_now(&self, entry: &Entry, settled: &Settled) -> Option<NewReport> {
        let draft = self.draft_of_end(entry, settled, None)?;
        Some(self.report(entry, &draft, &self.original_now(entry.message, draft.extent)))
    }

    /// `at`: when an attempt ended, if that is what decided.
    fn draft_of_end<'a>(&self, entry: &'a Entry, settled: &'a Settled, at: Option<Wall>) -> Option<Draft<'a>> {
        let Some(sender) = &entry.reverse_path else { return self.double_bounce(entry, settled, at) };
        let recipients: Vec<Reported<'_>> = settled
            .decided
            .iter()
            .filter_map(|decided| match decided.disposition {
                Disposition::Delivered => {
                    let is_told = dsn::relays_to_tell(&decided.wishes, settled.dsn_passed);
                    is_told.then(|| reported(decided, Action::Relayed, at))
                }
                _ => dsn::is_told(&decided.wishes, Action::Failed).then(|| reported(decided, Action::Failed, at)),
            })
            .collect();
        self.draft(entry, sender, recipients)
    }

    /// What the sender of an entry is told that waits. Blocks.
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
        let draft = self.draft(entry, entry.reverse_path.as_ref()?, recipients)?;
        Some(self.report(entry, &draft, &self.original_now(entry.message, draft.extent)))
    }

    fn double_bounce<'a>(&self, entry: &Entry, settled: &'a Settled, at: Option<Wall>) -> Option<Draft<'a>> {
        let config = self.config();
        let DoubleBounce::Postmaster(to) = &config.reports.double_bounce else { return None };
        // What the postmaster does not get, nobody gets.
        if settled.failed().any(|decided| decided.address == *to) {
            return None;
        }
        let recipients: Vec<Reported<'_>> =
            settled.failed().map(|decided| reported(decided, Action::Failed, at)).collect();
        let draft = self.draft(entry, to, recipients)?;
        self.postmaster.lock().may_tell(&entry.tenant, self.clock.now().wall).then_some(draft)
    }

    /// A report that was made could not be written down.
    pub(super) fn was_not_told(&self, entry: &Entry) {
        if entry.reverse_path.is_none() {
            self.postmaster.lock().was_not_told(&entry.tenant);
        }
    }

    fn draft<'a>(&self, entry: &Entry, to: &Mailbox, recipients: Vec<Reported<'a>>) -> Option<Draft<'a>> {
        if recipients.is_empty() {
            return None;
        }
        let is_any_failed = recipients.iter().any(|one| one.action == Action::Failed);
        let is_small = entry.size <= self.config().reports.max_returned_bytes;
        let extent = match entry.wishes.ret {
            _ if entry.wishes.tls == TlsWish::Required => Extent::Nothing,
            Some(Return::Full) if is_any_failed && is_small => Extent::Full,
            _ => Extent::Headers,
        };
        Some(Draft { to: to.clone(), recipients, extent })
    }

    fn report(&self, entry: &Entry, draft: &Draft<'_>, original: &[u8]) -> NewReport {
        let Draft { to, recipients, extent } = draft;
        let in_force = self.in_force();
        let config = &in_force.config;
        let now = self.clock.now().wall;
        // What the record says of its size decided so far.
        let is_whole = *extent == Extent::Full && original.len() as u64 <= config.reports.max_returned_bytes;
        let message = MessageId(self.next_id());
        let Report { body, eight_bit, utf8 } = dsn::report(
            &ReportInput {
                hostname: config.server.hostname.as_str(),
                id: &message.to_string(),
                to,
                is_double_bounce: entry.reverse_path.is_none(),
                original: if is_whole { original } else { &original[..original.len().min(HEADER_MAX)] },
                extent: if *extent == Extent::Full && !is_whole { Extent::Headers } else { *extent },
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
        NewReport { entry, body, about: recipients.iter().map(|one| one.action).collect() }
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

    /// Notes mail without a sender that failed, once that is on disk. `is_told`: with a report to the postmaster.
    pub(super) fn note_double_bounce(&self, entry: &Entry, settled: &Settled, is_told: bool) {
        let failed: Vec<&Decided> = settled.failed().collect();
        let Some(first) = failed.first().filter(|_| entry.reverse_path.is_none()) else { return };
        let fate = if is_told { "reported" } else { "dropped" };
        self.metrics.double_bounces.with_label_values(&[fate]).inc();
        let excess = if is_told { Excess::None } else { self.postmaster.lock().excess(&entry.tenant) };
        let now = self.clock.now().wall;
        match excess {
            Excess::None => {}
            Excess::First => {
                let tenant = entry.tenant.to_string();
                let limit = PER_HOUR.to_string();
                let fields = [("note", "double_bounces_dropped".to_owned()), ("tenant", tenant), ("per_hour", limit)];
                self.events.note(Kind::Note, fields, now);
                tracing::warn!(tenant = %entry.tenant, per_hour = PER_HOUR,
                    "mail without a sender could not be delivered, and the postmaster was told of so much in this hour; \
                     the rest is only counted");
                return;
            }
            Excess::Again => return,
        }
        let fields = [
            ("note", "double_bounce".to_owned()),
            ("tenant", entry.tenant.to_string()),
            ("message", entry.message.to_string()),
            ("to", first.address.to_string()),
            ("recipients", failed.len().to_string()),
            ("reply", first.text.clone().unwrap_or_default()),
            ("fate", fate.to_owned()),
        ];
        self.events.note(Kind::Note, fields, now);
        tracing::warn!(id = %entry.id, message = %entry.message, to = first.address.as_str(), fate,
            "mail without a sender could not be delivered");
    }
}

/// `at`: when an attempt ended. It has decided, unless time ran out meanwhile.
fn reported(decided: &Decided, action: Action, at: Option<Wall>) -> Reported<'_> {
    let expired = decided.disposition == Disposition::Expired;
    Reported {
        address: &decided.address,
        original: decided.wishes.original.as_ref(),
        action,
        expired,
        reply: decided.text.as_deref(),
        host: decided.host.as_deref(),
        // When earlier ones were is not kept.
        last_attempt: at.filter(|_| !expired),
        returned: decided.returned.as_deref(),
    }
}
