//! One subject in one zone: what is confirmed, and what waits for its confirmation.

use std::time::Duration;

use crate::clock::Wall;
use crate::config;
use crate::message::ZoneName;
use crate::monitor::answer::AnswerClass;
use crate::monitor::urgent::NEARLY;
use crate::reputation::evidence::Listing;

use super::STALE_AFTER;

/// For so long a reply that names the list counts as an answer of its own.
const NAMED_FOR: Duration = Duration::from_secs(60 * 60);

/// What a zone says of a subject.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    Clean,
    /// A good word, of weight 0 or less.
    Good(Listing),
    Listed(Listing),
}

impl Known {
    pub(super) fn is_listed(&self) -> bool {
        matches!(self, Self::Listed(_))
    }

    /// As it was remembered.
    pub(super) fn remembered(listing: &Listing) -> Self {
        if listing.weight < 0.0 { Self::Good(listing.clone()) } else { Self::Listed(listing.clone()) }
    }

    /// What an answer concludes, if anything.
    pub(super) fn of(zone: &ZoneName, answer: &AnswerClass) -> Option<Self> {
        let listing = |codes: &[std::net::Ipv4Addr], weight, certain| {
            let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
            Listing { zone: zone.clone(), weight, certain, codes: codes.join(" ") }
        };
        match answer {
            AnswerClass::Listed { codes, weight, certain } => Some(Self::Listed(listing(codes, *weight, *certain))),
            AnswerClass::Good { codes, weight } => Some(Self::Good(listing(codes, *weight, false))),
            AnswerClass::NotListed => Some(Self::Clean),
            _ => None,
        }
    }
}

/// What waits for its confirmation.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) what: Known,
    count: u32,
    needed: u32,
    /// The second resolver has said the same.
    agreed: bool,
    pub(super) first: Wall,
    last: Wall,
}

/// What a look brings besides the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// What the second resolver said, where one is to be asked: whether it lists the subject, as far as it answered.
    pub(super) second: Option<Option<bool>>,
    /// Twice the confirmations are asked for.
    pub(super) doubled: bool,
}

/// What has become of a cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    Listed,
    /// It was listed since then.
    Cleared(Option<Wall>),
}

/// One subject in one zone.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub(super) confirmed: Option<Known>,
    pub(super) pending: Option<Pending>,
    pub(super) last_conclusive: Option<Wall>,
    /// When the zone last said that it does not list the subject.
    pub(super) last_clean: Option<Wall>,
    /// Of a confirmed listing: when the first answer of its row came, and what `last_clean` was then.
    pub(super) seen: Option<(Wall, Option<Wall>)>,
    pub(super) confirmed_at: Option<Wall>,
    /// What the zone says of the reason.
    pub(super) text: Option<String>,
    /// A reply named just this list.
    pub(super) named: Option<Wall>,
    /// The second resolver has contradicted, and that was noted.
    pub(super) disputed: bool,
    /// From when on a confirmed state ages.
    fresh: Option<Wall>,
}

impl Cell {
    /// As it was remembered from before a restart.
    pub(super) fn remembered(listing: &Listing, now: Wall) -> Self {
        Self { confirmed: Some(Known::remembered(listing)), fresh: Some(now), ..Self::default() }
    }

    pub(super) fn is_listed(&self) -> bool {
        self.confirmed.as_ref().is_some_and(Known::is_listed)
    }

    /// Since when it is seen on the list, also while that is not confirmed. Nothing for what was remembered.
    pub(super) fn on_list_since(&self) -> Option<Wall> {
        let pending = self.pending.as_ref().filter(|pending| pending.what.is_listed());
        if self.is_listed() { self.seen.map(|(first, _)| first) } else { pending.map(|pending| pending.first) }
    }

    /// Whether asking again soon would help: answers are missing that time alone brings.
    pub(super) fn wants_confirmation(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.count < pending.needed)
    }

    /// Takes in what the zone says now.
    pub(super) fn conclude(&mut self, known: Known, look: Look, rules: &config::Monitor, now: Wall) -> Option<Change> {
        self.last_conclusive = Some(now);
        let clean_before = self.last_clean;
        if !known.is_listed() {
            self.last_clean = Some(now);
        }
        let nothing_at_stake = !known.is_listed() && !self.is_listed();
        if self.confirmed.as_ref() == Some(&known) || nothing_at_stake {
            (self.confirmed, self.pending, self.fresh) = (Some(known), None, Some(now));
            self.disputed = false;
            return None;
        }
        let mut pending = match self.pending.take() {
            Some(pending) if pending.what.is_listed() == known.is_listed() => pending,
            _ => Pending { what: known.clone(), count: 0, needed: 0, agreed: false, first: now, last: now },
        };
        let is_first = pending.count == 0;
        if is_first || now.since(pending.last) >= rules.confirm_after.mul_f64(NEARLY) {
            (pending.count, pending.last) = (pending.count.saturating_add(1), now);
        }
        pending.what = known;
        pending.agreed |= look.second == Some(Some(true));
        let needed = rules.confirmations.max(1);
        pending.needed = pending.needed.max(if look.doubled { needed.saturating_mul(2) } else { needed });
        let named = self.named.is_some_and(|at| now.since(at) < NAMED_FOR) && pending.what.is_listed();
        let enough = pending.count.saturating_add(u32::from(named)) >= pending.needed;
        let agreed = pending.agreed || look.second.is_none() || !pending.what.is_listed();
        if enough && agreed {
            return self.confirm(pending, clean_before, now);
        }
        self.pending = Some(pending);
        None
    }

    fn confirm(&mut self, pending: Pending, clean_before: Option<Wall>, now: Wall) -> Option<Change> {
        let stood = self.is_listed();
        let since = self.seen.map(|(first, _)| first);
        let listed = pending.what.is_listed();
        // Other codes of a listing that stands are the same listing.
        self.seen = listed.then(|| self.seen.filter(|_| stood).unwrap_or((pending.first, clean_before)));
        (self.confirmed, self.fresh, self.disputed) = (Some(pending.what), Some(now), false);
        match (stood, listed) {
            (false, true) => {
                self.confirmed_at = Some(now);
                Some(Change::Listed)
            }
            (true, false) => {
                (self.confirmed_at, self.text, self.named) = (None, None, None);
                Some(Change::Cleared(since))
            }
            _ => None,
        }
    }

    /// Forgets what nobody has said for long.
    pub(super) fn drop_stale(&mut self, now: Wall) {
        let stale = self.fresh.max(self.last_conclusive).is_some_and(|at| now.since(at) >= STALE_AFTER);
        if stale {
            self.forget();
        }
    }

    /// Forgets everything but when it was asked.
    pub(super) fn forget(&mut self) {
        let (last_conclusive, last_clean) = (self.last_conclusive, self.last_clean);
        *self = Self { last_conclusive, last_clean, ..Self::default() };
    }
}
