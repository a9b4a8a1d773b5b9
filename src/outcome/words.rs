//! What the words mean to an operator: for each cause whose fault it usually is and what is done about it, for each scope
//! and action what follows.
//!
//! Kept beside the types and not in a document, because [`table`](super::table) makes the README's table of them and
//! `remuda classify --explain` speaks with them.

use std::time::Duration;

use super::{Action, Cause, Scope};

impl Cause {
    /// Whose fault it usually is.
    pub fn usual_scopes(self) -> &'static [Scope] {
        match self {
            Self::InvalidRecipient | Self::InactiveMailbox | Self::MailboxFull => &[Scope::Recipient],
            Self::SpamBlockIp => &[Scope::Binding, Scope::Range],
            Self::SpamBlockContent | Self::MessageTooBig => &[Scope::Message],
            Self::SpamBlockDomain => &[Scope::SenderDomain, Scope::Message, Scope::Binding],
            Self::PolicyAuth => &[Scope::SenderDomain, Scope::Binding],
            Self::RateLimited => &[Scope::Binding, Scope::Recipient, Scope::Tenant, Scope::SenderDomain],
            Self::Greylisted | Self::RelayDenied | Self::TransientOther | Self::Network => &[Scope::Destination],
            Self::ProtocolOrConfig => &[Scope::Us, Scope::Message, Scope::Binding],
            Self::DnsOrRouting => &[Scope::Recipient, Scope::Destination],
            Self::Unknown => &[Scope::Unknown],
            Self::LocalAddress => &[Scope::Binding],
            Self::Local => &[Scope::Us],
        }
    }

    /// What Remuda does.
    pub fn treatment(self) -> &'static str {
        match self {
            Self::InvalidRecipient => "5xx bounces and is hard",
            Self::InactiveMailbox => "5xx bounces and is hard, unless it is said to be temporary",
            Self::MailboxFull => "tried again, also after a 5xx",
            Self::SpamBlockIp => "evidence against the binding; does not bounce, another binding next",
            Self::SpamBlockContent => "5xx bounces: no other IP would help",
            Self::SpamBlockDomain => "5xx bounces; where the binding's own name is listed, as spam_block_ip",
            Self::PolicyAuth => "5xx bounces; a missing PTR is the binding's fault and costs it the route",
            Self::RateLimited => {
                "tried again, also after a 5xx; counts only where reputation or complaints are the reason"
            }
            Self::Greylisted => "tried again from the same binding, when the receiver says",
            Self::RelayDenied => "5xx bounces",
            Self::ProtocolOrConfig => "5xx bounces; where the binding's EHLO name is at fault, it is to be mended",
            Self::MessageTooBig => "5xx bounces",
            Self::DnsOrRouting => "5xx bounces, and is hard where the domain takes no mail",
            Self::TransientOther => "4xx is tried again",
            Self::Unknown => "by code alone; never evidence; kept for `remuda events`",
            Self::Network => "tried again; never bounces, never evidence",
            Self::LocalAddress => "the binding is out; no other address is used in its name",
            Self::Local => "tried again",
        }
    }
}

impl Scope {
    /// What is done about whom.
    pub fn treatment(self) -> &'static str {
        match self {
            Self::Recipient => "this recipient bounces or waits",
            Self::Message => "this message bounces or waits",
            Self::SenderDomain => "mail of this sender domain, where an action says so",
            Self::Tenant => "mail of this tenant, where an action says so",
            Self::Binding => "the next try may leave from another binding; evidence where it counts",
            Self::Range => "as binding, for its network",
            Self::Destination => "waits for the receiver, no blame",
            Self::Us => "ours to mend; nobody's reputation",
            Self::Unknown => "no blame",
        }
    }
}

impl Action {
    /// Every action, lasting `length`.
    pub fn all(length: Duration) -> [Self; 7] {
        [
            Self::None,
            Self::BackOff(length),
            Self::SuspendRoute(length),
            Self::SuspendBinding(length),
            Self::HoldTenant(length),
            Self::HoldContent(length),
            Self::FixBinding(length),
        ]
    }

    /// Stable text, as in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::BackOff(_) => "back_off",
            Self::SuspendRoute(_) => "suspend_route",
            Self::SuspendBinding(_) => "suspend_binding",
            Self::HoldTenant(_) => "hold_tenant",
            Self::HoldContent(_) => "hold_content",
            Self::FixBinding(_) => "fix_binding",
        }
    }

    /// For how long.
    pub fn length(self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::BackOff(length)
            | Self::SuspendRoute(length)
            | Self::SuspendBinding(length)
            | Self::HoldTenant(length)
            | Self::HoldContent(length)
            | Self::FixBinding(length) => Some(length),
        }
    }

    /// The same, lasting `length`.
    #[must_use]
    pub fn lasting(self, length: Duration) -> Self {
        match self {
            Self::None => Self::None,
            Self::BackOff(_) => Self::BackOff(length),
            Self::SuspendRoute(_) => Self::SuspendRoute(length),
            Self::SuspendBinding(_) => Self::SuspendBinding(length),
            Self::HoldTenant(_) => Self::HoldTenant(length),
            Self::HoldContent(_) => Self::HoldContent(length),
            Self::FixBinding(_) => Self::FixBinding(length),
        }
    }

    /// Scopes it can be asked for with; `None` for any.
    pub fn scopes(self) -> Option<&'static [Scope]> {
        match self {
            Self::None | Self::BackOff(_) | Self::HoldContent(_) => None,
            Self::SuspendRoute(_) | Self::SuspendBinding(_) => Some(&[Scope::Binding, Scope::Range]),
            Self::HoldTenant(_) => Some(&[Scope::Tenant, Scope::SenderDomain]),
            Self::FixBinding(_) => Some(&[Scope::Binding]),
        }
    }

    /// What is done, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::None => "Nothing besides what cause and scope ask for.",
            Self::BackOff(_) => "Use the route (binding × destination) less for so long.",
            Self::SuspendRoute(_) => "Take the route out at once, for so long.",
            Self::SuspendBinding(_) => "Take the whole binding out at once. No shipped rule asks for it.",
            Self::HoldTenant(_) => {
                "Hold the mail of the tenant (or of its sender domain) at this destination, once enough replies said so."
            }
            Self::HoldContent(_) => "This message waits so long where it is: no other binding, no early retry.",
            Self::FixBinding(_) => {
                "The binding's PTR or EHLO name is to be mended: take the route out, tell the operator; the mail defers."
            }
        }
    }
}
