//! Whose mail is it, and from which pool does it go.
//!
//! [`Assigner`] is the configuration turned into look-up tables. It answers once per message, before the `250`:
//! tenant, stream, and per recipient the pool, as groups that share pool and domain. What it cannot answer is refused
//! ([`Unassigned`]), never given to "some" tenant or pool.
//!
//! The tenant is found by, in this order: the authenticated user; the tenant header and the tenants' own header marks,
//! believed only from trusted clients; the domain of the reverse path; the client's address, longest prefix first; the
//! default tenant. The most explicit word counts, so a header that names an unknown tenant is an error and not a
//! reason to look further. A user who is no tenant's sends for the default tenant or for nobody: sender and address are what
//! any user could choose. Only where the client is trusted besides, which could name a tenant without any login, the other
//! marks count for it as well. The stream is what the stream header says, else the first of the tenant's rules that
//! matches, else `default`.
//!
//! The binding is *not* chosen here but at each attempt.

pub mod senders;
mod split;
mod tenants;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::net::IpAddr;

use crate::clock::Wall;
use crate::config::{Config, Queue, StreamRule, Tenant};
use crate::message::header::Headers;
use crate::message::{
    Domain, Entry, EntryId, EntryState, ForwardPath, Mailbox, MessageId, PoolName, Recipient, StreamName, TenantName,
    Wishes,
};

use senders::Senders;
use split::Split;
use tenants::Tenants;

/// Name of the stream of mail that says nothing else.
pub const DEFAULT_STREAM: &str = "default";

/// Headers whose names start like this are meant for us and removed once they were read.
const OWN_PREFIX: &str = "x-remuda-";

/// What is known of a message when it is assigned.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// Whether the client is in the listener's `trust`.
    pub trusted: bool,
    /// User name, where the client authenticated.
    pub auth_user: Option<&'a str>,
    /// Reverse path; `None` is the null reverse path.
    pub reverse_path: Option<&'a Mailbox>,
    /// Recipients.
    pub recipients: &'a [ForwardPath],
    /// The message's header section.
    pub headers: Headers<'a>,
}

/// Where a message belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Whose mail it is.
    pub tenant: TenantName,
    /// Kind of mail.
    pub stream: StreamName,
    /// Its recipients by pool and domain, in the order in which each pair first appears.
    pub groups: Vec<Group>,
}

/// Recipients that share pool and domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The pool they may be served from.
    pub pool: PoolName,
    /// Their domain.
    pub domain: Domain,
    /// Never empty.
    pub recipients: Vec<ForwardPath>,
}

/// Why a message has no place. The text is fit for a reply; names the client gave are cut and made printable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unassigned {
    /// No tenant, neither by a mark nor by default.
    #[error("{}", no_tenant(.named))]
    Tenant {
        /// The tenant that a header named, if one did.
        named: Option<String>,
    },
    /// The user that logged in is no tenant's, and there is no default.
    #[error("user {} belongs to no tenant", shown(.user))]
    User {
        /// The user.
        user: String,
    },
    /// The stream has no pool.
    #[error("unknown stream: tenant {tenant} has no pool for stream {}", shown(.stream))]
    Stream {
        /// The tenant.
        tenant: TenantName,
        /// The stream that was named.
        stream: String,
    },
    /// The tenant may not send from there.
    #[error("tenant {tenant} may not send as {}", shown(.sender))]
    Sender {
        /// The tenant.
        tenant: TenantName,
        /// The address that it may not.
        sender: String,
    },
    /// A control header is there more than once with different values.
    #[error("header {header} is given more than once with different values")]
    Contradiction {
        /// Its name.
        header: String,
    },
}

fn no_tenant(named: &Option<String>) -> String {
    match named {
        Some(name) => format!("unknown tenant {}", shown(name)),
        None => "unknown tenant: neither user, header, sender domain nor client address names one".to_owned(),
    }
}

/// A name from outside, short and printable.
fn shown(name: &str) -> String {
    let cut: String = name.chars().take(64).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
    format!("\"{cut}\"")
}

/// The configuration's answer to "whose is it, and where from".
#[derive(Clone, Debug)]
pub struct Assigner {
    tenant_header: String,
    stream_header: String,
    control_headers: Vec<String>,
    tenants: Tenants,
    plans: Vec<Plan>,
}

/// What one tenant's mail needs to find its pool.
#[derive(Clone, Debug)]
struct Plan {
    name: TenantName,
    streams: HashMap<StreamName, Split>,
    rules: Vec<StreamRule>,
    senders: Senders,
}

impl Plan {
    fn of(tenant: &Tenant) -> Self {
        let split = |(stream, pool): (&StreamName, &PoolName)| {
            let shares = tenant.split.get(stream).map_or(&[][..], Vec::as_slice);
            (stream.clone(), Split::new(stream, pool, shares))
        };
        Self {
            name: tenant.name.clone(),
            streams: tenant.pools.iter().map(split).collect(),
            rules: tenant.streams.clone(),
            senders: Senders::of(tenant),
        }
    }
}

impl Assigner {
    /// Takes from the configuration what assignment needs.
    pub fn new(config: &Config) -> Self {
        Self {
            tenant_header: config.assignment.tenant_header.clone(),
            stream_header: config.assignment.stream_header.clone(),
            control_headers: control_headers(config),
            tenants: Tenants::new(config),
            plans: config.tenants.iter().map(Plan::of).collect(),
        }
    }

    /// Names of the headers that must not leave with the message. They are removed whoever sent them: also a client
    /// that is not believed does not get its control headers past us.
    pub fn control_headers(&self) -> &[String] {
        &self.control_headers
    }

    /// Tenant, stream and pools of a message.
    pub fn assign(&self, mail: &Incoming<'_>) -> Result<Assigned, Unassigned> {
        let plan = &self.plans[self.tenant(mail)?];
        let allowed = plan.senders.allow(mail.reverse_path, mail.headers);
        allowed.map_err(|sender| Unassigned::Sender { tenant: plan.name.clone(), sender })?;
        let (stream, split) = self.stream(plan, mail)?;
        Ok(Assigned { tenant: plan.name.clone(), stream: stream.clone(), groups: groups(split, mail.recipients) })
    }

    /// Whether a user may send from this address, as far as that is known before the message is: the tenant's own
    /// `senders`, where the user is a tenant's. [`Assigner::assign`] asks again, and of everybody.
    ///
    /// # Errors
    /// [`Unassigned::Sender`]
    pub fn may_user_send(&self, user: &str, reverse_path: Option<&Mailbox>) -> Result<(), Unassigned> {
        let Some(plan) = self.tenants.by_user(user).map(|tenant| &self.plans[tenant]) else { return Ok(()) };
        let allowed = plan.senders.allow_envelope(reverse_path);
        allowed.map_err(|sender| Unassigned::Sender { tenant: plan.name.clone(), sender })
    }

    fn tenant(&self, mail: &Incoming<'_>) -> Result<usize, Unassigned> {
        if let Some(tenant) = mail.auth_user.and_then(|user| self.tenants.by_user(user)) {
            return Ok(tenant);
        }
        if let Some(user) = mail.auth_user
            && (!mail.trusted || tenants::is_token(user))
        {
            // A token that is gone is nobody's.
            let default = self.tenants.default_tenant().filter(|_| !tenants::is_token(user));
            return default.ok_or_else(|| Unassigned::User { user: user.to_owned() });
        }
        if mail.trusted {
            if let Some(name) = only_value(mail.headers, &self.tenant_header)? {
                return self.tenants.by_name(&name).ok_or(Unassigned::Tenant { named: Some(name) });
            }
            if let Some(tenant) = self.tenants.by_header(mail.headers) {
                return Ok(tenant);
            }
        }
        mail.reverse_path
            .and_then(|sender| self.tenants.by_sender_domain(sender.domain_str()))
            .or_else(|| self.tenants.by_client(mail.client))
            .or(self.tenants.default_tenant())
            .ok_or(Unassigned::Tenant { named: None })
    }

    fn stream<'p>(&self, plan: &'p Plan, mail: &Incoming<'_>) -> Result<(&'p StreamName, &'p Split), Unassigned> {
        let named = only_value(mail.headers, &self.stream_header)?;
        let stream = named.as_deref().unwrap_or_else(|| {
            let rule = plan.rules.iter().find(|rule| applies(rule, mail));
            rule.map_or(DEFAULT_STREAM, |rule| rule.stream.as_str())
        });
        plan.streams
            .get_key_value(stream)
            .ok_or_else(|| Unassigned::Stream { tenant: plan.name.clone(), stream: stream.to_owned() })
    }
}

/// Own headers of the configuration, without repetition. The mark is one of them: only we put it on mail.
fn control_headers(config: &Config) -> Vec<String> {
    let marks = config.tenants.iter().flat_map(|tenant| tenant.matches.header.keys());
    let rules = config.tenants.iter().flat_map(|tenant| &tenant.streams).filter_map(|rule| rule.header.as_ref());
    let ours = |name: &&String| name.to_ascii_lowercase().starts_with(OWN_PREFIX);
    let mut names = vec![config.assignment.tenant_header.clone(), config.assignment.stream_header.clone()];
    let mark = config.feedback.iter().map(|feedback| &feedback.header);
    for name in marks.chain(rules.map(|(name, _)| name)).filter(ours).chain(mark) {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name.clone());
        }
    }
    names
}

/// The value of a header that may say one thing only.
fn only_value(headers: Headers<'_>, name: &str) -> Result<Option<String>, Unassigned> {
    let mut values = headers.all(name);
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(Unassigned::Contradiction { header: name.to_owned() });
    }
    Ok(Some(first.into_owned()))
}

fn applies(rule: &StreamRule, mail: &Incoming<'_>) -> bool {
    let sender = |wanted: &Mailbox| {
        mail.reverse_path.is_some_and(|sender| sender.as_str().eq_ignore_ascii_case(wanted.as_str()))
    };
    rule.sender.as_ref().is_none_or(sender)
        && rule
            .sender_domain
            .as_ref()
            .is_none_or(|wanted| mail.reverse_path.is_some_and(|sender| wanted.matches(sender.domain_str())))
        && rule
            .header
            .as_ref()
            .is_none_or(|(name, value)| mail.headers.all(name).any(|found| found.eq_ignore_ascii_case(value.trim())))
}

fn groups(split: &Split, recipients: &[ForwardPath]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<(&PoolName, &str), usize> = HashMap::new();
    for recipient in recipients {
        let pool = split.pool_of(&recipient.address);
        match known.entry((pool, recipient.address.domain_str())) {
            Slot::Occupied(slot) => groups[*slot.get()].recipients.push(recipient.clone()),
            Slot::Vacant(slot) => {
                slot.insert(groups.len());
                groups.push(Group {
                    pool: pool.clone(),
                    domain: recipient.address.domain(),
                    recipients: vec![recipient.clone()],
                });
            }
        }
    }
    groups
}

/// What all entries of a message share.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Key of the body.
    pub message: MessageId,
    /// Reverse path; `None` is the null reverse path.
    pub reverse_path: Option<Mailbox>,
    /// Octets of the body as stored.
    pub size: u64,
    /// Whether it holds octets above 127.
    pub eight_bit: bool,
    /// What was asked for with MAIL.
    pub wishes: Wishes,
}

/// The records to store for an assigned message, one per group. `next_id` gives the ids; `lifetimes` says when to give
/// up: mail with the null reverse path sooner, since nobody waits for a report about it.
pub fn entries(
    assigned: &Assigned,
    mail: &Mail,
    lifetimes: &Queue,
    next_id: &mut dyn FnMut() -> u64,
    now: Wall,
) -> Vec<Entry> {
    let lifetime = if mail.reverse_path.is_some() { lifetimes.lifetime } else { lifetimes.bounce_lifetime };
    let entry = |group: &Group| Entry {
        id: EntryId(next_id()),
        message: mail.message,
        tenant: assigned.tenant.clone(),
        stream: assigned.stream.clone(),
        pool: group.pool.clone(),
        domain: group.domain.clone(),
        reverse_path: mail.reverse_path.clone(),
        recipients: group.recipients.iter().cloned().map(Recipient::from).collect(),
        arrived: now,
        expires: now.plus(lifetime),
        size: mail.size,
        eight_bit: mail.eight_bit,
        wishes: mail.wishes.clone(),
        state: EntryState::default(),
    };
    assigned.groups.iter().map(entry).collect()
}

#[cfg(test)]
pub(crate) mod tests;
