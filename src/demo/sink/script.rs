//! What the receiver is told to do: rules by stage, source and recipient, or a policy.
//!
//! Pure: asked about a [`Moment`] it says an [`Act`], and counts down the rules that hold only so often.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::outcome::Stage;

/// What to do at a stage.
#[derive(Clone, Debug)]
pub enum Act {
    /// Go on as if there were no rule; ends the search.
    Accept,
    /// This reply, such as `550 5.1.1 no such user`; lines separated by `\n` are sent as a multi-line reply, each with the code of the first. `421`
    /// closes the connection, as does a negative reply at [`Stage::Banner`].
    Reply(String),
    /// Close without a word.
    Drop,
    /// Never answer again, but keep the connection open.
    Silence,
    /// Take the mail, then close without the `250`. Only at [`Stage::EndOfData`]; elsewhere as [`Act::Drop`].
    TakeAndDrop,
    /// Wait, then that.
    After(Duration, Box<Act>),
}

/// What a rule or a policy is asked about.
#[derive(Debug)]
pub struct Moment<'a> {
    /// Where in the dialogue. [`Stage::Connect`] and [`Stage::Tls`] never occur.
    pub stage: Stage,
    /// Address of the client.
    pub source: IpAddr,
    /// Name of its EHLO; empty before.
    pub ehlo: &'a str,
    /// Reverse path; empty before MAIL and for the null reverse path.
    pub reverse_path: &'a str,
    /// At RCPT the recipient in question, afterwards all that were accepted.
    pub recipients: &'a [Box<str>],
}

/// "At this stage, for these, do that." Built by [`Rule::at`] and its methods.
#[derive(Clone, Debug)]
pub struct Rule {
    stage: Stage,
    source: Option<IpAddr>,
    local_part: Option<String>,
    domain: Option<String>,
    left: Option<u32>,
    act: Act,
}

impl Rule {
    /// For everybody at `stage`.
    pub fn at(stage: Stage, act: Act) -> Self {
        Self { stage, source: None, local_part: None, domain: None, left: None, act }
    }

    /// A reply at `stage`.
    pub fn reply(stage: Stage, reply: impl Into<String>) -> Self {
        Self::at(stage, Act::Reply(reply.into()))
    }

    /// Only for clients from `source`.
    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Only for recipients with this local part; from RCPT on.
    pub fn to_local(mut self, local_part: impl Into<String>) -> Self {
        self.local_part = Some(local_part.into());
        self
    }

    /// Only for recipients of this domain; from RCPT on.
    pub fn to_domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Only the next `times` times.
    pub fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    fn matches(&self, moment: &Moment<'_>) -> bool {
        self.stage == moment.stage
            && self.left != Some(0)
            && self.source.is_none_or(|source| source == moment.source)
            && ((self.local_part.is_none() && self.domain.is_none())
                || moment.recipients.iter().any(|recipient| self.means(recipient)))
    }

    fn means(&self, recipient: &str) -> bool {
        let (local, domain) = recipient.rsplit_once('@').unwrap_or((recipient, ""));
        self.local_part.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(local))
            && self.domain.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(domain))
    }
}

/// Takes a rule away again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u64);

/// Behaviour that no rule can express.
pub(super) type Policy = Arc<dyn Fn(&Moment<'_>) -> Option<Act> + Send + Sync>;

/// All rules and the policy.
#[derive(Default)]
pub(super) struct Script {
    next: u64,
    rules: Vec<(RuleId, Rule)>,
    policy: Option<Policy>,
}

impl Script {
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.policy.is_none()
    }

    pub(super) fn add(&mut self, rule: Rule) -> RuleId {
        self.next += 1;
        let id = RuleId(self.next);
        self.rules.push((id, rule));
        id
    }

    /// Ids go on, so that a rule of before cannot be mistaken for one of after.
    pub(super) fn clear(&mut self) {
        self.rules.clear();
        self.policy = None;
    }

    pub(super) fn remove(&mut self, id: RuleId) {
        self.rules.retain(|(known, _)| *known != id);
    }

    pub(super) fn remove_source(&mut self, source: IpAddr) {
        self.rules.retain(|(_, rule)| rule.source != Some(source));
    }

    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.policy = Some(policy);
    }

    pub(super) fn policy(&self) -> Option<Policy> {
        self.policy.clone()
    }

    /// What the first rule that matches says; uses up one of its times.
    pub(super) fn decide(&mut self, moment: &Moment<'_>) -> Option<Act> {
        let (_, rule) = self.rules.iter_mut().find(|(_, rule)| rule.matches(moment))?;
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        Some(rule.act.clone())
    }
}
