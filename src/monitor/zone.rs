//! Whether a list is to be believed: its health, from three probes.
//!
//! ```text
//!             good                    ┌─▶ Blocked      refuses us
//!   Probing ───────▶ Healthy ── bad ──┼─▶ Dead         lists what must not be listed, or answers outside 127/8
//!      ▲                ▲             ├─▶ Hollow       its test entry is missing: "not listed" means nothing
//!      │                │             ├─▶ Quarantined  too many of our addresses at once
//!      │                └── good ─────┼── Unreachable  no answer
//!      └───────── good ───────────────┘
//! ```
//!
//! Lists die about once a year, also first-class ones: loudly (everything is listed: negative and random probe) or
//! silently (nothing is, or nothing answers: positive probe). The probes are asked with every question, before our own
//! addresses, and answers count only when they were good.
//!
//! The way out of each state: Probing by good probes, once at the start and twice after a lie; Unreachable by good probes,
//! once; Blocked, Dead, Hollow and Quarantined by two good whole rounds (the probes right, no sentinel listed, no more of
//! our addresses newly listed than is believable), between which it is Probing. A look outside the rounds helps no list out.

use crate::clock::Wall;

use super::answer::AnswerClass;

/// Whether a zone's answers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZoneHealth {
    /// Not known yet, or good again for the first time.
    Probing,
    /// They do.
    Healthy,
    /// It refuses to answer us.
    Blocked,
    /// It lists the world, or its domain or our resolver gives addresses that are no return codes.
    Dead,
    /// Its test entry is missing.
    Hollow,
    /// It does not answer.
    Unreachable,
    /// It newly listed more of our addresses in one round than is believable.
    Quarantined,
    /// It is asked through a resolver that is proven to lie
    /// ([`Monitor::distrust`](crate::monitor::Monitor::distrust)).
    Resolver,
}

impl ZoneHealth {
    /// Stable text, as in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Probing => "probing",
            Self::Healthy => "healthy",
            Self::Blocked => "blocked",
            Self::Dead => "dead",
            Self::Hollow => "hollow",
            Self::Unreachable => "unreachable",
            Self::Quarantined => "quarantined",
            Self::Resolver => "resolver",
        }
    }

    /// All, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Probing,
        Self::Healthy,
        Self::Blocked,
        Self::Dead,
        Self::Hollow,
        Self::Unreachable,
        Self::Quarantined,
        Self::Resolver,
    ];
}

/// Answers to the probes of one round; `None` where the zone has no such probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Probes {
    /// The address that must be listed.
    pub positive: Option<AnswerClass>,
    /// The address that must not be listed.
    pub negative: Option<AnswerClass>,
    /// A random label, which cannot exist.
    pub random: Option<AnswerClass>,
    /// The same for IPv6: what must be listed and what must not, where the zone knows IPv6 and we have such addresses.
    pub ipv6: Option<(AnswerClass, AnswerClass)>,
}

impl Probes {
    /// Those of a zone without IPv6.
    pub fn new(positive: Option<AnswerClass>, negative: Option<AnswerClass>, random: Option<AnswerClass>) -> Self {
        Self { positive, negative, random, ipv6: None }
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &AnswerClass)> {
        let all = [
            (POSITIVE, self.positive.as_ref()),
            ("negative probe", self.negative.as_ref()),
            ("random name", self.random.as_ref()),
            ("negative IPv6 probe", self.ipv6.as_ref().map(|(_, negative)| negative)),
        ];
        all.into_iter().filter_map(|(what, answer)| answer.map(|answer| (what, answer)))
    }

    /// Whether what the zone says of IPv6 counts: its test entry there is listed. (That nothing is listed which must not
    /// be is asked of the zone as a whole.)
    pub fn ipv6_counts(&self) -> bool {
        let there = |answer: &AnswerClass| {
            matches!(answer, AnswerClass::Listed { .. } | AnswerClass::Good { .. } | AnswerClass::Unknown(_))
        };
        self.ipv6.as_ref().is_none_or(|(positive, _)| there(positive))
    }

    /// Each probe by name (positive, negative, random) and whether it was as it should be; what got no answer is left out.
    pub fn seen(&self) -> Vec<(&'static str, bool)> {
        let told = |answer: &AnswerClass| !matches!(answer, AnswerClass::NoAnswer(_));
        let right = |answer: &AnswerClass| {
            answer.has_address() && !matches!(answer, AnswerClass::Bogus(_) | AnswerClass::Refused(_))
        };
        let positive = self.positive.iter().filter(|a| told(a)).map(|a| ("positive", right(a)));
        let absent = |name, answer: &Option<AnswerClass>| {
            answer.iter().filter(|a| told(a)).map(|a| (name, *a == AnswerClass::NotListed)).collect::<Vec<_>>()
        };
        positive.chain(absent("negative", &self.negative)).chain(absent("random", &self.random)).collect()
    }
}

const POSITIVE: &str = "positive probe";

/// What is wrong by these probes; `Ok` when nothing is.
pub fn judge(probes: &Probes) -> Result<(), (ZoneHealth, String)> {
    for (what, answer) in probes.named() {
        if let AnswerClass::Bogus(address) = answer {
            return Err((ZoneHealth::Dead, format!("{what} answered {address}, which is no return code")));
        }
    }
    for (what, answer) in probes.named() {
        if let AnswerClass::Refused(code) = answer {
            return Err((ZoneHealth::Blocked, format!("{what} answered {code}: the list refuses us")));
        }
    }
    for (what, answer) in probes.named().filter(|(what, _)| *what != POSITIVE) {
        if answer.has_address() {
            return Err((ZoneHealth::Dead, format!("{what} is listed: it lists everything")));
        }
    }
    for (what, answer) in probes.named() {
        if let AnswerClass::NoAnswer(why) = answer {
            return Err((ZoneHealth::Unreachable, format!("{what}: {why}")));
        }
    }
    match &probes.positive {
        Some(AnswerClass::NotListed) => Err((ZoneHealth::Hollow, "its test entry is not listed".to_owned())),
        _ => Ok(()),
    }
}

/// A zone's health over time.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneState {
    /// Now.
    pub health: ZoneHealth,
    /// Why; empty while healthy.
    pub reason: String,
    /// Since when.
    pub since: Wall,
    /// Good looks in a row that are still missing.
    missing: u8,
    /// It was worse than away, and is not healthy since: only whole rounds help it out.
    lied: bool,
}

impl ZoneState {
    /// A zone about which nothing is known.
    pub fn new(now: Wall) -> Self {
        Self { health: ZoneHealth::Probing, reason: "not probed yet".to_owned(), since: now, missing: 1, lied: false }
    }

    /// Takes in a look at the zone: what is wrong with it, if anything, and whether it was a whole round. Returns whether
    /// the zone's answers of this look count.
    pub fn saw(&mut self, trouble: Option<(ZoneHealth, String)>, whole: bool, now: Wall) -> bool {
        match trouble {
            Some((health, reason)) => self.fail(health, reason, now),
            None if self.lied && !whole => {}
            None => {
                self.missing = self.missing.saturating_sub(1);
                self.lied &= self.missing > 0;
                let (health, reason) = match self.missing {
                    0 => (ZoneHealth::Healthy, ""),
                    _ => (ZoneHealth::Probing, "good again, once"),
                };
                self.turn(health, reason.to_owned(), now);
            }
        }
        self.health == ZoneHealth::Healthy
    }

    fn fail(&mut self, health: ZoneHealth, reason: String, now: Wall) {
        self.lied |= health != ZoneHealth::Unreachable;
        self.missing = if self.lied { 2 } else { 1 };
        self.turn(health, reason, now);
    }

    fn turn(&mut self, health: ZoneHealth, reason: String, now: Wall) {
        if self.health != health {
            self.since = now;
        }
        self.health = health;
        self.reason = reason;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Zone;

    /// A zone of weight 3 with the usual probes.
    pub(in crate::monitor) fn zone(name: &str) -> Zone {
        Zone { weight: 3.0, ..Zone::new(name, format!("{name}.example")) }
    }

    pub(in crate::monitor) fn listed() -> AnswerClass {
        AnswerClass::Listed { codes: vec![[127, 0, 0, 2].into()], weight: 3.0, certain: false }
    }

    pub(in crate::monitor) fn good() -> Probes {
        probes(listed(), AnswerClass::NotListed, AnswerClass::NotListed)
    }

    fn probes(positive: AnswerClass, negative: AnswerClass, random: AnswerClass) -> Probes {
        Probes::new(Some(positive), Some(negative), Some(random))
    }

    const NOW: Wall = Wall::from_millis(0);

    #[test]
    fn probes_tell_what_is_wrong() {
        use AnswerClass::{Bogus, NoAnswer, NotListed, Refused, Unknown};
        let (parked, no) = (Bogus([91, 195, 240, 117].into()), Refused([127, 255, 255, 254].into()));
        let table = [
            (good(), None),
            (probes(Unknown([127, 0, 0, 1].into()), NotListed, NotListed), None),
            (Probes::new(None, None, Some(NotListed)), None),
            (Probes::new(None, None, None), None),
            (Probes { ipv6: Some((NotListed, NotListed)), ..good() }, None),
            (Probes { ipv6: Some((listed(), listed())), ..good() }, Some(ZoneHealth::Dead)),
            (probes(listed(), listed(), listed()), Some(ZoneHealth::Dead)),
            (probes(listed(), NotListed, listed()), Some(ZoneHealth::Dead)),
            (probes(listed(), Unknown([127, 0, 0, 1].into()), NotListed), Some(ZoneHealth::Dead)),
            (probes(parked.clone(), parked.clone(), parked), Some(ZoneHealth::Dead)),
            (probes(no.clone(), no.clone(), NotListed), Some(ZoneHealth::Blocked)),
            (probes(NotListed, NotListed, NotListed), Some(ZoneHealth::Hollow)),
            (probes(listed(), NoAnswer("timeout"), NotListed), Some(ZoneHealth::Unreachable)),
            (probes(NoAnswer("servfail"), NotListed, NotListed), Some(ZoneHealth::Unreachable)),
            (probes(NoAnswer("timeout"), NotListed, listed()), Some(ZoneHealth::Dead)),
        ];
        for (probes, expected) in table {
            assert_eq!(judge(&probes).err().map(|(health, _)| health), expected, "{probes:?}");
        }
    }

    #[test]
    fn a_list_that_lied_must_be_good_in_two_whole_rounds_and_one_that_was_away_once() {
        let mut state = ZoneState::new(NOW);
        assert!(state.saw(None, true, NOW), "at the start one good look is enough");
        let away = || Some((ZoneHealth::Unreachable, "timeout".to_owned()));
        let dead = || Some((ZoneHealth::Dead, "lists everything".to_owned()));
        assert!(!state.saw(away(), true, NOW));
        assert_eq!(state.health, ZoneHealth::Unreachable);
        assert!(state.saw(None, false, NOW));
        assert!(!state.saw(dead(), true, NOW));
        assert!(!state.saw(away(), true, NOW), "being away does not make it honest");
        assert!(!state.saw(None, false, NOW));
        assert_eq!(state.health, ZoneHealth::Unreachable, "a look outside the rounds does not help it out");
        assert!(!state.saw(None, true, NOW));
        assert_eq!(state.health, ZoneHealth::Probing);
        assert!(!state.saw(None, false, NOW));
        assert!(state.saw(None, true, NOW));
        assert_eq!((state.health, state.reason.as_str()), (ZoneHealth::Healthy, ""));
        assert!(state.saw(None, false, NOW));
    }

    #[test]
    fn each_probe_is_told_for_itself_and_silence_is_not_told() {
        let silent = AnswerClass::NoAnswer("timeout");
        assert_eq!(good().seen(), [("positive", true), ("negative", true), ("random", true)]);
        assert_eq!(probes(silent, listed(), AnswerClass::NotListed).seen(), [("negative", false), ("random", true)]);
    }
}
