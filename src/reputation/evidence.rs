//! What was seen.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::message::{BindingName, DestinationName, Domain, MessageId, StreamName, TenantName, ZoneName};
use crate::outcome::{Action, Cause, Scope};

/// One observation that may move a binding's or a route's health.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// One recipient's final answer in one attempt. Answers of one attempt are observed with the same `now`: equal
    /// refusals of several recipients of one message then count once against the IP.
    Attempt {
        /// The binding that carried it.
        binding: BindingName,
        /// Where to.
        destination: DestinationName,
        /// Whose mail.
        tenant: TenantName,
        /// The recipient's domain (for de-clustering).
        domain: Domain,
        /// Which message: what several of its recipients are told is one refusal of it.
        message: MessageId,
        /// Kind of mail.
        stream: StreamName,
        /// The domain of the reverse path; `None` for the null reverse path.
        sender_domain: Option<Domain>,
        /// From the first command to the last reply of the attempt; `None` where no connection was made.
        took: Option<Duration>,
        /// What came of it.
        result: AttemptResult,
    },
    /// A receiver refused the network of an address: what it said counts for those who share it as well.
    Range {
        /// The neighbours; not the binding that was told.
        bindings: Vec<BindingName>,
        /// Who said it.
        destination: DestinationName,
        /// Whose mail it was told about.
        tenant: TenantName,
        /// The recipient's domain.
        domain: Domain,
        /// What the rule asks for.
        action: Action,
        /// Rule and reply.
        text: String,
    },
    /// A bounce came back by mail for a recipient that had been accepted.
    LateBounce {
        /// The binding that had carried it.
        binding: BindingName,
        /// Where to; `None` when that is not known any more: it then counts for the binding alone.
        destination: Option<DestinationName>,
        /// Whose mail.
        tenant: TenantName,
        /// The recipient's domain, where the report names it.
        domain: Option<Domain>,
        /// When the delivering attempt was made: this is the time the event belongs to.
        at: Wall,
        /// What it says; never [`AttemptResult::Accepted`].
        result: AttemptResult,
    },
    /// People complained about mail that had been accepted (RFC 5965).
    Complaint {
        /// The binding that had carried it.
        binding: BindingName,
        /// Where to; `None` when that is not known any more.
        destination: Option<DestinationName>,
        /// Whose mail.
        tenant: TenantName,
        /// When the delivering attempt was made: complaints belong to the day of sending.
        at: Wall,
        /// How many, at least 1.
        incidents: u32,
    },
    /// The binding's source address cannot be bound on this host.
    Unbindable {
        /// Which.
        binding: BindingName,
        /// errno text.
        detail: String,
    },
    /// The source address can be bound (again).
    Bindable {
        /// Which.
        binding: BindingName,
    },
    /// Confirmed DNSBL state of a binding's public address over all healthy zones, sent whenever it changes.
    Listings {
        /// Which.
        binding: BindingName,
        /// Zones that list it, with the weight of the worst code of each.
        listed: Vec<Listing>,
        /// When the newest of them was first seen: the first answer of the row that confirmed it. `None` without a
        /// listing, and for one that was remembered from before a restart.
        first_seen: Option<Wall>,
        /// When the zone of the newest of them had last said that the address is not on it; `None` where it never did.
        last_clean: Option<Wall>,
    },
    /// Outcome of a reverse-DNS check. Only proven states; temporary errors are no evidence.
    ReverseDns {
        /// Which.
        binding: BindingName,
        /// Whether PTR → name → the same address holds.
        confirmed: bool,
        /// What was seen.
        detail: String,
    },
    /// What others report of a binding, all feeds taken together ([`crate::monitor::feeds`]). They are days late: this
    /// throttles, and never suspends.
    Reported {
        /// Which.
        binding: BindingName,
        /// At this destination only.
        destination: Option<DestinationName>,
        /// When what is bad has aged; `None` where nothing bad is reported (any more).
        until: Option<Wall>,
        /// What was said.
        detail: String,
    },
    /// The operator took it out.
    OperatorSuspend {
        /// Which.
        binding: BindingName,
        /// At this destination only.
        destination: Option<DestinationName>,
        /// Why, in the operator's words.
        reason: String,
        /// For how long; `None` until resumed.
        span: Option<Duration>,
    },
    /// The operator lets held mail go: every hold of the tenant ends, here or everywhere.
    OperatorRelease {
        /// Whose.
        tenant: TenantName,
        /// At this destination only.
        destination: Option<DestinationName>,
    },
    /// The operator brought it back: clears every suspension of the binding and its routes, or of one route.
    OperatorResume {
        /// Which.
        binding: BindingName,
        /// At this destination only.
        destination: Option<DestinationName>,
        /// For so long automation does not take it out again; `None`: it may at once.
        span: Option<Duration>,
    },
}

/// What came of one recipient in one attempt, as far as reputation cares.
#[derive(Clone, Debug, PartialEq)]
pub enum AttemptResult {
    /// Accepted by the receiver.
    Accepted,
    /// A negative reply or failure.
    Refused {
        /// What went wrong.
        cause: Cause,
        /// Whose fault.
        scope: Scope,
        /// Counts for the fuse of hard bounces.
        hard: bool,
        /// Counts for the IP-blame counter.
        counts_against_ip: bool,
        /// What the rule asks for.
        action: Action,
        /// The rule.
        rule: std::sync::Arc<str>,
        /// The reply, for the event and the operator.
        text: String,
    },
}

/// One zone that lists an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// The zone.
    pub zone: ZoneName,
    /// Weight of its worst code.
    pub weight: f64,
    /// SBL/XBL class: certain enough to take out even a pool's last binding.
    pub certain: bool,
    /// Return codes, such as `127.0.0.2`.
    pub codes: String,
}

/// Characters of a reply kept as evidence.
const EVIDENCE_CHARS: usize = 300;

/// As much of a text as is kept as evidence; it is shown on terminals, so nothing in it may move their cursor.
pub(super) fn clipped(text: &str) -> String {
    let harmless = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(EVIDENCE_CHARS).map(harmless).collect()
}
