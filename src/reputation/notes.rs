//! What the operator should know although no health moved.

use super::complaints::{Cohort, SHARE_DAYS};
use super::health::{Reason, Subject, UNTIL_CLEARED};
use crate::clock::Wall;
use crate::message::{BindingName, DestinationName, PoolName, TenantName};

/// Something the operator should know that moved no health.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// Hard bounces over the limit that one tenant explains: the address was spared.
    TenantBlamed {
        /// Where it was seen.
        subject: Subject,
        /// Whose list is bad.
        tenant: TenantName,
        /// Counts.
        evidence: String,
    },
    /// Hard bounces over the limit that one recipient's domain explains: nobody was stopped.
    RecipientDomainBlamed {
        /// Where it was seen.
        subject: Subject,
        /// Whose mailboxes are gone.
        domain: String,
        /// Counts.
        evidence: String,
    },
    /// Hard bounces over the limit that several bindings see alike at one destination: nobody was stopped.
    DestinationBlamed {
        /// Which.
        destination: DestinationName,
        /// Counts.
        evidence: String,
    },
    /// A reply blames the tenant or its domain. More of them, and its mail is held there.
    TenantRefused {
        /// Where.
        subject: Subject,
        /// Whose mail.
        tenant: TenantName,
        /// The reply.
        evidence: String,
    },
    /// A receiver refuses the binding's own set-up: its PTR, its EHLO name. Time does not heal it; somebody must mend it.
    Misconfigured {
        /// Which.
        binding: BindingName,
        /// Who noticed.
        destination: DestinationName,
        /// The rule and the reply: what is to be mended.
        evidence: String,
    },
    /// More people complain about a binding's mail than a mailbox provider puts up with.
    Complaints {
        /// Whose mail.
        binding: BindingName,
        /// Where; `None` for all that is no configured provider.
        destination: Option<DestinationName>,
        /// Counts of the last [`SHARE_DAYS`].
        share: Cohort,
    },
    /// The pool guard held a suspension back; the binding, or the route, is throttled instead.
    Withheld {
        /// Pool that could not spare it.
        pool: PoolName,
        /// Which.
        subject: Subject,
        /// What it would have been suspended for.
        reason: Reason,
        /// Why it was held back, and the evidence.
        evidence: String,
    },
    /// The last binding of a pool that the SPF records of these senders cover was taken out by the operator or has lost its
    /// address, and their mail goes as if there were no record; or it is back, and the records hold again.
    SpfWaived {
        /// Where.
        pool: PoolName,
        /// Which.
        binding: BindingName,
        /// How many sender domains.
        domains: u32,
        /// Gone, or back.
        is_gone: bool,
    },
    /// Automation would have suspended it, and does not: it only watches, or the operator keeps it in use.
    WouldSuspend {
        /// What.
        subject: Subject,
        /// For what.
        reason: Reason,
        /// Until when; [`UNTIL_CLEARED`](super::UNTIL_CLEARED) where no time ends it.
        until: Wall,
        /// Why not, and the evidence.
        evidence: String,
    },
}

impl Note {
    /// Stable text: tenant_blamed, recipient_domain_blamed, destination_blamed, tenant_refused, misconfigured, complaints,
    /// withheld, spf_waived, spf_holds_again, would_suspend.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TenantBlamed { .. } => "tenant_blamed",
            Self::RecipientDomainBlamed { .. } => "recipient_domain_blamed",
            Self::DestinationBlamed { .. } => "destination_blamed",
            Self::TenantRefused { .. } => "tenant_refused",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Complaints { .. } => "complaints",
            Self::Withheld { .. } => "withheld",
            Self::SpfWaived { is_gone: true, .. } => "spf_waived",
            Self::SpfWaived { is_gone: false, .. } => "spf_holds_again",
            Self::WouldSuspend { .. } => "would_suspend",
        }
    }

    /// Everything in it by name, for the log and the events: `what` is [`Note::as_str`].
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("what", self.as_str().to_owned())];
        match self {
            Self::TenantBlamed { subject, tenant, evidence } | Self::TenantRefused { subject, tenant, evidence } => {
                fields.extend(names(subject));
                fields.push(("tenant", tenant.to_string()));
                fields.push(("evidence", evidence.clone()));
            }
            Self::RecipientDomainBlamed { subject, domain, evidence } => {
                fields.push(("binding", subject.binding().to_string()));
                if let Subject::Route(_, destination) = subject {
                    fields.push(("destination", destination.to_string()));
                }
                fields.push(("domain", domain.clone()));
                fields.push(("evidence", evidence.clone()));
            }
            Self::DestinationBlamed { destination, evidence } => {
                fields.extend([("destination", destination.to_string()), ("evidence", evidence.clone())]);
            }
            Self::Misconfigured { binding, destination, evidence } => fields.extend([
                ("binding", binding.to_string()),
                ("destination", destination.to_string()),
                ("evidence", evidence.clone()),
            ]),
            Self::Complaints { binding, destination, share } => fields.extend([
                ("binding", binding.to_string()),
                ("destination", destination.as_ref().map_or_else(|| "other".to_owned(), ToString::to_string)),
                ("evidence", in_words(*share)),
            ]),
            Self::Withheld { pool, subject, reason, evidence } => {
                fields.push(("pool", pool.to_string()));
                fields.extend(names(subject));
                fields.extend([("reason", reason.as_str().to_owned()), ("evidence", evidence.clone())]);
            }
            Self::SpfWaived { pool, binding, domains, is_gone } => {
                let evidence = match is_gone {
                    true => format!(
                        "{domains} sender domains have no other binding here that their SPF records cover: their mail \
                         leaves from any"
                    ),
                    false => format!("mail of {domains} sender domains keeps to what their SPF records cover"),
                };
                fields.extend([("pool", pool.to_string()), ("binding", binding.to_string()), ("evidence", evidence)]);
            }
            Self::WouldSuspend { subject, reason, until, evidence } => {
                fields.extend(names(subject));
                fields.push(("reason", reason.as_str().to_owned()));
                fields.extend((*until != UNTIL_CLEARED).then(|| ("until", until.to_string())));
                fields.push(("evidence", evidence.clone()));
            }
        }
        fields
    }
}

fn names(subject: &Subject) -> impl Iterator<Item = (&'static str, String)> {
    let at = match subject {
        Subject::Route(_, destination) => Some(("destination", destination.to_string())),
        Subject::Binding(_) => None,
    };
    std::iter::once(("binding", subject.binding().to_string())).chain(at)
}

fn in_words(share: Cohort) -> String {
    let Cohort { accepted, complaints, .. } = share;
    format!("{complaints} complaints about {accepted} recipients accepted in the last {SHARE_DAYS} days")
}
