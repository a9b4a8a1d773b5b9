//! Sender domains seen in each tenant's mail, and when last. Pure.
//!
//! Every accepted message looks here, so it is small and apart from the table of what is known. Of each tenant
//! [`SEEN_MAX`] are kept. A domain beyond that does not push another out, or mail from ever new domains would lift
//! everybody's bars and ask DNS without end: it takes the place of one that was not seen for long, or waits until there is
//! one. What is passed over is counted.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::clock::Wall;
use crate::message::{Domain, TenantName};

/// Domains seen in the mail of a tenant that are kept.
pub const SEEN_MAX: usize = 1_000;

/// New domains that wait to be taken in.
pub const NEW_MAX: usize = 1_000;

/// How long a tenant without room is not looked at again.
pub const FULL_PAUSE: Duration = Duration::from_secs(60);

/// What a message's domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// Known, or about to be.
    Known,
    /// New: to be taken in.
    New,
    /// There is no room for it: it is not evaluated, and its mail leaves from anywhere.
    PassedOver,
}

#[derive(Debug, Default)]
struct OfTenant {
    /// Named by the configuration.
    named: HashSet<Domain>,
    kept: HashMap<Domain, Wall>,
    new: HashSet<Domain>,
    full_until: Option<Wall>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    tenants: HashMap<TenantName, OfTenant>,
    new: VecDeque<(TenantName, Domain)>,
}

impl Seen {
    /// The configuration names this domain.
    pub fn name(&mut self, tenant: &TenantName, domain: &Domain) {
        self.tenants.entry(tenant.clone()).or_default().named.insert(domain.clone());
    }

    /// The configuration names these domains from now on, and these tenants are looked at; what was seen of others is
    /// forgotten.
    pub fn follow(&mut self, named: &[(TenantName, Domain)], watched: &BTreeSet<TenantName>) {
        for (name, own) in &mut self.tenants {
            own.named.clear();
            own.full_until = None;
            if !watched.contains(name) {
                (own.kept, own.new) = (HashMap::new(), HashSet::new());
            }
        }
        self.new.retain(|(tenant, _)| watched.contains(tenant));
        named.iter().for_each(|(tenant, domain)| self.name(tenant, domain));
        self.tenants.retain(|name, own| watched.contains(name) || !own.named.is_empty());
    }

    /// A message of this tenant came from this domain.
    pub fn note(&mut self, tenant: &TenantName, domain: &Domain, now: Wall) -> Noted {
        if !self.tenants.contains_key(tenant) {
            self.tenants.insert(tenant.clone(), OfTenant::default());
        }
        let Some(own) = self.tenants.get_mut(tenant) else { return Noted::PassedOver };
        if let Some(last) = own.kept.get_mut(domain) {
            *last = now;
            return Noted::Known;
        }
        if own.named.contains(domain) || own.new.contains(domain) {
            return Noted::Known;
        }
        if own.full_until.is_some_and(|until| now < until) || self.new.len() >= NEW_MAX {
            return Noted::PassedOver;
        }
        own.new.insert(domain.clone());
        self.new.push_back((tenant.clone(), domain.clone()));
        Noted::New
    }

    /// The next to be taken in.
    pub fn take_new(&mut self) -> Option<(TenantName, Domain)> {
        let (tenant, domain) = self.new.pop_front()?;
        if let Some(own) = self.tenants.get_mut(&tenant) {
            own.new.remove(&domain);
        }
        Some((tenant, domain))
    }

    /// It was taken in; it was seen last at `last`.
    pub fn keep(&mut self, tenant: &TenantName, domain: &Domain, last: Wall) {
        let own = self.tenants.entry(tenant.clone()).or_default();
        own.kept.insert(domain.clone(), last);
        own.full_until = None;
    }

    /// Keeps a domain that bars somebody and was named, or was seen before; false where there is no room.
    pub fn keeps(&mut self, tenant: &TenantName, domain: &Domain, now: Wall) -> bool {
        let own = self.tenants.entry(tenant.clone()).or_default();
        if own.named.contains(domain) {
            own.kept.remove(domain);
            return false;
        }
        let has_room = own.kept.len() < SEEN_MAX;
        own.kept.contains_key(domain) || has_room && own.kept.insert(domain.clone(), now).is_none()
    }

    /// There is no room for more of this tenant. True where that is news.
    pub fn is_full(&mut self, tenant: &TenantName, now: Wall) -> bool {
        let own = self.tenants.entry(tenant.clone()).or_default();
        own.full_until.replace(now.plus(FULL_PAUSE)).is_none()
    }

    /// Its row made way for another.
    pub fn forget(&mut self, tenant: &TenantName, domain: &Domain) {
        if let Some(own) = self.tenants.get_mut(tenant) {
            own.kept.remove(domain);
        }
    }

    /// Domains kept of a tenant.
    pub fn count(&self, tenant: &TenantName) -> usize {
        self.tenants.get(tenant).map_or(0, |own| own.kept.len())
    }

    /// Domains of one tenant, or of all, that were not seen for `span`: those seen the longest ago first.
    pub fn idle(&self, tenant: Option<&TenantName>, span: Duration, now: Wall) -> Vec<(TenantName, Domain)> {
        let wanted = self.tenants.iter().filter(|(name, _)| tenant.is_none_or(|tenant| *name == tenant));
        let all = wanted.flat_map(|(name, own)| own.kept.iter().map(move |(domain, last)| (*last, name, domain)));
        let mut idle: Vec<_> = all.filter(|(last, ..)| now.since(*last) >= span).collect();
        idle.sort_unstable();
        idle.into_iter().map(|(_, tenant, domain)| (tenant.clone(), domain.clone())).collect()
    }
}
