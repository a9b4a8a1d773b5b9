//! Whom to ask about outside the rounds: what waits for its confirmation, and whom replies blame.
//!
//! The two must not be in each other's way. Each waiting subject has a time of its own, reckoned from its own last answer
//! that counted, so that questions about others put nothing off. Blame comes when it likes, from strangers and in floods:
//! it is gathered and asked together, at most every [`APART`] in a list and once per subject and `confirm_after`; what the
//! list's budget did not grant stays wanted until a later look or round has asked it. A waiting subject that is blamed is
//! not asked early, for that answer would not count, unless the reply names just this list: then the two together may be
//! enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Mono;

use super::subject::Subject;
use super::timetable::later;

/// Shortest time between two looks at one list for the sake of blame; less where confirmations come faster.
pub const APART: Duration = Duration::from_secs(10);

/// The share of `confirm_after` after which an answer counts as another: clocks drift, and an answer that comes a breath
/// early must not cost a whole turn.
pub const NEARLY: f64 = 0.95;

/// Whom to ask about in one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Those that wait for a confirmation, the longest waiting first.
    pub confirming: Vec<Subject>,
    /// Those that were blamed.
    pub blamed: Vec<Subject>,
}

impl Due {
    /// Nobody.
    pub fn is_empty(&self) -> bool {
        self.confirming.is_empty() && self.blamed.is_empty()
    }
}

/// What became of a look at a list.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Whom it asked about.
    pub asked: &'a [Subject],
    /// Whom it was to ask about for a confirmation, and whom for blame, and had no budget for.
    pub refused: (&'a [Subject], &'a [Subject]),
    /// All that wait for a confirmation after it.
    pub pending: &'a [Subject],
}

#[derive(Clone, Debug, Default)]
struct Row {
    wanted: BTreeSet<Subject>,
    /// When each was last wanted, and whether by a reply that names the list.
    served: BTreeMap<Subject, (Mono, bool)>,
    /// Since when each waits: its last answer that counted.
    waiting: BTreeMap<Subject, Mono>,
    /// No look for blame before this.
    blame_from: Mono,
    /// No look for confirmations before this: the budget is used up.
    confirm_from: Mono,
}

/// The book of all lists, by their number.
#[derive(Clone, Debug)]
pub struct Urgent {
    rows: Vec<Row>,
    confirm_after: Duration,
    apart: Duration,
}

impl Urgent {
    /// Nobody is wanted.
    pub fn new(zones: usize, confirm_after: Duration) -> Self {
        Self { rows: vec![Row::default(); zones], confirm_after, apart: APART.min(confirm_after) }
    }

    /// The lists are these from now on: each had this number before, or is new. Of `gone` nobody is wanted any more.
    pub fn follow(&mut self, lists: &[Option<usize>], gone: impl Fn(&Subject) -> bool, confirm_after: Duration) {
        let row = |from: &Option<usize>| {
            let mut row = from.and_then(|list| self.rows.get(list)).cloned().unwrap_or_default();
            row.wanted.retain(|subject| !gone(subject));
            row.served.retain(|subject, _| !gone(subject));
            row.waiting.retain(|subject, _| !gone(subject));
            row
        };
        let rows = lists.iter().map(row).collect();
        *self = Self { rows, confirm_after, apart: APART.min(confirm_after) };
    }

    /// A reply blames `subject`; `names_it`: and names just this list.
    pub fn want(&mut self, zone: usize, subject: Subject, names_it: bool, now: Mono) {
        let confirm_after = self.confirm_after;
        let Some(row) = self.rows.get_mut(zone) else { return };
        if !names_it && row.waiting.contains_key(&subject) {
            return;
        }
        if let Some((at, named)) = row.served.get(&subject)
            && now.since(*at) < confirm_after
            && (*named || !names_it)
        {
            return;
        }
        row.served.insert(subject.clone(), (now, names_it));
        row.wanted.insert(subject);
    }

    /// Takes whom to ask about now. A look that is made for confirmations takes the blamed along.
    pub fn due(&mut self, zone: usize, now: Mono) -> Due {
        let (confirm_after, apart) = (self.confirm_after, self.apart);
        let Some(row) = self.rows.get_mut(zone) else { return Due::default() };
        let mut confirming: Vec<(Mono, Subject)> = Vec::new();
        if now >= row.confirm_from {
            let ripe = row.waiting.iter().filter(|(_, at)| later(**at, confirm_after) <= now);
            confirming.extend(ripe.map(|(subject, at)| (*at, subject.clone())));
        }
        confirming.sort();
        let mut blamed = Vec::new();
        if now >= row.blame_from && !row.wanted.is_empty() {
            row.blame_from = later(now, apart);
            row.served.retain(|_, (at, _)| now.since(*at) < confirm_after);
            blamed.extend(std::mem::take(&mut row.wanted));
            blamed.retain(|subject| confirming.iter().all(|(_, of)| of != subject));
        }
        Due { confirming: confirming.into_iter().map(|(_, subject)| subject).collect(), blamed }
    }

    /// A look at a list is over, or a round.
    pub fn looked(&mut self, zone: usize, outcome: Outcome<'_>, now: Mono) {
        let confirm_after = self.confirm_after;
        let Some(row) = self.rows.get_mut(zone) else { return };
        let asked: BTreeSet<&Subject> = outcome.asked.iter().collect();
        row.wanted.retain(|subject| !asked.contains(subject));
        let (confirmations, blamed) = outcome.refused;
        if !confirmations.is_empty() {
            row.confirm_from = later(now, confirm_after);
        }
        if !blamed.is_empty() {
            row.blame_from = later(now, confirm_after);
            row.wanted.extend(blamed.iter().cloned());
        }
        let before = std::mem::take(&mut row.waiting);
        for subject in outcome.pending {
            let since = match before.get(subject) {
                Some(&at) if !asked.contains(subject) || now.since(at) < confirm_after.mul_f64(NEARLY) => at,
                _ => now,
            };
            row.waiting.insert(subject.clone(), since);
        }
    }

    /// When somebody is due in a list.
    pub fn next(&self, zone: usize) -> Option<Mono> {
        let row = self.rows.get(zone)?;
        let ripe = row.waiting.values().min().map(|&at| later(at, self.confirm_after).max(row.confirm_from));
        let blame = (!row.wanted.is_empty()).then_some(row.blame_from);
        ripe.into_iter().chain(blame).min()
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    fn binding(name: &str) -> Subject {
        Subject::Binding(name.into())
    }

    fn over<'a>(asked: &'a [Subject], pending: &'a [Subject]) -> Outcome<'a> {
        Outcome { asked, refused: (&[], &[]), pending }
    }

    #[test]
    fn blame_of_others_puts_no_confirmation_off() {
        let mut urgent = Urgent::new(1, MINUTE);
        let waits = [binding("a")];
        urgent.looked(0, over(&waits, &waits), at(0));
        for (second, other) in [(15, "b"), (30, "c"), (45, "d"), (59, "e")] {
            urgent.want(0, binding(other), false, at(second));
            let due = urgent.due(0, at(second));
            assert_eq!((due.confirming.len(), &due.blamed[..]), (0, &[binding(other)][..]), "{second}");
            urgent.looked(0, over(&due.blamed, &waits), at(second));
        }
        assert_eq!(urgent.next(0), Some(at(60)));
        assert_eq!(urgent.due(0, at(60)), Due { confirming: waits.to_vec(), blamed: Vec::new() });
    }

    #[test]
    fn a_waiting_subject_is_asked_early_only_if_the_reply_names_the_list() {
        let mut urgent = Urgent::new(1, MINUTE);
        let waits = [binding("a")];
        urgent.looked(0, over(&waits, &waits), at(0));
        urgent.want(0, binding("a"), false, at(20));
        assert!(urgent.due(0, at(20)).is_empty());
        urgent.want(0, binding("a"), true, at(21));
        assert_eq!(urgent.due(0, at(21)).blamed, waits);
        urgent.looked(0, over(&waits, &waits), at(22));
        // The answer in between was no further one, so the turn stays where it was.
        assert_eq!(urgent.next(0), Some(at(60)));
    }

    #[test]
    fn an_unanswered_confirmation_is_tried_again_a_turn_later_and_not_at_once() {
        let mut urgent = Urgent::new(1, MINUTE);
        let waits = [binding("a")];
        urgent.looked(0, over(&waits, &waits), at(0));
        assert_eq!(urgent.due(0, at(61)).confirming, waits);
        urgent.looked(0, over(&waits, &waits), at(66));
        assert!(urgent.due(0, at(67)).is_empty());
        assert_eq!(urgent.next(0), Some(at(126)));
        urgent.looked(0, over(&waits, &[]), at(126));
        assert_eq!(urgent.next(0), None, "it waits no longer");
    }

    #[test]
    fn blame_is_gathered_and_each_subject_served_once_a_turn() {
        let mut urgent = Urgent::new(2, MINUTE);
        urgent.want(0, binding("a"), false, at(0));
        assert_eq!(urgent.due(0, at(0)).blamed, [binding("a")]);
        for name in ["a", "b", "c"] {
            urgent.want(0, binding(name), false, at(1));
        }
        assert!(urgent.due(0, at(9)).is_empty());
        assert_eq!((urgent.next(0), urgent.next(1)), (Some(at(10)), None));
        assert_eq!(urgent.due(0, at(10)).blamed, [binding("b"), binding("c")], "a had its turn");
        urgent.want(0, binding("a"), true, at(11));
        urgent.want(0, binding("a"), false, at(61));
        assert_eq!(urgent.due(0, at(61)).blamed, [binding("a")], "once, for the reply that named the list");
    }

    #[test]
    fn what_the_budget_refused_stays_wanted_until_it_is_asked() {
        let mut urgent = Urgent::new(1, MINUTE);
        ["a", "b", "c"].into_iter().for_each(|name| urgent.want(0, binding(name), false, at(0)));
        let due = urgent.due(0, at(0));
        let refused = Outcome { refused: (&[], &due.blamed[1..]), ..over(&due.blamed[..1], &[]) };
        urgent.looked(0, refused, at(1));
        assert!(urgent.due(0, at(60)).is_empty());
        let again = urgent.due(0, at(61)).blamed;
        assert_eq!(again, [binding("b"), binding("c")]);
        urgent.looked(0, Outcome { refused: (&[], &again), ..over(&[], &[]) }, at(62));
        // A round asks about them as well.
        urgent.looked(0, over(&again[..1], &[]), at(70));
        assert_eq!(urgent.due(0, at(122)).blamed, [binding("c")]);
    }

    #[test]
    fn whoever_waits_goes_on_waiting_when_the_lists_change() {
        let mut urgent = Urgent::new(2, MINUTE);
        let waits = [binding("a"), binding("gone")];
        urgent.looked(1, over(&waits, &waits), at(0));
        urgent.want(1, binding("b"), false, at(5));
        urgent.follow(&[None, Some(1), None], |subject| *subject == binding("gone"), MINUTE);
        assert_eq!((urgent.next(0), urgent.next(2)), (None, None));
        assert_eq!(urgent.due(1, at(10)).blamed, [binding("b")]);
        assert_eq!(urgent.due(1, at(60)).confirming, [binding("a")]);
    }

    #[test]
    fn confirmations_without_budget_wait_a_turn_and_those_that_waited_longest_come_first() {
        let mut urgent = Urgent::new(1, MINUTE);
        let (a, b) = (binding("a"), binding("b"));
        urgent.looked(0, over(from_ref(&b), from_ref(&b)), at(0));
        let both = [a.clone(), b.clone()];
        urgent.looked(0, over(from_ref(&a), &both), at(30));
        let due = urgent.due(0, at(90));
        assert_eq!(due.confirming, [b.clone(), a.clone()]);
        let part = Outcome { asked: from_ref(&b), refused: (from_ref(&a), &[]), pending: &both };
        urgent.looked(0, part, at(91));
        assert_eq!(urgent.next(0), Some(at(151)));
        assert_eq!(urgent.due(0, at(151)).confirming, [a, b]);
    }
}
