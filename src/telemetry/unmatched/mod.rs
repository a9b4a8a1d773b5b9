//! Replies whose words told nothing, each kind once with its count, so that an operator can write a rule for it: those
//! that only the fallback by codes knew, and those whose rule says that nobody is blamed ("policy violation").
//!
//! A reply is known by its provider (or `other`), code, enhanced code and [template](crate::outcome::template). The last
//! `classify.unmatched_kept` different ones are kept; the one unseen for longest goes first. Receivers choose their
//! texts, and one that says something else each time must not push everybody else's out: the replies last seen at one
//! provider, or at sites of one domain, are at most a quarter of all; beyond that it pushes out its own.
//!
//! No recipient is kept: addresses, and local parts of sender and recipients wherever they stand, are masked before
//! anything is stored.
//!
//! A reply costs one look-up and two moves in orders of at most that many. Changes are written by the minute and at a
//! clean stop ([`Unmatched::changes`], one fact `unmatched/…` a reply): a crash forgets what the last minute brought,
//! which is why counts are "at least".

mod log;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::clock::{Wall, rfc3339};
use crate::config::Classify;
use crate::delivery::{Answer, Report};
use crate::message::{BindingName, Entry, Mailbox};
use crate::outcome::template::{Particular, sample, template_of};
use crate::outcome::{Cause, Outcome, Reply, Scope, Stage};
use crate::queue::state::Answered;
use crate::store::Batch;
use log::Log;

/// Kind of the facts.
pub const FACTS: &str = "unmatched/";

/// One reply that no rule knew, as often as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UnmatchedReply {
    /// First digit of the code.
    pub class: u16,
    /// Reply code.
    pub code: u16,
    /// Enhanced code, where it leads the text.
    pub enhanced: Option<String>,
    /// Where in the dialogue it came last.
    #[schema(value_type = String)]
    pub stage: Stage,
    /// The provider, or `other`.
    pub provider: String,
    /// The destination it came from last.
    pub destination: String,
    /// What the replies have in common, without codes.
    pub template: String,
    /// The first of them, codes included, addresses masked.
    pub sample: String,
    /// Recipients it was given for.
    pub count: u64,
    /// When it came first.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: Wall,
    /// When it came last.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub last_seen: Wall,
    /// The binding it was given to last.
    pub binding: String,
    /// What it was taken for.
    #[schema(value_type = Option<String>)]
    pub cause: Option<Cause>,
    /// Whose fault it was found to be.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// Whether it was taken as evidence against the binding's IP.
    pub counts_against_ip: bool,
    /// By which fallback, or rule that blames nobody.
    pub rule: String,
}

/// An attempt and what its answers mean.
#[derive(Clone, Copy, Debug)]
pub struct Attempted<'a> {
    /// The entry as it was before.
    pub entry: &'a Entry,
    /// The binding it left from.
    pub binding: &'a BindingName,
    /// Name given in EHLO.
    pub ehlo: &'a str,
    /// The provider, or `other`.
    pub provider: &'a str,
    /// The destination.
    pub destination: &'a str,
    /// What was answered.
    pub report: &'a Report,
    /// What it means.
    pub answers: &'a [Answered],
}

/// The kept replies.
#[derive(Debug)]
pub struct Unmatched {
    log: Mutex<Log>,
}

impl Default for Unmatched {
    /// Empty, with room for as many as the configuration's default says.
    fn default() -> Self {
        Self { log: Mutex::new(Log::new(Classify::default().unmatched_kept)) }
    }
}

impl Unmatched {
    /// Takes over what an earlier run wrote, `kept` at most. Says in words which facts could not be read; they are
    /// removed with the next changes.
    pub fn restore(&self, kept: usize, facts: Vec<(String, Vec<u8>)>) -> Vec<String> {
        let (log, problems) = Log::read(kept, facts);
        *self.log.lock() = log;
        problems
    }

    /// Notes the replies of an attempt whose words told nothing ([`Outcome::is_unmatched`]).
    ///
    /// Recipients that got the same reply in a row are noted together: their local parts are masked in one go.
    pub fn note(&self, attempted: &Attempted<'_>, now: Wall) {
        let of = |answered: &Answered| match attempted.report.answers.get(answered.recipient) {
            Some(Answer::Reply(stage, reply)) if answered.outcome.is_unmatched() => Some((*stage, reply)),
            _ => None,
        };
        for group in attempted.answers.chunk_by(|one, next| of(one) == of(next)) {
            if let Some((stage, reply)) = of(&group[0])
                && self.log.lock().kept > 0
            {
                let reply = describe(attempted, group, stage, reply, now);
                self.log.lock().see(reply, None);
            }
        }
    }

    /// The `limit` most frequent, and how many are kept in all.
    pub fn most(&self, limit: usize) -> (Vec<UnmatchedReply>, usize) {
        self.log.lock().most(limit)
    }

    /// What has changed since the last call, for the disk. Give it back with [`Unmatched::not_written`] if it did not
    /// get there.
    pub fn changes(&self) -> Batch {
        self.log.lock().changes()
    }

    /// Takes changes back that did not get to the disk, for the next time.
    pub fn not_written(&self, changes: &Batch) {
        self.log.lock().not_written(changes);
    }
}

fn describe(attempted: &Attempted<'_>, group: &[Answered], stage: Stage, reply: &Reply, now: Wall) -> UnmatchedReply {
    let entry = attempted.entry;
    let recipients = group.iter().filter_map(|answered| entry.recipients.get(answered.recipient));
    let addresses: Vec<&Mailbox> = recipients.map(|r| &r.address).chain(&entry.reverse_path).collect();
    let domains: Vec<&str> =
        [addresses.first(), addresses.last()].into_iter().flatten().map(|a| a.domain_str()).collect();
    let names = [attempted.report.host.as_deref(), Some(attempted.ehlo)];
    let hosts: Vec<&str> = names.into_iter().flatten().chain(domains).collect();
    let known = Particular { addresses: &addresses, hosts: &hosts };
    let text = sample(&reply.text, &known);
    let codes = Reply { text: String::new(), ..reply.clone() };
    let outcome: &Outcome = &group[0].outcome;
    UnmatchedReply {
        class: reply.code / 100,
        code: reply.code,
        enhanced: reply.enhanced.map(|code| code.to_string()),
        stage,
        provider: attempted.provider.to_owned(),
        destination: attempted.destination.to_owned(),
        template: template_of(&text, &known),
        sample: format!("{codes} {text}").trim_end().to_owned(),
        count: group.len() as u64,
        first_seen: now,
        last_seen: now,
        binding: attempted.binding.to_string(),
        cause: outcome.cause,
        scope: outcome.scope,
        counts_against_ip: outcome.counts_against_ip,
        rule: outcome.rule.to_string(),
    }
}

impl UnmatchedReply {
    /// This one with another sight of it.
    fn seen_again(self, last: Self) -> Self {
        Self {
            count: self.count.saturating_add(last.count),
            first_seen: self.first_seen.min(last.first_seen),
            sample: self.sample,
            ..last
        }
    }
}

#[cfg(test)]
mod tests;
