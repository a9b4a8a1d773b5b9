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
//! silently (nothing is, or nothing answers: positive probe). A list that lied must be good twice before it is believed
//! again; one that was merely unreachable is believed at once. The probes are asked in every round, before our own
//! addresses, and a round counts only when they were good.

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
    pub random: AnswerClass,
}

/// What is wrong by these probes; `Ok` when nothing is.
pub fn judge(probes: &Probes) -> Result<(), (ZoneHealth, String)> {
    let named = [
        ("positive probe", probes.positive.as_ref()),
        ("negative probe", probes.negative.as_ref()),
        ("random name", Some(&probes.random)),
    ];
    let asked = || named.iter().filter_map(|(what, answer)| answer.map(|a| (*what, a)));
    for (what, answer) in asked() {
        if let AnswerClass::Bogus(address) = answer {
            return Err((ZoneHealth::Dead, format!("{what} answered {address}, which is no return code")));
        }
    }
    for (what, answer) in asked() {
        if let AnswerClass::Refused(code) = answer {
            return Err((ZoneHealth::Blocked, format!("{what} answered {code}: the list refuses us")));
        }
    }
    for (what, answer) in asked().filter(|(what, _)| *what != "positive probe") {
        if answer.has_address() {
            return Err((ZoneHealth::Dead, format!("{what} is listed: it lists everything")));
        }
    }
    for (what, answer) in asked() {
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
    /// Good probes in a row that are still missing.
    missing: u8,
}

impl ZoneState {
    /// A zone about which nothing is known.
    pub fn new(now: Wall) -> Self {
        Self { health: ZoneHealth::Probing, reason: "not probed yet".to_owned(), since: now, missing: 1 }
    }

    /// Takes in the probes of a round. Returns whether the zone's answers of this round count.
    pub fn probed(&mut self, probes: &Probes, now: Wall) -> bool {
        match judge(probes) {
            Err((health, reason)) => self.fail(health, reason, now),
            Ok(()) => {
                self.missing = self.missing.saturating_sub(1);
                let reason = if self.missing > 0 { "good again, once" } else { "" };
                let health = if self.missing > 0 { ZoneHealth::Probing } else { ZoneHealth::Healthy };
                self.turn(health, reason.to_owned(), now);
            }
        }
        self.health == ZoneHealth::Healthy
    }

    /// Something else than the probes proves it unfit.
    pub fn fail(&mut self, health: ZoneHealth, reason: String, now: Wall) {
        let honest = health == ZoneHealth::Unreachable && self.missing <= 1;
        self.missing = if honest { 1 } else { 2 };
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
        Zone {
            name: name.into(),
            zone: format!("{name}.example"),
            servers: Vec::new(),
            weight: 3.0,
            codes: Vec::new(),
            positive_probe: Some([127, 0, 0, 2].into()),
            negative_probe: Some([127, 0, 0, 1].into()),
        }
    }

    pub(in crate::monitor) fn listed() -> AnswerClass {
        AnswerClass::Listed { codes: vec![[127, 0, 0, 2].into()], weight: 3.0, certain: false }
    }

    pub(in crate::monitor) fn good() -> Probes {
        probes(listed(), AnswerClass::NotListed, AnswerClass::NotListed)
    }

    fn probes(positive: AnswerClass, negative: AnswerClass, random: AnswerClass) -> Probes {
        Probes { positive: Some(positive), negative: Some(negative), random }
    }

    const NOW: Wall = Wall::from_millis(0);

    #[test]
    fn probes_tell_what_is_wrong() {
        use AnswerClass::{Bogus, NoAnswer, NotListed, Refused, Unknown};
        let (parked, no) = (Bogus([91, 195, 240, 117].into()), Refused([127, 255, 255, 254].into()));
        let table = [
            (good(), None),
            (probes(Unknown([127, 0, 0, 1].into()), NotListed, NotListed), None),
            (Probes { positive: None, negative: None, random: NotListed }, None),
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
    fn a_list_that_lied_must_be_good_twice_and_one_that_was_away_once() {
        let mut state = ZoneState::new(NOW);
        assert!(state.probed(&good(), NOW), "at the start one good round is enough");
        let silent = AnswerClass::NoAnswer("timeout");
        let away = probes(silent.clone(), silent.clone(), silent);
        assert!(!state.probed(&away, NOW));
        assert_eq!(state.health, ZoneHealth::Unreachable);
        assert!(state.probed(&good(), NOW));
        assert!(!state.probed(&probes(listed(), listed(), listed()), NOW));
        assert!(!state.probed(&away, NOW), "being away does not make it honest");
        assert!(!state.probed(&good(), NOW));
        assert_eq!(state.health, ZoneHealth::Probing);
        assert!(state.probed(&good(), NOW));
        assert_eq!((state.health, state.reason.as_str()), (ZoneHealth::Healthy, ""));
    }
}
