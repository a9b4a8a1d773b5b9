//! How fast mail stops once a binding is listed.
//!
//! Counted from two moments that the monitor tells with a listing: the first answer that showed it, and the last answer
//! before it that did not (the binding was listed at some time between the two, so this is the outer bound). Counted to the
//! end of the last attempt that the binding carried: those on the wire when the suspension takes hold count until they
//! end.
//!
//! Measured is a move of the binding to suspended for the reason `listed`, at the moment that the monitor tells the listing.
//! One that only throttles, one whose suspension is withheld (a pool's last binding), and one of a binding that is out
//! already stop nothing and are not measured, nor is a binding that carried nothing after the first answer: there was
//! nothing to stop. What happens to a suspended binding while its last attempts end changes nothing, unless it carries mail
//! again. A restart between the listing and the last attempt drops the measurement.

use std::collections::HashMap;
use std::time::Duration;

use super::Core;
use crate::clock::{Now, Wall};
use crate::message::BindingName;
use crate::reputation::{Evidence, Health, HealthChange, Reason, Subject};
use crate::scheduler::BindingId;

/// One measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// Which binding.
    pub binding: BindingName,
    /// From the first answer that showed the listing to the end of the last attempt.
    pub from_first_answer: Duration,
    /// From the last answer that did not; `None` where there was none.
    pub from_last_clean: Option<Duration>,
}

/// What the monitor said of a binding's newest listing.
#[derive(Clone, Copy, Debug)]
struct Seen {
    first: Wall,
    clean: Option<Wall>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    seen: Option<Seen>,
    /// Suspended for it, and attempts are on the wire.
    is_ending: bool,
    last_end: Option<Wall>,
}

/// Measurements under way and done.
#[derive(Debug, Default)]
pub(super) struct Reactions {
    bindings: HashMap<BindingId, Watched>,
    done: Vec<Reaction>,
}

impl Core {
    /// Measurements since the last call.
    pub fn take_reactions(&mut self) -> Vec<Reaction> {
        std::mem::take(&mut self.reactions.done)
    }

    /// The monitor tells when a listing was seen.
    pub(super) fn note_listing(&mut self, evidence: &Evidence) {
        let Evidence::Listings { binding, listed, first_seen, last_clean } = evidence else { return };
        let Some(id) = self.scheduler.binding_id(binding) else { return };
        if self.reactions.bindings.get(&id).is_some_and(|watched| watched.is_ending) {
            return;
        }
        let seen = first_seen.filter(|_| !listed.is_empty()).map(|first| Seen { first, clean: *last_clean });
        self.reactions.bindings.entry(id).or_default().seen = seen;
    }

    /// What the monitor told has been judged: where it stopped nothing, it explains nothing that comes later.
    pub(super) fn forget_listing(&mut self, evidence: &Evidence) {
        let Evidence::Listings { binding, .. } = evidence else { return };
        let Some(id) = self.scheduler.binding_id(binding) else { return };
        if let Some(watched) = self.reactions.bindings.get_mut(&id).filter(|watched| !watched.is_ending) {
            watched.seen = None;
        }
    }

    /// Healths have moved: whether one of them is what a listing brings about.
    pub(super) fn note_suspensions(&mut self, changes: &[HealthChange]) {
        for change in changes {
            let Subject::Binding(name) = &change.subject else { continue };
            let Some(id) = self.scheduler.binding_id(name) else { continue };
            let is_listed = matches!(change.to, Health::Suspended { reason: Reason::Listed, .. });
            let [was_out, is_out] = [&change.from, &change.to].map(|health| matches!(health, Health::Suspended { .. }));
            let watched = self.reactions.bindings.entry(id).or_default();
            if !is_out {
                (watched.is_ending, watched.seen) = (false, None);
            } else if is_listed && !was_out && watched.seen.is_some() {
                watched.is_ending = true;
            }
            self.measure(id);
        }
    }

    /// The replies of an attempt are known.
    pub(super) fn note_end(&mut self, binding: BindingId, now: Now) {
        self.reactions.bindings.entry(binding).or_default().last_end = Some(now.wall);
    }

    /// Measures where the last attempt has ended.
    pub(super) fn measure(&mut self, id: BindingId) {
        let Some(watched) = self.reactions.bindings.get_mut(&id).filter(|watched| watched.is_ending) else { return };
        if self.scheduler.attempts_of(id) > 0 {
            return;
        }
        watched.is_ending = false;
        let Some(seen) = watched.seen.take() else { return };
        let Some(end) = watched.last_end.filter(|end| *end > seen.first) else { return };
        self.reactions.done.push(Reaction {
            binding: self.scheduler.binding_name(id).clone(),
            from_first_answer: end.since(seen.first),
            from_last_clean: seen.clean.map(|clean| end.since(clean)),
        });
    }
}
