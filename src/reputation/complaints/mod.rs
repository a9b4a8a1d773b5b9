//! Complaints and late bounces against what was accepted, by day of sending.
//!
//! A complaint is about mail sent hours or days ago, so it is set against the mail of *that* day: a rate of today's
//! complaints over today's mail would flatter whoever sends more today than yesterday, and slander whoever stops. For
//! each binding × destination a *cohort* per UTC day counts accepted recipients, complaints about them, and bounces that
//! came back for them. Destinations that are no configured provider share one place (`None`, shown as `other`), so that
//! there are never more cells than bindings × (providers + 1), each of at most [`KEPT_DAYS`] cohorts. Whose mail is
//! complained about is told by the metric: cells per tenant would be rewritten and added up by the hundred thousand.
//!
//! A cohort goes when a newer day needs its place, and never because of the date: a clock that is wrong for a moment
//! costs no more than one day of a cell, and midnight writes nothing. Shares look at the days they are about, so cohorts
//! that are older show nowhere.
//!
//! Cells are written down, in a few hundred octets and some dozen for each tenant, when a complaint or bounce is booked,
//! at a clean stop, and else once in [`WRITE_EVERY`] where mail was accepted. After a crash the count of accepted mail may
//! therefore be short by what the last minute brought (plus the loop's longest sleep), and a share too high by as much;
//! complaints are never lost.
//!
//! Two accounts are kept of the same events, because they answer two questions. *What was said?* is the cohorts above: all
//! of it, shown and noted. *What is still to be judged?* is the [`Ledger`] of a provider's cell: without what a suspension
//! or a hold has settled, without what one minute of mail cannot prove, and with the tenants told apart. What follows from
//! it is decided in [`complained`](super::complained) by the odds of [`posterior`].
//!
//! Pure.

mod cohort;
mod judged;
pub(super) mod ledger;
pub(super) mod posterior;
#[cfg(test)]
mod simulated;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::cohort::Cell;
pub use self::cohort::Cohort;
pub(super) use self::judged::Heard;
use self::ledger::Ledger;
use super::facts::{self, Fact};
use super::state::is_ahead;
use crate::clock::Wall;
use crate::message::{BindingName, DestinationName, TenantName};

/// Days kept of a cell.
pub const KEPT_DAYS: usize = 31;

/// Days that make up the share an operator is told about.
pub const SHARE_DAYS: u32 = 7;

/// How often a cohort is written down while mail is accepted.
pub const WRITE_EVERY: Duration = Duration::from_secs(60);

const DAY_MILLIS: i64 = 86_400_000;

/// From where to where; `None` for all that is no configured provider.
type Key = (BindingName, Option<DestinationName>);

#[derive(Serialize, Deserialize)]
struct Written {
    binding: BindingName,
    provider: Option<DestinationName>,
    /// Day, accepted, complaints, late bounces.
    days: Vec<(i64, u64, u64, u64)>,
    /// Absent in what versions wrote that judged nothing.
    #[serde(default)]
    judged: Option<ledger::Written>,
}

/// What to book.
#[derive(Clone, Copy, Debug)]
pub(super) enum Booked {
    Complaints(u32),
    LateBounce,
}

/// All cohorts.
#[derive(Debug)]
pub struct Complaints {
    /// By destination, so that all bindings of a provider are walked together.
    cells: HashMap<Option<DestinationName>, HashMap<BindingName, Cell>>,
    /// To be written now.
    due: BTreeSet<Key>,
    next_write: Wall,
    /// The last tick: a clock that was set back shows.
    now: Wall,
    /// Something was taken back, whose moments may lie in the future.
    restored: bool,
}

impl Complaints {
    pub(super) fn new(now: Wall) -> Self {
        Self { cells: HashMap::new(), due: BTreeSet::new(), next_write: now.plus(WRITE_EVERY), now, restored: false }
    }

    fn cell(&self, binding: &BindingName, provider: Option<&DestinationName>) -> Option<&Cell> {
        // An `Option` of a reference is no key to borrow by; cloning a name costs one count.
        self.cells.get(&provider.cloned())?.get(binding)
    }

    fn cell_mut(&mut self, binding: &BindingName, provider: Option<&DestinationName>) -> &mut Cell {
        self.cells.entry(provider.cloned()).or_default().entry(binding.clone()).or_default()
    }

    /// Books for the day of `at`. What was sent before the kept days is not booked any more.
    pub(super) fn book(
        &mut self,
        binding: &BindingName,
        provider: Option<&DestinationName>,
        what: Booked,
        at: Wall,
        now: Wall,
    ) {
        let today = day(now);
        // A day that has not begun is a clock that was set back: it counts for today.
        let day = day(at).min(today);
        if today.abs_diff(day) >= KEPT_DAYS as u64 {
            return;
        }
        let one = match what {
            Booked::Complaints(count) => Cohort { complaints: u64::from(count.max(1)), ..Cohort::default() },
            Booked::LateBounce => Cohort { late_bounces: 1, ..Cohort::default() },
        };
        let cell = self.cell_mut(binding, provider);
        cell.book(day, one, today);
        self.due.insert((binding.clone(), provider.cloned()));
    }

    /// Books accepted mail. To be judged it is where `settled` says until when the mail of this route has been answered
    /// for; `None` where the route is out, and the answer one of mail that was on the wire.
    pub(super) fn accepted(
        &mut self,
        binding: &BindingName,
        provider: Option<&DestinationName>,
        tenant: &TenantName,
        settled: Option<Wall>,
        days: u32,
        now: Wall,
    ) {
        let today = day(now);
        let cell = self.cell_mut(binding, provider);
        cell.book(today, Cohort { accepted: 1, ..Cohort::default() }, today);
        cell.changed = true;
        if let (Some(_), Some(settled)) = (provider, settled) {
            cell.ledger.settle(settled);
            cell.ledger.accepted(tenant, kept(days), now);
        }
    }

    /// Sum over the last `days` days, today included; UTC days of sending.
    pub fn share(&self, binding: &BindingName, provider: Option<&DestinationName>, days: u32, now: Wall) -> Cohort {
        self.cell(binding, provider).map(|cell| cell.over(days, now)).unwrap_or_default()
    }

    /// [`Complaints::share`] of everything that has any, by binding and destination (`None`: other).
    pub fn shares(&self, days: u32, now: Wall) -> BTreeMap<(BindingName, Option<DestinationName>), Cohort> {
        let cells = self.cells.iter().flat_map(|(to, there)| there.iter().map(move |(from, cell)| (from, to, cell)));
        let sums = cells.map(|(from, to, cell)| (from, to, cell.over(days, now)));
        let any = sums.filter(|(_, _, sum)| *sum != Cohort::default());
        any.map(|(from, to, sum)| ((from.clone(), to.clone()), sum)).collect()
    }

    /// The share of the last [`SHARE_DAYS`], where it has just passed a limit that the operator was not told of today.
    pub(super) fn worth_a_note(
        &mut self,
        binding: &BindingName,
        provider: Option<&DestinationName>,
        now: Wall,
    ) -> Option<Cohort> {
        self.cells.get_mut(&provider.cloned())?.get_mut(binding)?.worth_a_note(now)
    }

    /// Forgets the cells of bindings that are not configured any more; also on disk.
    pub(super) fn retain(&mut self, is_known: impl Fn(&BindingName) -> bool) {
        for (to, there) in &mut self.cells {
            let gone = there.extract_if(|binding, _| !is_known(binding));
            self.due.extend(gone.map(|(binding, _)| (binding, to.clone())));
        }
    }

    /// Lets time pass: what was accepted falls due for writing.
    pub(super) fn tick(&mut self, now: Wall) {
        let is_set_back = is_ahead(std::mem::replace(&mut self.now, now), now);
        if std::mem::take(&mut self.restored) || is_set_back {
            self.cells.values_mut().flat_map(HashMap::values_mut).for_each(|cell| cell.ledger.set_back(now));
        }
        // A write further away than the interval is a clock that was set back.
        if now >= self.next_write || self.next_write.since(now) > WRITE_EVERY {
            self.next_write = now.plus(WRITE_EVERY);
            self.flush();
        }
    }

    /// Everything that has changed falls due for writing.
    pub(super) fn flush(&mut self) {
        for (to, there) in &self.cells {
            let changed = there.iter().filter(|(_, cell)| cell.changed);
            self.due.extend(changed.map(|(from, _)| (from.clone(), to.clone())));
        }
    }

    pub(super) fn take_facts(&mut self) -> impl Iterator<Item = Fact> {
        std::mem::take(&mut self.due).into_iter().map(|key| {
            let name = fact_key(&key);
            let cell = self.cells.get_mut(&key.1).and_then(|there| there.get_mut(&key.0));
            // Names and numbers always serialise.
            let json = cell.and_then(|cell| {
                cell.changed = false;
                serde_json::to_vec(&written(&key, cell)).ok()
            });
            json.map_or(Fact::Remove(name.clone()), |json| Fact::Put(name, json))
        })
    }

    /// Takes back a cell: its newest days, not more than are kept. Where it was written by a version that judged nothing,
    /// judging begins with the mail that is sent from now on.
    pub(super) fn restore(
        &mut self,
        bytes: &[u8],
        is_known: impl Fn(&BindingName) -> bool,
    ) -> Result<(), serde_json::Error> {
        let Written { binding, provider, days, judged } = serde_json::from_slice(bytes)?;
        if !is_known(&binding) {
            self.due.insert((binding, provider));
            return Ok(());
        }
        let (now, today) = (self.now, day(self.now));
        self.restored = true;
        let cell = self.cell_mut(&binding, provider.as_ref());
        for (day, accepted, complaints, late_bounces) in days {
            cell.book(day, Cohort { accepted, complaints, late_bounces }, today);
        }
        cell.ledger = match judged {
            Some(judged) => Ledger::restored(judged, today),
            None => Ledger::since(now),
        };
        Ok(())
    }
}

/// Days that are judged.
fn kept(days: u32) -> u32 {
    days.clamp(1, KEPT_DAYS as u32)
}

/// What is written of a cell.
fn written(key: &Key, cell: &Cell) -> Written {
    let days = cell.days.iter().map(|(day, sum)| (*day, sum.accepted, sum.complaints, sum.late_bounces)).collect();
    let judged = key.1.is_some().then(|| cell.ledger.written());
    Written { binding: key.0.clone(), provider: key.1.clone(), days, judged }
}

/// UTC day of a moment, since 1970-01-01.
fn day(at: Wall) -> i64 {
    at.as_millis().div_euclid(DAY_MILLIS)
}

/// Key of a cell's fact. Names hold no spaces.
fn fact_key((binding, provider): &Key) -> String {
    let provider = provider.as_ref().map_or("*", DestinationName::as_str);
    format!("{}{binding} {provider}", facts::COMPLAINTS_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Wall = Wall::from_millis(20_000 * DAY_MILLIS + DAY_MILLIS / 2);

    fn days(n: i64) -> Duration {
        Duration::from_millis((n * DAY_MILLIS) as u64)
    }

    fn book(c: &mut Complaints, provider: Option<&str>, what: Booked, at: Wall, now: Wall) {
        let provider = provider.map(DestinationName::new);
        c.book(&"a".into(), provider.as_ref(), what, at, now);
    }

    fn accept(c: &mut Complaints, now: Wall) {
        c.accepted(&"a".into(), Some(&"gmail".into()), &"t".into(), Some(Wall::default()), 7, now);
    }

    fn gmail(c: &Complaints, over: u32, now: Wall) -> (u64, u64, u64) {
        let sum = c.share(&"a".into(), Some(&"gmail".into()), over, now);
        (sum.accepted, sum.complaints, sum.late_bounces)
    }

    fn written(c: &mut Complaints) -> Vec<u8> {
        let facts: Vec<Fact> = c.take_facts().collect();
        let [Fact::Put(key, json)] = &facts[..] else { panic!("{facts:?}") };
        assert_eq!(key, "complaints/a gmail");
        json.clone()
    }

    #[test]
    fn complaints_belong_to_the_day_of_sending() {
        let mut c = Complaints::new(NOON);
        for _ in 0..10 {
            accept(&mut c, NOON);
        }
        let later = NOON.plus(days(3));
        accept(&mut c, later);
        book(&mut c, Some("gmail"), Booked::Complaints(2), NOON, later);
        book(&mut c, Some("gmail"), Booked::LateBounce, NOON, later);
        book(&mut c, None, Booked::Complaints(5), NOON, later);
        assert_eq!(gmail(&c, 3, later), (1, 0, 0), "today and the two days before");
        assert_eq!(gmail(&c, 4, later), (11, 2, 1));
        assert_eq!(gmail(&c, 7, NOON), (10, 2, 1), "what was sent after the window does not count in it");
        let all = c.shares(SHARE_DAYS, later);
        assert_eq!(all.values().map(|sum| sum.complaints).collect::<Vec<_>>(), [5, 2], "others, gmail");
    }

    #[test]
    fn a_cell_holds_a_month_of_days_and_a_day_that_ends_writes_nothing() {
        let mut c = Complaints::new(NOON);
        for n in 0..100 {
            let now = NOON.plus(days(n));
            c.tick(now);
            assert_eq!(c.take_facts().count(), 0, "day {n}");
            book(&mut c, Some("gmail"), Booked::Complaints(1), now, now);
            let json = written(&mut c);
            assert!(json.len() < 700, "{}", json.len());
        }
        let now = NOON.plus(days(99));
        assert_eq!(
            c.cells.values().flat_map(HashMap::values).map(|cell| cell.days.len()).collect::<Vec<_>>(),
            [KEPT_DAYS]
        );
        assert_eq!(gmail(&c, 1000, now), (0, 31, 0));
        book(&mut c, Some("gmail"), Booked::Complaints(1), Wall::from_millis(now.as_millis() - 31 * DAY_MILLIS), now);
        assert_eq!(gmail(&c, 1000, now), (0, 31, 0), "too old to be booked");
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_moment_costs_one_day_at_most_and_stops_no_writing() {
        let mut c = Complaints::new(NOON);
        for n in 0..KEPT_DAYS as i64 {
            accept(&mut c, NOON.plus(days(n)));
        }
        let now = NOON.plus(days(KEPT_DAYS as i64 - 1));
        let wrong = now.plus(days(365));
        c.tick(wrong);
        accept(&mut c, wrong);
        c.tick(now);
        assert_eq!(gmail(&c, 31, now), (30, 0, 0));
        written(&mut c);
        accept(&mut c, now);
        c.tick(now.plus(WRITE_EVERY));
        written(&mut c);
        accept(&mut c, now.plus(days(1)));
        assert_eq!(gmail(&c, 40, now.plus(days(400))), (0, 0, 0), "the day of the wrong clock goes before true ones");
    }

    #[test]
    fn accepted_mail_is_written_once_a_minute_and_complaints_at_once() {
        let mut c = Complaints::new(NOON);
        for second in 0..120 {
            let now = NOON.plus(Duration::from_secs(second));
            c.tick(now);
            accept(&mut c, now);
            let written = c.take_facts().count();
            assert_eq!(written, usize::from(second == 60), "after {second} s");
        }
        book(&mut c, Some("gmail"), Booked::Complaints(1), NOON, NOON);
        let json = written(&mut c);
        let mut copy = Complaints::new(NOON);
        copy.restore(&json, |_| true).unwrap();
        assert_eq!(gmail(&copy, 1, NOON), (120, 1, 0));
        c.flush();
        assert_eq!(c.take_facts().count(), 0, "nothing has changed since");
        assert!(copy.restore(b"[]", |_| true).is_err());
    }

    #[test]
    fn what_is_restored_is_no_more_than_is_kept_and_bindings_that_are_gone_are_forgotten() {
        let days: Vec<_> = (0..10_000).map(|day| (day, 1, 1, 1)).collect();
        let written = Written { binding: "a".into(), provider: Some("gmail".into()), days, judged: None };
        let json = serde_json::to_vec(&written).unwrap();
        let mut c = Complaints::new(NOON);
        c.restore(&json, |_| true).unwrap();
        assert_eq!(
            c.cells.values().flat_map(HashMap::values).map(|cell| cell.days.len()).collect::<Vec<_>>(),
            [KEPT_DAYS]
        );
        assert_eq!(c.take_facts().count(), 0);
        c.retain(|_| false);
        assert_eq!(c.take_facts().collect::<Vec<_>>(), [Fact::Remove("complaints/a gmail".into())]);
        c.restore(&json, |_| false).unwrap();
        assert_eq!(c.take_facts().collect::<Vec<_>>(), [Fact::Remove("complaints/a gmail".into())]);
        assert!(c.cells.values().all(HashMap::is_empty));
    }
}
