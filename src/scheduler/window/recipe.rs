//! What a receiver wants when it says "slower": no connection for a while, then one, then one more at a time.
//!
//! Google publishes the recipe for its `421 4.7.28`: stop for at least ten minutes, then try with one connection; if that
//! fails wait another ten minutes, if it holds add connections one at a time. It fits whoever limits a sender by rate or
//! volume, with other figures; so it is data ([`config::BackOff`]): `window.back_off` for everybody, `back_off` of a
//! provider, and a rule that knows better (`retry_after` beside its `back_off`, as the shipped rule for 4.7.28 does)
//! lengthens the pause. Of several wishes at the same time the longest holds.
//!
//! Steps up are those of [`super::Adaptive`] with `add_every` between them: each needs accepted mail, and the back-off is
//! over when the ceiling is reached. A wish that arrives in answer to an attempt from before the pause is an echo of the
//! same event; one in answer to a later attempt begins the recipe anew.
//!
//! The pause runs on the monotonic clock: setting the wall clock neither ends nor prolongs it. It is not written down.
//! What is on disk is reputation's throttle of the route, for the span of the rule (always longer than the pause). After
//! a restart nobody knows how much of the pause had passed, so it begins again, as long as the recipe says and
//! at least as long as the longest that is published ([`config::BackOff::GMAIL`]), but never past the throttle's end.

use std::time::Duration;

use crate::clock::Mono;
use crate::config;

/// A back-off under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    recipe: config::BackOff,
    asked: Mono,
    until: Mono,
}

impl BackOff {
    /// Begins at `now` with a pause as long as the recipe says, or `stop` where that is longer.
    pub fn new(recipe: config::BackOff, stop: Duration, now: Mono) -> Self {
        Self { recipe, asked: now, until: after(now, recipe.pause.max(stop)) }
    }

    /// Begins again after a restart, when reputation says that the receiver wants less for another `rest`.
    pub fn resumed(recipe: config::BackOff, rest: Duration, now: Mono) -> Self {
        let pause = recipe.pause.max(config::BackOff::GMAIL.pause).min(rest);
        Self { recipe, asked: now, until: after(now, pause) }
    }

    /// The receiver asked again, in answer to an attempt of `began`. Returns whether that is news, and the recipe begins
    /// anew.
    pub fn asked_again(&mut self, stop: Duration, began: Mono, now: Mono) -> bool {
        if began < self.until {
            self.until = self.until.max(after(self.asked, self.recipe.pause.max(stop)));
            return false;
        }
        *self = Self::new(self.recipe, stop, now);
        true
    }

    /// End of the pause; `None` when it is over.
    pub fn paused_until(&self, now: Mono) -> Option<Mono> {
        (now < self.until).then_some(self.until)
    }

    /// End of the pause, also where it is over.
    pub fn until(&self) -> Mono {
        self.until
    }

    /// Time between two connections more.
    pub fn add_every(&self) -> Duration {
        self.recipe.add_every
    }
}

fn after(at: Mono, span: Duration) -> Mono {
    Mono::from_nanos(at.as_nanos().saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
}
