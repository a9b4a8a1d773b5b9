//! Facts on their way to the disk: which of several about the same thing is the latest.
//!
//! A fact that could not be written is written again later. By then a newer one about the same binding may be on disk,
//! which must not be undone. So every telling has a number, and each key remembers that of its latest until it is written.

use std::collections::HashMap;

use crate::reputation::facts::Fact;
use crate::store::committer::Pending;

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
