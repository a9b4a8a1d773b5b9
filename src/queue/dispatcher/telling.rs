//! Facts on their way to the disk, and which of several about the same thing is the latest.
//!
//! They are handed to the committer under the core's lock, so that the disk sees decisions in their order.
//!
//! A fact that could not be written is written again later. By then a newer one about the same binding may be on disk,
//! which must not be undone. So every telling has a number, and each key remembers that of its latest until it is written.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Dispatcher;
use crate::clock::Now;
use crate::queue::core::{Core, Observed};
use crate::reputation::facts::Fact;
use crate::scheduler::cap::GrantRequest;
use crate::store::Op;
use crate::store::committer::Pending;
use crate::telemetry::metrics::operation::SpoolWork;

/// First wait before facts that could not be written are written again; doubles up to a minute.
const FACTS_PAUSE: Duration = Duration::from_secs(1);
const FACTS_PAUSE_MAX: Duration = Duration::from_secs(60);

/// What was told the committer.
pub(super) struct Told {
    pub(super) number: u64,
    pub(super) facts: Vec<Fact>,
    pub(super) pending: Pending,
}

/// Numbers of tellings, for what is not on disk yet.
#[derive(Debug, Default)]
pub(super) struct Telling {
    last: u64,
    latest: HashMap<String, u64>,
}

impl Telling {
    /// These facts go to the committer now; the number of this telling.
    pub(super) fn tell(&mut self, facts: &[Fact]) -> u64 {
        self.last += 1;
        self.latest.extend(facts.iter().map(|fact| (key(fact).to_owned(), self.last)));
        self.last
    }

    /// They are on disk.
    pub(super) fn done(&mut self, number: u64, facts: &[Fact]) {
        for fact in facts {
            if self.is_latest(number, fact) {
                self.latest.remove(key(fact));
            }
        }
    }

    /// Forgets those of the facts of which a newer one was told since.
    pub(super) fn keep_latest(&self, number: u64, facts: &mut Vec<Fact>) {
        facts.retain(|fact| self.is_latest(number, fact));
    }

    fn is_latest(&self, number: u64, fact: &Fact) -> bool {
        self.latest.get(key(fact)) == Some(&number)
    }
}

fn key(fact: &Fact) -> &str {
    match fact {
        Fact::Put(key, _) | Fact::Remove(key) => key,
    }
}

impl Dispatcher {
    /// Changes the core and hands what a restart must know to the committer, before anybody else can change it again:
    /// the disk sees decisions in their order.
    pub(super) fn tell(&self, change: impl FnOnce(&mut Core, Now) -> Observed) -> (Observed, Option<Told>) {
        let mut core = self.core.lock();
        let observed = change(&mut core, self.clock.now());
        if observed.facts.is_empty() {
            return (observed, None);
        }
        let number = self.telling.lock().tell(&observed.facts);
        let facts = observed.facts.clone();
        let pending = self.committer.submit(facts.iter().map(fact_op).collect());
        (observed, Some(Told { number, facts, pending }))
    }

    /// Waits for facts to be on disk. Where they could not be written, a task writes them again and again.
    pub(super) async fn written(self: &Arc<Self>, told: Option<Told>) {
        let Some(told) = told else { return };
        // In a task of its own: whoever waits may be gone before it is known whether they are there.
        let this = Arc::clone(self);
        drop(tokio::spawn(async move { this.told(told).await }).await);
    }

    async fn told(self: &Arc<Self>, Told { number, facts, pending }: Told) {
        let Err(error) = pending.await else { return self.telling.lock().done(number, &facts) };
        tracing::error!(%error, "health, hold or warm-up not written to disk; it is tried again");
        self.spool_failed(SpoolWork::Fact, &error);
        tokio::spawn(Arc::clone(self).write_again(number, facts));
    }

    async fn write_again(self: Arc<Self>, number: u64, mut facts: Vec<Fact>) {
        let mut pause = FACTS_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(FACTS_PAUSE_MAX);
            let pending = {
                // Under the core's lock, as in `tell`: what was told since must not be undone.
                let _core = self.core.lock();
                self.telling.lock().keep_latest(number, &mut facts);
                if facts.is_empty() {
                    return;
                }
                self.committer.submit(facts.iter().map(fact_op).collect())
            };
            match pending.await {
                Ok(()) => {
                    tracing::warn!("health, hold or warm-up written to disk after all");
                    return self.telling.lock().done(number, &facts);
                }
                Err(error) => self.spool_failed(SpoolWork::Fact, &error),
            }
        }
    }
}

pub(super) fn grant_op(grant: &GrantRequest) -> Op {
    Op::PutFact(grant.fact_key(), grant.to_json())
}

pub(super) fn fact_op(fact: &Fact) -> Op {
    match fact {
        Fact::Put(key, value) => Op::PutFact(key.clone(), value.clone()),
        Fact::Remove(key) => Op::RemoveFact(key.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_since_is_not_undone_by_writing_again() {
        let put = |key: &str, value: u8| Fact::Put(key.into(), vec![value]);
        let mut telling = Telling::default();
        let mut first = vec![put("a", 1), put("b", 1)];
        let number = telling.tell(&first);
        let second = [Fact::Remove("a".into())];
        let later = telling.tell(&second);
        telling.keep_latest(number, &mut first);
        assert_eq!(first, [put("b", 1)]);
        telling.done(later, &second);
        let mut stale = vec![put("a", 1)];
        telling.keep_latest(number, &mut stale);
        assert!(stale.is_empty(), "also when the newer one is on disk");
        telling.done(number, &first);
        assert!(telling.latest.is_empty(), "nothing is remembered of what is written");
    }
}
