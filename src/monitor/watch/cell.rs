//! One subject in one zone: what is confirmed, and what waits for its confirmation.
//!
//! Each change of kind (clean, good word, listed) is confirmed, whichever way it goes: a good word that one answer gives or
//! takes would decide over a throttle alone. Where there is a second resolver it must agree once with a listing that
//! begins and with one that ends. A second resolver that says nothing is no reason to send over a listed address for ever:
//! after twice the answers that were needed, in all of which it was silent, it goes on without it.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::clock::Wall;
use crate::config;
use crate::message::ZoneName;
use crate::monitor::answer::{AnswerClass, DnsOutcome, classify};
use crate::monitor::urgent::NEARLY;
use crate::reputation::evidence::Listing;

use super::STALE_AFTER;

/// For so long a reply that names the list counts as an answer of its own.
pub(super) const NAMED_FOR: Duration = Duration::from_secs(60 * 60);

/// Pause between two answers that count; a little less than asked for, because a look that is due on time may be answered
/// sooner than the one before it.
fn spacing(rules: &config::Monitor) -> Duration {
    rules.confirm_after.mul_f64(NEARLY)
}

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

    fn is_of_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// As it was remembered.
    pub(super) fn remembered(listing: &Listing) -> Self {
        if listing.weight < 0.0 { Self::Good(listing.clone()) } else { Self::Listed(listing.clone()) }
    }

    /// The same by other meanings of codes; `None` where its codes mean nothing any more.
    pub(super) fn reread(self, zone: &config::Zone) -> Option<Self> {
        let (Self::Good(old) | Self::Listed(old)) = &self else { return Some(self) };
        let words = || old.codes.split(' ');
        let codes: Vec<Ipv4Addr> = words().map_while(|word| word.parse().ok()).collect();
        if codes.is_empty() {
            return Some(self);
        }
        // Words behind the codes say whose domain it is.
        let has_words = words().count() > codes.len();
        let known = Self::of(&zone.name, &classify(&DnsOutcome::Addresses(codes), zone))?;
        let told = |new: Listing| if has_words { Listing { codes: old.codes.clone(), ..new } } else { new };
        Some(match known {
            Self::Listed(new) => Self::Listed(told(new)),
            Self::Good(new) => Self::Good(told(new)),
            Self::Clean => Self::Clean,
        })
    }

    /// What an answer concludes, if anything.
    pub(super) fn of(zone: &ZoneName, answer: &AnswerClass) -> Option<Self> {
        let listing = |codes: &[Ipv4Addr], weight, certain| {
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
    /// Answers in a row that counted, and for which the second resolver said nothing.
    silent: u32,
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
    /// Answers in a row, `confirm_after` apart, that it is not listed.
    pub(super) cleans: u32,
    clean_at: Option<Wall>,
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

    /// Whether a reply has named the list within `span`.
    pub(super) fn is_named(&self, span: Duration, now: Wall) -> bool {
        self.named.is_some_and(|at| now.since(at) < span)
    }

    /// Whether asking again soon would help: answers are missing that time alone brings.
    pub(super) fn wants_confirmation(&self) -> bool {
        let waits = |pending: &Pending| pending.count < pending.needed || pending.silent > 0;
        self.pending.as_ref().is_some_and(waits)
    }

    /// Whether the second resolver is to be asked about such an answer: a listing would begin or end.
    pub(super) fn is_at_stake(&self, known: &Known) -> bool {
        known.is_listed() != self.is_listed()
    }

    /// Takes in what the zone says now.
    pub(super) fn conclude(&mut self, known: Known, look: Look, rules: &config::Monitor, now: Wall) -> Option<Change> {
        self.last_conclusive = Some(now);
        let clean_before = self.last_clean;
        self.count_clean(&known, rules, now);
        if self.confirmed.is_none() && !known.is_listed() {
            // So much a good word says for certain.
            self.confirmed = Some(Known::Clean);
        }
        if self.confirmed.as_ref() == Some(&known) {
            (self.pending, self.fresh, self.disputed) = (None, Some(now), false);
            return None;
        }
        let is_at_stake = self.is_at_stake(&known);
        let mut pending = self.row(known, now);
        let counts = pending.count == 0 || now.since(pending.last) >= spacing(rules);
        if counts {
            (pending.count, pending.last) = (pending.count.saturating_add(1), now);
        }
        let agrees = |listed: bool| listed == pending.what.is_listed();
        match look.second.filter(|_| is_at_stake) {
            Some(Some(listed)) => (pending.agreed, pending.silent) = (pending.agreed || agrees(listed), 0),
            Some(None) => pending.silent = pending.silent.saturating_add(u32::from(counts)),
            None => {}
        }
        let needed = rules.confirmations.max(1);
        pending.needed = pending.needed.max(if look.doubled { needed.saturating_mul(2) } else { needed });
        let named = self.is_named(NAMED_FOR, now) && pending.what.is_listed();
        let enough = pending.count.saturating_add(u32::from(named)) >= pending.needed;
        let unheard = pending.silent >= pending.needed.saturating_mul(2);
        if enough && (pending.agreed || unheard || look.second.is_none() || !is_at_stake) {
            return self.confirm(pending, clean_before, now);
        }
        if pending.agreed {
            pending.silent = 0;
        }
        self.pending = Some(pending);
        None
    }

    fn count_clean(&mut self, known: &Known, rules: &config::Monitor, now: Wall) {
        if known.is_listed() {
            (self.cleans, self.clean_at) = (0, None);
            return;
        }
        self.last_clean = Some(now);
        if self.clean_at.is_none_or(|at| now.since(at) >= spacing(rules)) {
            (self.cleans, self.clean_at) = (self.cleans.saturating_add(1), Some(now));
        }
    }

    /// The row of answers that this one belongs to.
    fn row(&mut self, known: Known, now: Wall) -> Pending {
        let is_end = self.is_listed() && !known.is_listed();
        match self.pending.take() {
            Some(pending) if pending.what.is_of_kind(&known) => Pending { what: known, ..pending },
            // With a good word or without one, it is the end of a listing.
            Some(pending) if is_end && !pending.what.is_listed() => Pending { what: Known::Clean, ..pending },
            _ => Pending { what: known, count: 0, needed: 0, agreed: false, silent: 0, first: now, last: now },
        }
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

    /// The list's codes mean something else now.
    pub(super) fn reread(&mut self, zone: &config::Zone) {
        let was_listed = self.is_listed();
        self.confirmed = self.confirmed.take().and_then(|known| known.reread(zone));
        let row = self.pending.take().and_then(|row| Some(Pending { what: row.what.clone().reread(zone)?, ..row }));
        self.pending = row.filter(|row| self.confirmed.as_ref() != Some(&row.what));
        if was_listed && !self.is_listed() {
            (self.seen, self.confirmed_at, self.text, self.disputed) = (None, None, None, false);
        }
    }

    /// The list is doubted, but says what it had said before the doubt.
    pub(super) fn stands(&mut self, answer: &AnswerClass, now: Wall) {
        if self.is_listed() && matches!(answer, AnswerClass::Listed { .. }) {
            self.fresh = Some(now);
        }
    }

    /// Forgets what nobody has said for long.
    pub(super) fn drop_stale(&mut self, now: Wall) {
        let stale = self.fresh.max(self.last_conclusive).is_some_and(|at| now.since(at) >= STALE_AFTER);
        if stale {
            self.forget();
        }
    }

    /// Forgets everything that the list said but when; what receivers said of it stays.
    pub(super) fn forget(&mut self) {
        let (last_conclusive, last_clean, named) = (self.last_conclusive, self.last_clean, self.named);
        *self = Self { last_conclusive, last_clean, named, ..Self::default() };
    }
}
