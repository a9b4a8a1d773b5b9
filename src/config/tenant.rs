//! `[tenant.NAME]`: how a tenant's mail is known, into which streams it falls, and where each of them goes.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{Config, DomainPattern, Monitor, Rate, SpfPolicy};
use crate::message::{Domain, Mailbox, PoolName, ProviderName, StreamName, TenantName};

/// `[tenant.NAME]`
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its name.
    pub name: TenantName,
    /// How its mail is recognised.
    pub matches: TenantMatch,
    /// Pool per stream; always has `default`.
    pub pools: BTreeMap<StreamName, PoolName>,
    /// Per stream: share (0–1) of recipients that goes to another pool instead. Shares of a stream add up to ≤ 1.
    pub split: BTreeMap<StreamName, Vec<(PoolName, f64)>>,
    /// Rules that choose the stream when no header does; the first that matches wins, else `default`.
    pub streams: Vec<StreamRule>,
    /// Accepted recipients per day over all its bindings.
    pub daily_cap: Option<u64>,
    /// Accepted recipients per day towards single providers, over all its bindings.
    pub provider_caps: BTreeMap<ProviderName, u64>,
    /// Messages per short span over all its bindings.
    pub rate_limit: Option<Rate>,
    /// Share against other tenants in the same queue. Default 1; at least 1.
    pub weight: u32,
    /// Order of its streams in the queue: higher first. Default [`Tenant::PRIORITY`] for streams not named.
    pub priority: BTreeMap<StreamName, u8>,
    /// Streams whose recipients are the most welcome: addresses in warm-up keep their allowance for them.
    pub engaged: BTreeSet<StreamName>,
    /// Region whose bindings are preferred where the recipient has none.
    pub region: Option<String>,
    /// Domain under which its return paths are rewritten, so that bounces come back to us; `None` leaves them alone.
    pub return_path_domain: Option<Domain>,
    /// Keys that sign all its mail, whatever that says in `From:`; besides them those that name it sign theirs.
    pub dkim: Vec<String>,
    /// Its own `monitor.spf`, where it has one.
    pub spf: Option<SpfPolicy>,
    /// Its mail is taken in and waits, for as long as its lifetime lasts. Default false.
    pub hold: bool,
    /// Domains that its senders may have; empty is any. Mail without a sender (bounces) is not asked.
    pub senders: Vec<DomainPattern>,
    /// Which senders are asked. Default [`SenderCheck::Envelope`].
    pub sender_check: SenderCheck,
}

/// Where `tenant.NAME.senders` is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderCheck {
    /// The reverse path (MAIL FROM).
    Envelope,
    /// That, and every address of the `From:` header.
    Both,
}

impl Tenant {
    /// What SPF means for its mail.
    pub fn spf_policy(&self, monitor: &Monitor) -> SpfPolicy {
        match monitor.spf {
            // Without evaluations there is nothing to keep to.
            SpfPolicy::Off => SpfPolicy::Off,
            policy => self.spf.unwrap_or(policy),
        }
    }

    /// The sender domain that its mail leaves with, where its return paths are rewritten.
    pub fn sends_as<'a>(&'a self, config: &Config) -> Option<&'a Domain> {
        self.return_path_domain.as_ref().filter(|_| config.feedback.is_some())
    }
}

/// Marks by which a tenant's mail is known; tried in the order user, header, sender domain, client.
#[derive(Clone, Debug, Default)]
pub struct TenantMatch {
    /// Names of users that logged in.
    pub auth_user: Vec<String>,
    /// Domains of the reverse path, sub-domains not included unless written `*.example.com`.
    pub sender_domain: Vec<DomainPattern>,
    /// Client networks; the longest prefix over all tenants wins.
    pub client: Vec<IpNet>,
    /// Header name → value, believed only from trusted clients.
    pub header: BTreeMap<String, String>,
}

/// One rule that chooses a stream: all given conditions must hold.
#[derive(Clone, Debug)]
pub struct StreamRule {
    /// The stream it chooses; has a pool.
    pub stream: StreamName,
    /// Reverse path equals.
    pub sender: Option<Mailbox>,
    /// Domain of the reverse path matches.
    pub sender_domain: Option<DomainPattern>,
    /// Header `name` has this value (compared without case, trimmed).
    pub header: Option<(String, String)>,
}
