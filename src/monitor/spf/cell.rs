//! What is known of one domain and one binding. Pure.

use super::outcome::{Answer, Outcome, Reason, State};
use super::table::{Rules, STALE_AFTER};
use crate::clock::Wall;

/// Small: there may be half a million.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    known: Option<State>,
    /// Answers in a row that speak for a state which is not good news, and when the last came.
    toward: Option<(State, u16, Wall)>,
    pub(super) conclusive: Option<Wall>,
    /// The last answer, conclusive or not.
    pub(super) last: Option<(Outcome, Option<Reason>)>,
}

impl Cell {
    /// What was proven at `at`, before a restart.
    pub(super) fn proven(state: State, at: Wall) -> Self {
        Self { known: Some(state), conclusive: Some(at), ..Self::default() }
    }

    pub(super) fn state(&self) -> State {
        self.known.unwrap_or(State::Unknown)
    }

    /// Whether the next answer may prove something.
    pub(super) fn is_confirming(&self) -> bool {
        self.toward.is_some() && self.last.is_some_and(|(outcome, _)| outcome.state().is_some())
    }

    /// Whether `state` counts at once. Bad news must be confirmed; and so must that a proven domain has nothing to say any
    /// more: a resolver that loses TXT records says that of all of them.
    fn is_taken_at_once(&self, state: State) -> bool {
        self.known == Some(state)
            || match state {
                State::Covered => true,
                State::NoStatement => self.known.is_none(),
                State::NotCovered | State::Unknown => false,
            }
    }

    pub(super) fn conclude(&mut self, answer: &Answer, rules: &Rules, now: Wall) {
        self.last = Some((answer.outcome, answer.reason));
        let Some(state) = answer.outcome.state() else {
            if self.conclusive.is_some_and(|at| now.since(at) >= STALE_AFTER) {
                (self.known, self.toward) = (None, None);
            }
            return;
        };
        self.conclusive = Some(now);
        if self.is_taken_at_once(state) {
            (self.known, self.toward) = (Some(state), None);
            return;
        }
        let count = match self.toward.filter(|(toward, ..)| *toward == state) {
            Some((.., last)) if now.since(last) < rules.confirm_after => return,
            Some((_, count, _)) => count.saturating_add(1),
            None => 1,
        };
        if u32::from(count) >= rules.confirmations.max(1) {
            (self.known, self.toward) = (Some(state), None);
        } else {
            self.toward = Some((state, count, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_million_fit_into_memory() {
        // 36 MB with 10,000 domains and 50 bindings.
        assert!(size_of::<Cell>() <= 72, "{}", size_of::<Cell>());
    }
}
