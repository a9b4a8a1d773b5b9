//! What a binding's reverse DNS is worth: PTR → name → the same address (FCrDNS), and whether EHLO agrees.
//!
//! Receivers refuse addresses without it, so a broken one takes the binding out; but only a *proven* one: every answer
//! conclusive, and as many rounds in a row as a listing needs. A time-out or SERVFAIL proves nothing. An EHLO name that
//! differs from the PTR name is reported and suspends nobody: it is allowed, if unusual.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::identity::names::{Checked, Grade, NameCheck};
use crate::clock::Wall;

/// Names of one PTR answer that are followed; the rest is noise.
pub const MAX_NAMES: usize = 10;

/// What came back for one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// These records.
    Records(Vec<T>),
    /// There are none.
    Absent,
    /// Not known; the word says why.
    Failed(&'static str),
}

/// What one check saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// These PTR names lead back to the address.
    Confirmed(Vec<String>),
    /// Proven not to.
    Broken(String),
    /// Nothing proven.
    Unknown(String),
}

/// Judges a PTR answer and the address answers of its names.
pub fn judge(address: IpAddr, ptr: &Found<String>, forward: &[(String, Found<IpAddr>)]) -> Seen {
    match ptr {
        Found::Absent => return Seen::Broken(format!("{address} has no PTR record")),
        Found::Failed(why) => return Seen::Unknown(format!("PTR of {address}: {why}")),
        Found::Records(_) => {}
    }
    let leads_back = |found: &Found<IpAddr>| matches!(found, Found::Records(all) if all.iter().any(|a| a.to_canonical() == address.to_canonical()));
    let names: Vec<String> = forward.iter().filter(|(_, f)| leads_back(f)).map(|(name, _)| name.clone()).collect();
    if !names.is_empty() {
        return Seen::Confirmed(names);
    }
    if let Some((name, why)) = forward.iter().find_map(|(name, found)| match found {
        Found::Failed(why) => Some((name, why)),
        _ => None,
    }) {
        return Seen::Unknown(format!("{name}: {why}"));
    }
    let names: Vec<&str> = forward.iter().map(|(name, _)| name.as_str()).collect();
    Seen::Broken(format!("PTR of {address} is {}, which does not lead back", names.join(", ")))
}

/// What is seen of a binding by what is seen of each of its addresses: it is as good as the worst of them, since its mail
/// may leave from any.
pub fn of_all(seen: impl IntoIterator<Item = Seen>) -> Seen {
    let (mut names, mut broken, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for one in seen {
        match one {
            Seen::Confirmed(own) => names.extend(own),
            Seen::Broken(why) => broken.push(why),
            Seen::Unknown(why) => unknown.push(why),
        }
    }
    let mut known = BTreeSet::new();
    names.retain(|name| known.insert(name.to_ascii_lowercase()));
    match (broken.is_empty(), unknown.is_empty()) {
        (false, _) => Seen::Broken(broken.join("; ")),
        (true, false) => Seen::Unknown(unknown.join("; ")),
        (true, true) => Seen::Confirmed(names),
    }
}

/// Reverse DNS of one binding over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReverseState {
    /// Proven state; `None` while nothing is.
    pub confirmed: Option<bool>,
    /// What was seen last, in words.
    pub detail: String,
    /// Whether the EHLO name is one of the confirmed PTR names; `None` where it varies or nothing is confirmed.
    pub ehlo_agrees: Option<bool>,
    /// When it was last seen for certain.
    pub last_conclusive: Option<Wall>,
    /// Each check of the names: what was last known for certain, and how it was last seen.
    pub checks: Vec<Checked>,
    pending: Option<(bool, u32, Wall)>,
}

impl ReverseState {
    /// Whether a change waits for its confirmation.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Takes in the checks of one round. Returns those whose outcome is new and certain; where nothing was proven, what was
    /// known before stands.
    pub fn names_seen(&mut self, checked: Vec<Checked>) -> Vec<Checked> {
        let before = std::mem::take(&mut self.checks);
        let known = |check: NameCheck| before.iter().find(|old| old.check == check && old.grade != Grade::Unknown);
        let mut news = Vec::new();
        for new in checked {
            match known(new.check) {
                Some(old) if new.grade == Grade::Unknown => {
                    self.checks.push(Checked { detail: new.detail, ..old.clone() })
                }
                old => {
                    // That all is well at first is no news.
                    let expected = old.map_or(Grade::Good, |old| old.grade);
                    if new.grade != Grade::Unknown && new.grade != expected {
                        news.push(new.clone());
                    }
                    self.checks.push(new);
                }
            }
        }
        news
    }

    /// Takes in one check. Returns the proven state where it is new: good ones at once, a broken one and the repair of
    /// a broken one after `confirmations` in a row, `apart` from each other.
    pub fn seen(
        &mut self,
        seen: &Seen,
        ehlo: Option<&str>,
        confirmations: u32,
        apart: Duration,
        now: Wall,
    ) -> Option<bool> {
        let good = match seen {
            Seen::Unknown(why) => {
                self.detail.clone_from(why);
                return None;
            }
            Seen::Broken(why) => {
                self.detail.clone_from(why);
                self.ehlo_agrees = None;
                false
            }
            Seen::Confirmed(names) => {
                self.detail = format!("confirmed by {}", names.join(", "));
                self.ehlo_agrees = ehlo.map(|ehlo| names.iter().any(|name| name.eq_ignore_ascii_case(ehlo)));
                true
            }
        };
        self.last_conclusive = Some(now);
        if self.confirmed == Some(good) {
            self.pending = None;
            return None;
        }
        let count = match self.pending {
            Some((same, count, last)) if same == good => {
                if now.since(last) < apart {
                    return None;
                }
                count + 1
            }
            _ => 1,
        };
        if count >= confirmations.max(1) || (good && self.confirmed.is_none()) {
            self.pending = None;
            self.confirmed = Some(good);
            return Some(good);
        }
        self.pending = Some((good, count, now));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> IpAddr {
        [192, 0, 2, 1].into()
    }

    fn names(all: &[&str]) -> Found<String> {
        Found::Records(all.iter().map(|n| (*n).to_owned()).collect())
    }

    #[test]
    fn only_complete_answers_prove_anything() {
        let here = || Found::Records(vec![address()]);
        let there = || Found::Records(vec![IpAddr::from([192, 0, 2, 9])]);
        let forward = |all: Vec<(&str, Found<IpAddr>)>| -> Vec<(String, Found<IpAddr>)> {
            all.into_iter().map(|(n, f)| (n.to_owned(), f)).collect()
        };
        let table = [
            (Found::Absent, forward(vec![]), "broken"),
            (Found::Failed("timeout"), forward(vec![]), "unknown"),
            (names(&["a.example"]), forward(vec![("a.example", here())]), "confirmed"),
            (names(&["a.example"]), forward(vec![("a.example", there())]), "broken"),
            (names(&["a.example"]), forward(vec![("a.example", Found::Absent)]), "broken"),
            (names(&["a.example"]), forward(vec![("a.example", Found::Failed("servfail"))]), "unknown"),
            (names(&["a", "b"]), forward(vec![("a", Found::Failed("timeout")), ("b", here())]), "confirmed"),
            (names(&["a", "b"]), forward(vec![("a", there()), ("b", Found::Failed("timeout"))]), "unknown"),
        ];
        for (ptr, forward, expected) in table {
            let got = match judge(address(), &ptr, &forward) {
                Seen::Confirmed(_) => "confirmed",
                Seen::Broken(_) => "broken",
                Seen::Unknown(_) => "unknown",
            };
            assert_eq!(got, expected, "{ptr:?} {forward:?}");
        }
    }

    #[test]
    fn of_two_addresses_the_worse_one_counts() {
        let good = |name: &str| Seen::Confirmed(vec![name.to_owned()]);
        let (bad, unknown) = (Seen::Broken("no PTR".into()), Seen::Unknown("timeout".into()));
        for (four, six, expected) in [
            (good("a"), good("A"), good("a")),
            (good("a"), good("b"), Seen::Confirmed(vec!["a".into(), "b".into()])),
            (good("a"), bad.clone(), bad.clone()),
            (unknown.clone(), bad.clone(), bad.clone()),
            (unknown.clone(), good("a"), unknown.clone()),
            (bad.clone(), bad, Seen::Broken("no PTR; no PTR".into())),
        ] {
            assert_eq!(of_all([four.clone(), six.clone()]), expected, "{four:?} {six:?}");
        }
    }

    #[test]
    fn a_change_of_a_check_is_news_once_and_silence_is_none() {
        let mut state = ReverseState::default();
        let seen = |grade| vec![Checked { check: NameCheck::Ehlo, grade, detail: format!("{grade:?}") }];
        // (seen, whether it is news, what is known then)
        let story = [
            (Grade::Unknown, false, Grade::Unknown),
            (Grade::Good, false, Grade::Good),
            (Grade::Bad, true, Grade::Bad),
            (Grade::Bad, false, Grade::Bad),
            (Grade::Unknown, false, Grade::Bad),
            (Grade::Bad, false, Grade::Bad),
            (Grade::Good, true, Grade::Good),
            (Grade::Unknown, false, Grade::Good),
        ];
        for (step, (grade, news, known)) in story.into_iter().enumerate() {
            assert_eq!(state.names_seen(seen(grade)).len(), usize::from(news), "step {step}");
            assert_eq!(state.checks[0].grade, known, "step {step}");
            assert_eq!(state.checks[0].detail, format!("{grade:?}"), "the words are those of the last look");
        }
        let mut fresh = ReverseState::default();
        assert_eq!(fresh.names_seen(seen(Grade::Bad)).len(), 1, "a fault at the start is news");
    }

    #[test]
    fn a_broken_ptr_needs_confirmation_and_so_does_its_repair() {
        let mut state = ReverseState::default();
        let apart = Duration::from_secs(60);
        let good = Seen::Confirmed(vec!["mta1.example".into()]);
        let (bad, unknown) = (Seen::Broken("no PTR".into()), Seen::Unknown("timeout".into()));
        // (seen, at second) → new proven state
        let story = [
            (&good, 0, Some(true)),
            (&bad, 60, None),
            (&good, 120, None),
            (&bad, 180, None),
            (&unknown, 200, None),
            (&bad, 210, None), // too soon
            (&bad, 240, Some(false)),
            (&bad, 300, None),
            (&good, 360, None),
            (&good, 420, Some(true)),
        ];
        for (seen, second, expected) in story {
            let now = Wall::from_millis(second * 1000);
            assert_eq!(state.seen(seen, Some("MTA1.example"), 2, apart, now), expected, "{second} s");
        }
        assert_eq!(state.ehlo_agrees, Some(true));
        state.seen(&good, Some("relay.example"), 2, apart, Wall::from_millis(500_000));
        assert_eq!(state.ehlo_agrees, Some(false));
    }
}
