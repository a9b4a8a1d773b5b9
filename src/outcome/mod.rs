//! What an answer means: reply or failure → [`Outcome`] (disposition, cause, scope, what to do).
//!
//! The words are those of DESIGN: *disposition* is what becomes of the recipient, *cause* what went wrong, *scope*
//! whose fault it is. Only scopes [`Scope::Binding`] and [`Scope::Range`] with `counts_against_ip` may cost a binding
//! its reputation. Rules are data (`config/rules/`); see [`classify`].

mod blame;
pub mod classify;
pub mod classify_cli;
pub mod dsn;
pub mod explain;
pub mod failure;
mod load;
mod needles;
mod quoted;
pub mod reply;
pub mod rules;
pub mod table;
pub mod template;
mod text;
mod weigh;
mod words;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use classify::{Classifier, Context};
pub use failure::{Failure, FailureKind};
pub(crate) use quoted::is_public;
pub use reply::{BadReply, EnhancedCode, Reply, ReplyParser};

/// Where in the dialogue an answer came (RFC 5321 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Name look-up, binding the source address, TCP connect.
    Connect,
    /// The 220 greeting.
    Banner,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS and handshake.
    Tls,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, until 354.
    Data,
    /// The reply to the final dot.
    EndOfData,
}

impl Stage {
    /// All of them, in the order of the dialogue.
    pub const ALL: [Self; 8] =
        [Self::Connect, Self::Banner, Self::Ehlo, Self::Tls, Self::Mail, Self::Rcpt, Self::Data, Self::EndOfData];

    /// Stable text, as in logs and rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Banner => "banner",
            Self::Ehlo => "ehlo",
            Self::Tls => "tls",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::EndOfData => "end_of_data",
        }
    }
}

/// What becomes of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// The receiver took responsibility.
    Delivered,
    /// To be tried again.
    Deferred,
    /// Refused for good; reported to the sender.
    Bounced,
    /// Given up at the end of its lifetime; reported to the sender.
    Expired,
    /// Not tried at all, by a rule of ours.
    Suppressed,
}

impl Disposition {
    /// Stable text, as in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Deferred => "deferred",
            Self::Bounced => "bounced",
            Self::Expired => "expired",
            Self::Suppressed => "suppressed",
        }
    }
}

/// An enum whose values have a stable text, and whose documentation is also data: the table in the README is made of it.
macro_rules! worded {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Stable text, as in logs, metrics, rules and `remuda classify`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

worded! {
    /// What went wrong. The first fifteen are the categories of the reply labels.
    Cause {
        /// Address or user unknown, moved, bad syntax.
        InvalidRecipient = "invalid_recipient",
        /// Address known but not receiving.
        InactiveMailbox = "inactive_mailbox",
        /// Quota of the mailbox.
        MailboxFull = "mailbox_full",
        /// Refusal because of the IP: DNSBL, local block, reputation, dynamic range.
        SpamBlockIp = "spam_block_ip",
        /// The message looks like spam, virus, forbidden attachment.
        SpamBlockContent = "spam_block_content",
        /// A domain is blocked: sender's, a URL's, or the EHLO/PTR name's.
        SpamBlockDomain = "spam_block_domain",
        /// SPF, DKIM, DMARC, sender domain; PTR/FCrDNS (then scope binding).
        PolicyAuth = "policy_auth",
        /// Slow down.
        RateLimited = "rate_limited",
        /// First-contact deferral.
        Greylisted = "greylisted",
        /// Relaying refused.
        RelayDenied = "relay_denied",
        /// Syntax, sequence, TLS needed; EHLO name refused (then scope binding).
        ProtocolOrConfig = "protocol_or_config",
        /// Size of message, header or attachments.
        MessageTooBig = "message_too_big",
        /// Recipient domain does not exist or takes no mail; no route.
        DnsOrRouting = "dns_or_routing",
        /// Fault or overload at the receiver.
        TransientOther = "transient_other",
        /// The text blames nobody.
        Unknown = "unknown",
        /// No reply: refused, timed out or reset connection.
        Network = "network",
        /// The source address of the binding could not be used.
        LocalAddress = "local_address",
        /// Our own doing: disk, stop, internal error.
        Local = "local",
    }
}

worded! {
    /// Whose fault it is.
    Scope {
        /// This address.
        Recipient = "recipient",
        /// This message's content.
        Message = "message",
        /// The domain of the sender.
        SenderDomain = "sender_domain",
        /// The tenant as a whole.
        Tenant = "tenant",
        /// The binding: its IP, PTR or EHLO name.
        Binding = "binding",
        /// The network the binding's IP lies in.
        Range = "range",
        /// The receiver or the way to it.
        Destination = "destination",
        /// Ourselves.
        Us = "us",
        /// The text blames nobody.
        Unknown = "unknown",
    }
}

impl Scope {
    /// Whether a wish for less that says so means the route: a quota of one sender, recipient or message must not slow
    /// down everybody else's mail there.
    pub fn is_of_route(self) -> bool {
        matches!(self, Self::Binding | Self::Range | Self::Destination | Self::Unknown)
    }

    /// The coarser word of the reply labels: recipient, content, sender, source_ip, remote, unknown.
    pub fn label(self) -> &'static str {
        match self {
            Self::Recipient => "recipient",
            Self::Message => "content",
            Self::SenderDomain | Self::Tenant | Self::Us => "sender",
            Self::Binding | Self::Range => "source_ip",
            Self::Destination => "remote",
            Self::Unknown => "unknown",
        }
    }
}

/// What a rule asks to be done besides the disposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "for")]
pub enum Action {
    /// Nothing.
    #[default]
    None,
    /// Use the route less for a while.
    BackOff(Duration),
    /// Take the route (binding × destination) out at once.
    SuspendRoute(Duration),
    /// Take the whole binding out at once. No shipped rule asks for it: one receiver's refusal stays that receiver's.
    SuspendBinding(Duration),
    /// Hold the mail of the tenant (scope tenant) or of its sender domain (scope sender_domain) at this destination, once
    /// enough replies said so.
    HoldTenant(Duration),
    /// Hold this message: neither another binding nor an early retry helps.
    HoldContent(Duration),
    /// The binding's own set-up is at fault (PTR, EHLO name): take the route out and tell the operator what to mend.
    FixBinding(Duration),
}

/// Which binding the next try should take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextBinding {
    /// The same for the next tries (greylisting remembers the client), then any.
    #[default]
    Prefer,
    /// Another one, at once: this one was blamed.
    Other,
    /// Any.
    Any,
}

impl NextBinding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Prefer, Self::Other, Self::Any];

    /// Stable text, as in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prefer => "prefer",
            Self::Other => "other",
            Self::Any => "any",
        }
    }
}

/// What an answer means for one recipient.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Delivered, deferred or bounced.
    pub disposition: Disposition,
    /// What went wrong; `None` exactly when delivered.
    pub cause: Option<Cause>,
    /// Whose fault.
    pub scope: Scope,
    /// Evidence that the receiver distrusts the connecting IP.
    pub counts_against_ip: bool,
    /// It counts against the IP whatever the mail is: the text names a public list or our own set-up, or it was said before
    /// the receiver had seen any of the mail. Else it may as well be the mail that a receiver of many IPs dislikes.
    pub certain: bool,
    /// The address will not take mail from anybody soon.
    pub hard: bool,
    /// For the next try, when deferred.
    pub next_binding: NextBinding,
    /// For the next try, when deferred: the receiver's own wish, or the rule's.
    pub retry_after: Option<Duration>,
    /// What else to do.
    pub action: Action,
    /// Id of the rule that decided (`fallback.*` where only the codes did, `failure.*` where there was no reply).
    pub rule: Arc<str>,
}

impl Outcome {
    /// Whether the words of the reply told nothing: nobody is blamed, or only the codes were understood. Such replies are
    /// kept for the operator to write rules for.
    pub fn is_unmatched(&self) -> bool {
        self.cause == Some(Cause::Unknown) || self.rule.starts_with("fallback.")
    }
}
