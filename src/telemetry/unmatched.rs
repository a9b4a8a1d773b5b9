//! Replies that no rule knew, each kind once with its count, so that an operator can write a rule for it.
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

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::clock::{Wall, rfc3339};
use crate::config::Classify;
use crate::delivery::{Answer, Report};
use crate::message::{BindingName, Entry, Mailbox};
use crate::outcome::template::{Particular, sample, template_of};
use crate::outcome::{Cause, Outcome, Reply, Scope, Stage};
use crate::queue::state::Answered;
use crate::store::{Batch, Op};

/// Kind of the facts.
pub const FACTS: &str = "unmatched/";
/// A provider, or a site's domain, holds at most one part in so many.
const SHARE: usize = 4;

/// One reply that no rule knew, as often as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnmatchedReply {
    /// First digit of the code.
    pub class: u16,
    /// Reply code.
    pub code: u16,
    /// Enhanced code, where it leads the text.
    pub enhanced: Option<String>,
    /// Where in the dialogue it came last.
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
    pub first_seen: Wall,
    /// When it came last.
    #[serde(with = "rfc3339")]
    pub last_seen: Wall,
    /// The binding it was given to last.
    pub binding: String,
    /// What the fallback took it for.
    pub cause: Option<Cause>,
    /// Whose fault the fallback found it.
    pub scope: Scope,
    /// Whether the fallback took it as evidence against the binding's IP.
    pub counts_against_ip: bool,
    /// Which fallback.
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
        let mut problems = Vec::new();
        let mut log = Log::new(kept);
        let mut read: Vec<(String, UnmatchedReply)> = Vec::new();
        for (name, value) in facts {
            match serde_json::from_slice(&value) {
                Ok(reply) => read.push((name, reply)),
                Err(error) => {
                    problems.push(format!("{name}: {error}"));
                    log.gone.insert(name);
                }
            }
        }
        read.sort_by_key(|(_, reply)| reply.last_seen);
        for (name, reply) in read {
            log.see(reply, Some(name));
        }
        *self.log.lock() = log;
        problems
    }

    /// Notes the replies of an attempt that no rule knew.
    ///
    /// Recipients that got the same reply in a row are noted together: their local parts are masked in one go.
    pub fn note(&self, attempted: &Attempted<'_>, now: Wall) {
        let of = |answered: &Answered| match attempted.report.answers.get(answered.recipient) {
            Some(Answer::Reply(stage, reply)) if answered.outcome.rule.starts_with("fallback.") => {
                Some((*stage, reply))
            }
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
        let log = self.log.lock();
        let mut all: Vec<&Slot> = log.slots.values().collect();
        all.sort_by_key(|slot| std::cmp::Reverse((slot.reply.count, slot.tick)));
        (all.iter().take(limit).map(|slot| slot.reply.clone()).collect(), all.len())
    }

    /// What has changed since the last call, for the disk. Give it back with [`Unmatched::not_written`] if it did not
    /// get there.
    pub fn changes(&self) -> Batch {
        let mut log = self.log.lock();
        let (gone, changed) = (std::mem::take(&mut log.gone), std::mem::take(&mut log.changed));
        let mut batch: Batch = gone.into_iter().map(Op::RemoveFact).collect();
        for key in &changed {
            if let Some(slot) = log.slots.get_mut(key) {
                slot.on_disk = true;
                // Texts and numbers always serialise. Behind the removals: one that went and came again stays.
                batch.push(Op::PutFact(slot.fact.clone(), serde_json::to_vec(&slot.reply).unwrap_or_default()));
            }
        }
        batch
    }

    /// Takes changes back that did not get to the disk, for the next time.
    pub fn not_written(&self, changes: &Batch) {
        let mut log = self.log.lock();
        let facts: HashMap<String, Key> =
            log.slots.iter().map(|(key, slot)| (slot.fact.clone(), key.clone())).collect();
        for op in changes {
            match op {
                Op::PutFact(fact, _) => log.changed.extend(facts.get(fact).cloned()),
                Op::RemoveFact(fact) if !facts.contains_key(fact) => drop(log.gone.insert(fact.clone())),
                _ => {}
            }
        }
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

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    provider: String,
    code: u16,
    enhanced: Option<String>,
    template: String,
}

impl Key {
    fn of(reply: &UnmatchedReply) -> Self {
        Self {
            provider: reply.provider.clone(),
            code: reply.code,
            enhanced: reply.enhanced.clone(),
            template: reply.template.clone(),
        }
    }

    fn fact(&self) -> String {
        let mut hasher = SipHasher13::new();
        self.hash(&mut hasher);
        format!("{FACTS}{:016x}", hasher.finish())
    }
}

#[derive(Debug)]
struct Slot {
    reply: UnmatchedReply,
    /// Place in the order of last sight.
    tick: u64,
    fact: String,
    /// Whether the fact has ever been written.
    on_disk: bool,
}

#[derive(Debug)]
struct Log {
    kept: usize,
    slots: HashMap<Key, Slot>,
    /// By last sight, the oldest first.
    order: BTreeMap<u64, Key>,
    /// The same for each provider or domain of sites.
    owners: HashMap<String, BTreeSet<u64>>,
    tick: u64,
    changed: HashSet<Key>,
    gone: HashSet<String>,
}

impl Log {
    fn new(kept: usize) -> Self {
        Self {
            kept,
            slots: HashMap::new(),
            order: BTreeMap::new(),
            owners: HashMap::new(),
            tick: 0,
            changed: HashSet::new(),
            gone: HashSet::new(),
        }
    }

    /// `fact`: the name under which it is on disk as it is.
    fn see(&mut self, reply: UnmatchedReply, fact: Option<String>) {
        let key = Key::of(&reply);
        let on_disk = fact.is_some();
        let slot = match self.take(&key) {
            Some(known) => {
                self.gone.extend(fact.filter(|fact| *fact != known.fact));
                Slot { reply: known.reply.seen_again(reply), ..known }
            }
            None => Slot { reply, tick: 0, fact: fact.unwrap_or_else(|| key.fact()), on_disk },
        };
        if !on_disk {
            self.changed.insert(key.clone());
        }
        self.place(key, slot);
        if let Some(key) = self.one_too_many()
            && let Some(slot) = self.take(&key)
            && slot.on_disk
        {
            self.gone.insert(slot.fact);
        }
    }

    /// Puts a reply last in all orders.
    fn place(&mut self, key: Key, slot: Slot) {
        self.tick += 1;
        self.order.insert(self.tick, key.clone());
        self.owners.entry(owner(&slot.reply.destination).to_owned()).or_default().insert(self.tick);
        self.slots.insert(key, Slot { tick: self.tick, ..slot });
    }

    /// What has to go after the last one came: of its owner's if that has more than its share, else of all.
    fn one_too_many(&self) -> Option<Key> {
        let last = self.slots.get(self.order.get(&self.tick)?)?;
        let own = self.owners.get(owner(&last.reply.destination))?;
        let oldest = if own.len() > (self.kept / SHARE).max(1) {
            own.first()
        } else {
            self.order.keys().next().filter(|_| self.slots.len() > self.kept)
        };
        self.order.get(oldest?).cloned()
    }

    /// Takes a reply out of all orders.
    fn take(&mut self, key: &Key) -> Option<Slot> {
        let slot = self.slots.remove(key)?;
        self.order.remove(&slot.tick);
        self.changed.remove(key);
        let owner = owner(&slot.reply.destination);
        if let Some(own) = self.owners.get_mut(owner) {
            own.remove(&slot.tick);
            if own.is_empty() {
                self.owners.remove(owner);
            }
        }
        Some(slot)
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

/// Whose share a destination's replies are counted in: the provider, or the domain its hosts lie in. Where that cannot
/// be told (hosts of several domains, bare addresses) the site itself.
fn owner(destination: &str) -> &str {
    let Some(site) = destination.strip_prefix("site:") else { return destination };
    let mut dots = site.rmatch_indices('.').map(|(at, _)| at);
    let (Some(top), second) = (dots.next(), dots.next()) else { return destination };
    let is_label = |label: &str| label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_label(&site[top + 1..]) || !site[top + 1..].starts_with(|c: char| c.is_ascii_alphabetic()) {
        return destination;
    }
    let Some(second) = second else { return site };
    // `co.uk`, `com.br`: a third label tells whose it is.
    let short = site.len() - top == 3 && top - second <= 4;
    let start = if short { dots.next() } else { Some(second) };
    let domain = start.map_or(site, |at| &site[at + 1..]);
    if domain.split('.').all(is_label) { domain } else { destination }
}

#[cfg(test)]
#[path = "unmatched_tests.rs"]
mod tests;
