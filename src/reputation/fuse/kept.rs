//! What survives a restart: excursions under way.
//!
//! Without them a restart every hour would blind the fuse for whatever takes longer. An excursion is small, since it only
//! is one while bounces are too many: its counts by group, at most [`GROUPS_KEPT`] of them. It is written at most once in
//! [`WRITE_EVERY`] after a bounce, and at a clean stop; what is on disk is looked at again each time, and written
//! where it has changed, until the sum has come back to its floor. After a crash up to a minute is missing. Places are not written: who explains what came before the
//! restart is asked of the mail only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher};

use serde::{Deserialize, Serialize};

use super::groups::REST;
use super::{Case, Group};
use crate::clock::Wall;
use crate::message::{Domain, StreamName, TenantName};
use crate::reputation::cells::find;
use crate::reputation::complaints::WRITE_EVERY;
use crate::reputation::facts::{self, Fact};
use crate::reputation::health::Subject;
use crate::reputation::policy::Reputation;
use crate::reputation::tally::{Count, Key, Steps};

/// Groups of an excursion that are written down, those with most evidence first; the others' counts as one.
const GROUPS_KEPT: usize = 32;

/// Sum, in nats, below which nothing is worth a fact: less than three bounces.
const KEPT_FROM: f64 = 4.5;

/// Which excursions are to be written, and which are on disk.
#[derive(Debug, Default)]
pub(in crate::reputation) struct Kept {
    changed: BTreeSet<Subject>,
    /// With the hash of what was written last (0: unknown).
    on_disk: HashMap<Subject, u64>,
    due: BTreeSet<Subject>,
    next_write: Wall,
}

#[derive(Serialize, Deserialize)]
struct Counted {
    tenant: Option<TenantName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream: Option<StreamName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<Domain>,
    attempts: u64,
    events: u64,
}

#[derive(Serialize, Deserialize)]
struct Written {
    subject: Subject,
    begun: Wall,
    counts: Vec<Counted>,
}

impl Kept {
    /// A bounce was counted.
    pub(in crate::reputation) fn touched(&mut self, subject: &Subject) {
        if !self.changed.contains(subject) {
            self.changed.insert(subject.clone());
        }
    }

    /// Lets time pass.
    pub(in crate::reputation) fn tick(&mut self, now: Wall) {
        // A write further away than the interval is a clock that was set back.
        if now >= self.next_write || self.next_write.since(now) > WRITE_EVERY {
            self.next_write = now.plus(WRITE_EVERY);
            self.flush();
        }
    }

    /// Everything that may have changed falls due for writing.
    pub(in crate::reputation) fn flush(&mut self) {
        self.due.append(&mut self.changed);
        self.due.extend(self.on_disk.keys().cloned());
    }
}

impl Reputation {
    /// Facts of excursions that have fallen due.
    pub(in crate::reputation) fn fuse_facts(&mut self, now: Wall) -> Vec<Fact> {
        let due = std::mem::take(&mut self.fuse_marks.due);
        due.into_iter()
            .filter_map(|subject| {
                let key = fact_key(&subject);
                match self.written(&subject, now).and_then(|written| serde_json::to_vec(&written).ok()) {
                    Some(json) if self.fuse_marks.on_disk.get(&subject).is_some_and(|known| *known == hash(&json)) => {
                        None
                    }
                    Some(json) => {
                        self.fuse_marks.on_disk.insert(subject, hash(&json));
                        Some(Fact::Put(key, json))
                    }
                    None => self.fuse_marks.on_disk.remove(&subject).map(|_| Fact::Remove(key)),
                }
            })
            .collect()
    }

    fn written(&mut self, subject: &Subject, now: Wall) -> Option<Written> {
        let steps = Steps::new(&self.rules);
        let watched = self.bindings.get_mut(subject.binding())?;
        let cell = match subject {
            Subject::Binding(_) => &mut watched.own,
            Subject::Route(_, to) => watched.routes.get_mut(to)?,
        };
        if cell.tally.sum(steps, now) < KEPT_FROM {
            return None;
        }
        let case = Case::of(&mut cell.tally, &self.rules, now);
        let groups = case.suspects(|key| Some(key.group));
        let rest: Count = groups.iter().skip(GROUPS_KEPT).map(|(_, count)| *count).sum();
        let named = groups.into_iter().take(GROUPS_KEPT).map(|(number, count)| (watched.groups.get(number), count));
        let counts = named.chain(std::iter::once((None, rest))).filter(|(_, count)| count.attempts > 0);
        let counts = counts.map(|(group, Count { attempts, events })| Counted {
            tenant: group.map(|group| group.tenant.clone()),
            stream: group.and_then(|group| group.stream.clone()),
            domain: group.and_then(|group| group.domain.clone()),
            attempts,
            events,
        });
        Some(Written { subject: subject.clone(), begun: cell.tally.begin_of(case.begin), counts: counts.collect() })
    }

    /// Takes back an excursion. One of a binding that is not configured is forgotten; also on disk.
    pub(in crate::reputation) fn restore_fuse(&mut self, bytes: &[u8]) -> Result<(), serde_json::Error> {
        let Written { subject, begun, counts } = serde_json::from_slice(bytes)?;
        self.fuse_marks.on_disk.insert(subject.clone(), 0);
        if find(&mut self.bindings, &subject, self.rules.window).is_none() {
            self.fuse_marks.due.insert(subject);
            return Ok(());
        }
        let Some(watched) = self.bindings.get_mut(subject.binding()) else { return Ok(()) };
        let mut sums: BTreeMap<Key, Count> = BTreeMap::new();
        for Counted { tenant, stream, domain, attempts, events } in counts {
            let number = tenant.map_or(REST, |tenant| watched.groups.number_of(&Group { tenant, stream, domain }));
            sums.entry(Key { group: number, place: 0 }).or_default().add(Count { attempts, events });
        }
        let cell = match &subject {
            Subject::Binding(_) => Some(&mut watched.own),
            Subject::Route(_, to) => watched.routes.get_mut(to),
        };
        if let Some(cell) = cell {
            cell.tally.restore(begun, sums.into_iter());
        }
        Ok(())
    }
}

fn hash(json: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(json);
    hasher.finish()
}

/// Key of an excursion's fact. Names hold no spaces.
fn fact_key(subject: &Subject) -> String {
    match subject {
        Subject::Binding(binding) => format!("{}{binding} *", facts::FUSE_PREFIX),
        Subject::Route(binding, to) => format!("{}{binding} {to}", facts::FUSE_PREFIX),
    }
}
