//! Mail on its way in: of sources, of tests, and the reports that the program itself writes.

use super::super::agenda::Event;
use super::super::disk::{Seen, Stored};
use super::World;
use super::by_hand::Handed;
use crate::clock::Now;
use crate::message::{Entry, EntryId, EntryState, Mailbox, MessageId, PoolName, Recipient, StreamName, Wishes};

/// A message on its way in.
struct Letter {
    from: Option<Mailbox>,
    stream: StreamName,
    pool: PoolName,
    recipients: Vec<Mailbox>,
}

impl World {
    pub(super) fn arrival(&mut self, n: usize, now: Now) {
        let source = &mut self.sources[n];
        let site = source.site(&mut self.random);
        let (first, recipients) = self.internet.mailboxes(site, source.recipients(), &mut self.random);
        let (from, tenant, quality) = (source.from.clone(), source.tenant, source.quality);
        let stream = source.model().stream.clone();
        let groups = source.pools(recipients, &self.assigner);
        if let Some(next) = source.next(&mut self.random) {
            self.agenda.plan(next, Event::Arrival(n));
        }
        let seen = Seen::new(site, quality, tenant, first);
        for (pool, recipients) in groups {
            let mail = Letter { from: Some(from.clone()), stream: stream.clone(), pool, recipients };
            self.take_in(mail, seen.clone(), now);
        }
    }

    pub(super) fn handed(&mut self, n: usize, now: Now) {
        let Handed { tenant, site, quality } = self.handed[n];
        let (first, recipients) = self.internet.mailboxes(site, 1, &mut self.random);
        let config = &self.config.tenants[tenant as usize];
        let Some(pool) = config.pools.get("default").cloned() else { return };
        let from = format!("s@{}.example", config.name).parse().ok();
        let mail = Letter { from, stream: "default".into(), pool, recipients };
        self.take_in(mail, Seen::new(site, quality, tenant, first), now);
    }

    /// Accepts mail: on disk, then into the queue.
    fn take_in(&mut self, letter: Letter, mut seen: Seen, now: Now) {
        let Letter { from, stream, pool, recipients } = letter;
        self.next_id += 1;
        let queue = &self.config.queue;
        let lifetime = if seen.is_report { queue.bounce_lifetime } else { queue.lifetime };
        let tenant = &self.config.tenants[seen.tenant as usize];
        let recipient = |address: Mailbox| Recipient::from(address);
        let entry = Entry {
            id: EntryId(self.next_id),
            message: MessageId(self.next_id),
            tenant: tenant.name.clone(),
            stream,
            domain: self.internet.site(seen.site).domain.clone(),
            reverse_path: from,
            recipients: recipients.into_iter().map(recipient).collect(),
            arrived: now.wall,
            expires: now.wall.plus(lifetime),
            size: 20_000,
            eight_bit: false,
            wishes: Wishes::NONE,
            state: EntryState::default(),
            pool,
        };
        let Some(pool) = self.core.scheduler().pool_id(&entry.pool) else { return };
        (seen.pool, seen.expires) = (pool.0, entry.expires);
        let stored = Stored { entry, seen };
        self.invariants.accepted(&stored);
        self.recorder.accepted(&stored.seen, stored.entry.recipients.len() as u64);
        let wanted = self.wanted(&stored);
        self.meter.accepted(&stored.seen, wanted, now.wall);
        if !self.core.enqueue(&stored.entry, now) {
            let id = stored.entry.id;
            self.invariants.add("once", now.wall, || format!("{id} was accepted and not taken into the queue"));
        }
        self.disk.put(stored);
    }

    /// The report of recipients that failed, as new mail to whoever sent it; none about a report.
    pub(super) fn report_to_sender(&mut self, entry: &Entry, seen: &Seen, now: Now) {
        if entry.reverse_path.is_none() {
            return;
        }
        let site = self.internet.senders();
        let (first, recipients) = self.internet.mailboxes(site, 1, &mut self.random);
        let letter = Letter { from: None, stream: entry.stream.clone(), pool: entry.pool.clone(), recipients };
        let seen = Seen { is_report: true, ..Seen::new(site, seen.quality, seen.tenant, first) };
        self.take_in(letter, seen, now);
    }
}
