//! What is known of one domain's policy, and when to ask again.
//!
//! ```text
//!   mail for the domain ──▶ is_due? ──yes──▶ TXT ──▶ seen ──▶ fetch? ──yes──▶ HTTPS ──▶ fetched / unfetched
//!                              └── no ──▶ in_force
//! ```
//!
//! The record is looked at when mail goes to the domain and the last look is older than [`LOOK_EVERY`]; the policy is fetched
//! when the record has another id than it was fetched under, and once a day so that it never runs out (RFC 8461 §3.3,
//! §10.2). Whatever fails, a policy that was fetched holds until its max_age is over (§5.1): whoever can suppress an answer
//! could else suppress the policy. A fetch that failed is tried again after [`TRY_AGAIN`], and after twice as long each time it
//! fails for the same id, up to [`TRY_AGAIN_MAX`]: web hosts that are gone for good cost little.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Mode, StsPolicy, Unfetched};
use crate::clock::Wall;

/// Least time between two looks at a domain's record.
pub const LOOK_EVERY: Duration = Duration::from_secs(5 * 60);
/// Least time between two fetches after one failed (RFC 8461 §3.3).
pub const TRY_AGAIN: Duration = Duration::from_secs(5 * 60);
/// The same where they went on failing.
pub const TRY_AGAIN_MAX: Duration = Duration::from_secs(4 * 3600);
/// Age at which a policy is fetched anew although its id is the same.
pub const REFRESH_EVERY: Duration = Duration::from_secs(24 * 3600);
/// A policy that no mail has asked for in so long is not kept fresh.
pub const UNUSED_AFTER: Duration = Duration::from_secs(14 * 24 * 3600);

/// A policy as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The id of the record under which it was fetched.
    pub id: String,
    /// What it says.
    pub policy: StsPolicy,
    /// When it was fetched last.
    pub fetched: Wall,
}

impl Kept {
    /// Whether it holds.
    pub fn holds(&self, now: Wall) -> bool {
        // A clock that went back must not make it hold for ever.
        self.fetched <= now.plus(REFRESH_EVERY) && self.fetched.plus(self.policy.max_age) > now
    }
}

/// What is known of a domain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    kept: Option<Kept>,
    looked: Option<Wall>,
    failed: Option<Failed>,
    used: Option<Wall>,
}

/// Fetches that failed for one id.
#[derive(Clone, Debug, PartialEq)]
struct Failed {
    id: String,
    at: Wall,
    times: u32,
    why: Unfetched,
}

impl Failed {
    /// Whether it is too early for another fetch. Another id is another try.
    fn forbids(&self, id: &str, now: Wall) -> bool {
        let longer = if self.id == id { 1 << self.times.saturating_sub(1).min(16) } else { 1 };
        !is_over(self.at, TRY_AGAIN.saturating_mul(longer).min(TRY_AGAIN_MAX), now)
    }
}

impl Cell {
    /// With a policy of an earlier run.
    pub fn recalled(kept: Kept) -> Self {
        let used = Some(kept.fetched);
        Self { kept: Some(kept), used, ..Self::default() }
    }

    /// Whether the record is to be looked at before mail goes to the domain at `now`.
    pub fn is_due(&self, now: Wall) -> bool {
        self.looked.is_none_or(|looked| is_over(looked, LOOK_EVERY, now))
    }

    /// Whether it is to be kept fresh by itself: mail goes there, and the policy is a day old.
    pub fn is_stale(&self, now: Wall) -> bool {
        let is_used = self.used.is_some_and(|used| !is_over(used, UNUSED_AFTER, now));
        let is_old = self.kept.as_ref().is_some_and(|kept| is_over(kept.fetched, REFRESH_EVERY, now));
        is_used && is_old && self.is_due(now)
    }

    /// Mail goes to the domain.
    pub fn used(&mut self, now: Wall) {
        self.used = Some(now);
    }

    /// When mail went to the domain last; never where it did not.
    pub fn last_used(&self) -> Option<Wall> {
        self.used
    }

    /// The record was looked at: it names a policy by `id`, or there is none (which is also what an answer that did not come
    /// says). Whether the policy is to be fetched now.
    pub fn seen(&mut self, id: Option<&str>, now: Wall) -> bool {
        self.looked = Some(now);
        let Some(id) = id else {
            self.failed = None;
            return false;
        };
        if self.failed.as_ref().is_some_and(|failed| failed.forbids(id, now)) {
            return false;
        }
        self.kept
            .as_ref()
            .is_none_or(|kept| kept.id != id || !kept.holds(now) || is_over(kept.fetched, REFRESH_EVERY, now))
    }

    /// The policy was fetched. Whether something is new that a restart should know.
    pub fn fetched(&mut self, id: &str, policy: StsPolicy, now: Wall) -> bool {
        self.failed = None;
        self.kept = Some(Kept { id: id.to_owned(), policy, fetched: now });
        true
    }

    /// The policy could not be fetched under `id`.
    pub fn unfetched(&mut self, id: &str, why: Unfetched, now: Wall) {
        let before = self.failed.take().filter(|failed| failed.id == id);
        let times = before.map_or(1, |failed| failed.times.saturating_add(1));
        self.failed = Some(Failed { id: id.to_owned(), at: now, times, why });
    }

    /// The policy that holds; one of mode none holds as well, and demands nothing.
    pub fn in_force(&self, now: Wall) -> Option<&Kept> {
        self.kept.as_ref().filter(|kept| kept.holds(now))
    }

    /// Why the last fetch failed, where it did.
    pub fn failure(&self) -> Option<&Unfetched> {
        self.failed.as_ref().map(|failed| &failed.why)
    }

    /// Whether nothing is lost where the cell is forgotten: there is no policy, or it is over or says nothing.
    pub fn is_empty(&self, now: Wall) -> bool {
        self.in_force(now).is_none_or(|kept| kept.policy.mode == Mode::None)
    }
}

/// Whether `span` has gone by since `at`; also where the clock went back behind it.
fn is_over(at: Wall, span: Duration, now: Wall) -> bool {
    now < at || now.since(at) >= span
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::tls::demand::TlsResult;

    const START: Wall = Wall::from_millis(1_800_000_000_000);

    fn policy(days: u64) -> StsPolicy {
        let text = format!("version: STSv1\nmode: enforce\nmx: mx.example.org\nmax_age: {}\n", days * 86_400);
        StsPolicy::parse(text.as_bytes()).unwrap()
    }

    fn why() -> Unfetched {
        Unfetched { result: TlsResult::StsPolicyFetchError, detail: "404".to_owned() }
    }

    fn hours(count: u64) -> Wall {
        START.plus(Duration::from_secs(count * 3600))
    }

    #[test]
    fn a_new_id_is_fetched_and_the_same_one_only_once_a_day() {
        let mut cell = Cell::default();
        assert!(cell.is_due(START));
        assert!(cell.seen(Some("1"), START));
        cell.fetched("1", policy(30), START);
        assert!(!cell.is_due(START.plus(LOOK_EVERY / 2)));
        assert!(cell.is_due(START.plus(LOOK_EVERY)));
        assert!(!cell.seen(Some("1"), hours(1)));
        assert!(cell.seen(Some("2"), hours(2)));
        assert!(cell.seen(Some("1"), hours(24)));
        assert_eq!(cell.in_force(hours(24)).unwrap().id, "1");
    }

    #[test]
    fn a_policy_holds_until_its_end_whatever_fails() {
        let mut cell = Cell::default();
        cell.seen(Some("1"), START);
        cell.fetched("1", policy(3), START);
        for hour in (24..72).step_by(6) {
            let now = hours(hour);
            assert!(cell.seen(Some("2"), now), "tried again");
            cell.unfetched("2", why(), now);
            assert!(cell.in_force(now).is_some(), "after {hour} hours");
        }
        assert!(!cell.seen(None, hours(71)), "an absent record takes nothing back");
        assert!(cell.in_force(hours(71)).is_some());
        assert!(cell.in_force(hours(72)).is_none());
        assert!(cell.is_empty(hours(72)));
        assert!(cell.seen(Some("1"), hours(73)), "what is over is fetched again");
    }

    #[test]
    fn a_failed_fetch_is_not_tried_with_every_mail() {
        let mut cell = Cell::default();
        assert!(cell.seen(Some("1"), START));
        cell.unfetched("1", why(), START);
        assert_eq!(cell.failure(), Some(&why()));
        assert!(!cell.seen(Some("1"), START.plus(TRY_AGAIN / 2)));
        assert!(cell.seen(Some("1"), START.plus(TRY_AGAIN)));
        cell.fetched("1", policy(1), START.plus(TRY_AGAIN));
        assert_eq!(cell.failure(), None);
    }

    #[test]
    fn a_web_host_that_goes_on_failing_is_asked_ever_less_often() {
        let (mut cell, mut now) = (Cell::default(), START);
        for minutes in [5, 10, 20, 40, 80, 160, 240, 240] {
            assert!(cell.seen(Some("1"), now));
            cell.unfetched("1", why(), now);
            let pause = Duration::from_secs(minutes * 60);
            assert!(!cell.seen(Some("1"), now.plus(pause - Duration::from_secs(1))), "{minutes}");
            now = now.plus(pause);
        }
        assert!(cell.seen(Some("1"), now));
        cell.unfetched("1", why(), now);
        assert!(!cell.seen(Some("2"), now.plus(TRY_AGAIN / 2)));
        assert!(cell.seen(Some("2"), now.plus(TRY_AGAIN)), "another policy is another try");
    }

    #[test]
    fn only_what_mail_goes_to_is_kept_fresh() {
        let mut cell = Cell::recalled(Kept { id: "1".to_owned(), policy: policy(60), fetched: START });
        assert!(!cell.is_stale(hours(23)));
        assert!(cell.is_stale(hours(25)));
        assert!(!cell.is_stale(hours(24 * 20)));
        cell.used(hours(24 * 19));
        assert!(cell.is_stale(hours(24 * 20)));
        cell.seen(Some("1"), hours(24 * 20));
        assert!(!cell.is_stale(hours(24 * 20)), "just looked at");
    }

    #[test]
    fn a_clock_that_goes_back_keeps_nothing_alive_for_ever() {
        let kept = Kept { id: "1".to_owned(), policy: policy(3), fetched: hours(1_000) };
        assert!(!kept.holds(START));
        let mut cell = Cell::default();
        cell.seen(None, hours(1_000));
        assert!(cell.is_due(START));
    }
}
