//! Which bindings may carry a sender's mail by its domain's SPF record.
//!
//! What counts is the domain that the mail leaves with: the tenant's own where its return paths are rewritten, else that of
//! the reverse path. The null reverse path has none: SPF then looks at the EHLO name (RFC 7208 §2.4), which is the
//! operator's and the monitor's business. Mail of different covers is in different parts of a lane; where one changes, mail finds
//! its new part when its turn comes, and lanes of the old cover look again at once, since another binding may carry it.

use std::collections::BTreeSet;

use super::super::index::SenderId;
use super::Core;
use super::held::is_set_aside;
use crate::message::{BindingName, Domain, EntryId, TenantName};
use crate::reputation::Note;
use crate::scheduler::{CoverId, CoverMove, TenantId};

impl Core {
    /// The cover of mail that waits.
    pub(super) fn cover_of(&self, tenant: TenantId, sender: SenderId) -> CoverId {
        if sender == SenderId::NULL {
            return CoverId::NONE;
        }
        match self.tenants.get(tenant.index()) {
            Some(plan) if !plan.keeps_to_spf => CoverId::NONE,
            Some(plan) => match &plan.sends_as {
                Some(domain) => self.scheduler.cover_of(domain),
                None => self.senders.cover(sender),
            },
            None => CoverId::NONE,
        }
    }

    /// The cover of mail that might come, from a domain.
    pub(super) fn cover_of_domain(&self, tenant: TenantId, sender_domain: &Domain) -> CoverId {
        let plan = self.tenants.get(tenant.index()).filter(|plan| plan.keeps_to_spf);
        plan.map_or(CoverId::NONE, |plan| self.scheduler.cover_of(plan.sends_as.as_ref().unwrap_or(sender_domain)))
    }

    /// Takes over which bindings a sender domain's record is proven to allow, and which not.
    pub fn covered(&mut self, sender_domain: &Domain, allowed: &[BindingName], barred: &[BindingName]) {
        let (before, cover) = self.scheduler.set_cover(sender_domain, allowed, barred);
        if before == cover {
            return;
        }
        self.senders.set_cover(sender_domain, cover);
        self.aside.wake_for_cover(before);
        if before != CoverId::NONE {
            self.wake_cover(before);
        }
    }

    /// Bars hold no more, or again: what waits for them looks again, and people are told. Lanes of the pool look again
    /// anyway, since a health has moved.
    pub(super) fn follow_covers(&mut self) -> Vec<Note> {
        let moves = self.scheduler.take_cover_moves();
        moves.iter().flat_map(|moved| &moved.covers).for_each(|cover| self.aside.wake_for_cover(*cover));
        let note = |CoverMove { binding, pool, holds, domains, .. }| Note::SpfWaived {
            pool: self.scheduler.pool_name(pool).clone(),
            binding: self.scheduler.binding_name(binding).clone(),
            domains,
            is_gone: !holds,
        };
        moves.into_iter().map(note).collect()
    }

    /// Notes an entry that was set aside because other bindings may not carry its sender's mail.
    pub(super) fn keep_for_cover(&mut self, cover: CoverId, id: EntryId) {
        let Self { aside, index, .. } = self;
        aside.keep_for_cover(cover, id, |id| index.get(id).is_some_and(is_set_aside));
    }

    /// Whether mail from a sender domain waits.
    pub fn waits_from(&self, sender_domain: &Domain) -> bool {
        self.senders.has(sender_domain)
    }

    /// Adds the sender domains of up to `count` entries before the `before`-th, each with its tenant. Returns where the walk
    /// goes on; 0 at its end. Begin with [`usize::MAX`].
    pub fn sender_domains(&self, before: usize, count: usize, domains: &mut BTreeSet<(TenantName, Domain)>) -> usize {
        let (from, slice) = self.index.slice_before(before, count);
        let pairs: BTreeSet<_> = slice.map(|(_, waiting)| (waiting.tenant, waiting.sender)).collect();
        let named = |(tenant, sender)| {
            let domain = self.senders.domain(sender)?;
            Some((self.scheduler.tenant_name(tenant).clone(), domain.clone()))
        };
        domains.extend(pairs.into_iter().filter_map(named));
        from
    }
}
