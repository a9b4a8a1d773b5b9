//! Complaints and late bounces against what was accepted, by day of sending.
//!
//! A complaint is about mail sent hours or days ago, so it is set against the mail of *that* day: a rate of today's
//! complaints over today's mail would flatter whoever sends more today than yesterday, and slander whoever stops. For
//! each binding × destination × tenant a *cohort* per UTC day counts accepted recipients, complaints about them, and
//! bounces that came back for them. Destinations that are no configured provider share one place (`None`, shown as
//! `other`), so that there are never more cells than bindings × (providers + 1) × tenants. Kept for [`KEPT_DAYS`].
//!
//! Cohorts are written down when a complaint or bounce is booked, at a clean stop, and else once in
//! [`WRITE_EVERY`] where mail was accepted. After a crash the count of accepted mail may therefore be short by what the
//! last minute brought (plus the loop's longest sleep), and a share too high by as much; complaints are never lost.
//!
//! Pure. Shares are shown and noted; nothing is suspended for them here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::{self, Fact};
use crate::clock::Wall;
use crate::message::{BindingName, DestinationName, TenantName};

/// Days a cohort is kept.
pub const KEPT_DAYS: i64 = 31;

/// Days that make up the share an operator is told about.
pub const SHARE_DAYS: u32 = 7;

/// How often a cohort is written down while mail is accepted.
pub const WRITE_EVERY: Duration = Duration::from_secs(60);

/// Complaints below which no share is worth a note.
const NOTED_MIN: u64 = 3;

/// Shares above which one is, in complaints per hundred thousand: 0.1 % (mailbox providers ask senders to stay below)
/// and 0.3 % (where they start to refuse).
const NOTED_ABOVE: [u64; 2] = [100, 300];

const DAY_MILLIS: i64 = 86_400_000;

/// Recipients of one day, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cohort {
    /// Accepted.
    pub accepted: u64,
    /// Complaints about those.
    pub complaints: u64,
    /// Bounces that came back by mail for those.
    pub late_bounces: u64,
}

impl Cohort {
    fn add(&mut self, other: Self) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.complaints = self.complaints.saturating_add(other.complaints);
        self.late_bounces = self.late_bounces.saturating_add(other.late_bounces);
    }

    /// How many of the limits of [`NOTED_ABOVE`] the share exceeds.
    fn level(self) -> usize {
        if self.complaints < NOTED_MIN {
            return 0;
        }
        let exceeds =
            |limit: u64| u128::from(self.complaints) * 100_000 > u128::from(limit) * u128::from(self.accepted);
        NOTED_ABOVE.into_iter().filter(|&limit| exceeds(limit)).count()
    }
}

/// Whose mail, from where, to where; `None` for all that is no configured provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Key {
    binding: BindingName,
    provider: Option<DestinationName>,
    tenant: TenantName,
}

#[derive(Serialize, Deserialize)]
struct Written {
    key: Key,
    /// Day number since 1970-01-01 (UTC) → cohort.
    days: BTreeMap<i64, Cohort>,
}

/// What to book.
#[derive(Clone, Copy, Debug)]
pub(super) enum Booked {
    Accepted,
    Complaints(u32),
    LateBounce,
}

/// All cohorts.
#[derive(Debug)]
pub struct Complaints {
    cells: HashMap<Key, BTreeMap<i64, Cohort>>,
    /// Changed since written.
    changed: BTreeSet<Key>,
    /// To be written now.
    due: BTreeSet<Key>,
    next_write: Wall,
    today: i64,
    /// Day and level of the last note.
    noted: HashMap<(BindingName, Option<DestinationName>), (i64, usize)>,
}

impl Complaints {
    pub(super) fn new(now: Wall) -> Self {
        Self {
            cells: HashMap::new(),
            changed: BTreeSet::new(),
            due: BTreeSet::new(),
            next_write: now.plus(WRITE_EVERY),
            today: day(now),
            noted: HashMap::new(),
        }
    }

    /// Books for the day of `at`. What was sent before the kept days is not booked any more.
    pub(super) fn book(
        &mut self,
        binding: &BindingName,
        provider: Option<&DestinationName>,
        tenant: &TenantName,
        what: Booked,
        at: Wall,
        now: Wall,
    ) {
        // A day that has not begun is a clock that was set back: it counts for today.
        let day = day(at).min(day(now));
        if day <= self::day(now) - KEPT_DAYS {
            return;
        }
        let key = Key { binding: binding.clone(), provider: provider.cloned(), tenant: tenant.clone() };
        let one = match what {
            Booked::Accepted => Cohort { accepted: 1, ..Cohort::default() },
            Booked::Complaints(count) => Cohort { complaints: u64::from(count.max(1)), ..Cohort::default() },
            Booked::LateBounce => Cohort { late_bounces: 1, ..Cohort::default() },
        };
        match self.cells.get_mut(&key) {
            Some(days) => days.entry(day).or_default().add(one),
            None => drop(self.cells.insert(key.clone(), BTreeMap::from([(day, one)]))),
        }
        let set = if matches!(what, Booked::Accepted) { &mut self.changed } else { &mut self.due };
        if !set.contains(&key) {
            set.insert(key);
        }
    }

    /// Sum over the tenants and the last `days` days, today included; UTC days of sending.
    pub fn share(&self, binding: &BindingName, provider: Option<&DestinationName>, days: u32, now: Wall) -> Cohort {
        let mut sum = Cohort::default();
        for (key, cells) in &self.cells {
            if key.binding == *binding && key.provider.as_ref() == provider {
                sum.add(over(cells, days, now));
            }
        }
        sum
    }

    /// [`Complaints::share`] of everything that has any, by binding and destination (`None`: other).
    pub fn shares(&self, days: u32, now: Wall) -> BTreeMap<(BindingName, Option<DestinationName>), Cohort> {
        let mut all: BTreeMap<_, Cohort> = BTreeMap::new();
        for (key, cells) in &self.cells {
            let sum = over(cells, days, now);
            if sum != Cohort::default() {
                all.entry((key.binding.clone(), key.provider.clone())).or_default().add(sum);
            }
        }
        all
    }

    /// The share of the last [`SHARE_DAYS`], where it has just passed a limit that the operator was not told of today.
    pub(super) fn worth_a_note(
        &mut self,
        binding: &BindingName,
        provider: Option<&DestinationName>,
        now: Wall,
    ) -> Option<Cohort> {
        let share = self.share(binding, provider, SHARE_DAYS, now);
        let (level, today) = (share.level(), day(now));
        let noted = self.noted.entry((binding.clone(), provider.cloned())).or_insert((today, 0));
        if noted.0 != today {
            *noted = (today, 0);
        }
        let is_news = level > noted.1;
        noted.1 = noted.1.max(level);
        is_news.then_some(share)
    }

    /// Lets time pass: what was accepted falls due for writing, old days go.
    pub(super) fn tick(&mut self, now: Wall) {
        if now >= self.next_write {
            self.next_write = now.plus(WRITE_EVERY);
            self.flush();
        }
        if day(now) > self.today {
            self.today = day(now);
            self.forget_old();
        }
    }

    /// Everything that has changed falls due for writing.
    pub(super) fn flush(&mut self) {
        self.due.append(&mut self.changed);
    }

    fn forget_old(&mut self) {
        let oldest = self.today - KEPT_DAYS + 1;
        let due = &mut self.due;
        self.cells.retain(|key, days| {
            if days.first_key_value().is_some_and(|(first, _)| *first < oldest) {
                *days = days.split_off(&oldest);
                due.insert(key.clone());
            }
            !days.is_empty()
        });
        let today = self.today;
        self.noted.retain(|_, (day, _)| *day == today);
    }

    pub(super) fn take_facts(&mut self) -> impl Iterator<Item = Fact> {
        std::mem::take(&mut self.due).into_iter().map(|key| {
            self.changed.remove(&key);
            let name = fact_key(&key);
            let days = self.cells.get(&key).cloned();
            // Names and numbers always serialise.
            let json = days.and_then(|days| serde_json::to_vec(&Written { key, days }).ok());
            json.map_or(Fact::Remove(name.clone()), |json| Fact::Put(name, json))
        })
    }

    /// Takes back a cell, without the days that are too old by now.
    pub(super) fn restore(&mut self, bytes: &[u8]) -> Result<(), serde_json::Error> {
        let Written { key, mut days } = serde_json::from_slice(bytes)?;
        let kept = days.split_off(&(self.today - KEPT_DAYS + 1));
        if !days.is_empty() {
            self.due.insert(key.clone());
        }
        if !kept.is_empty() {
            self.cells.insert(key, kept);
        }
        Ok(())
    }
}

fn day(at: Wall) -> i64 {
    at.as_millis().div_euclid(DAY_MILLIS)
}

fn over(cells: &BTreeMap<i64, Cohort>, days: u32, now: Wall) -> Cohort {
    let mut sum = Cohort::default();
    let last = day(now);
    let first = last - i64::from(days.max(1)) + 1;
    cells.range(first..=last).for_each(|(_, cohort)| sum.add(*cohort));
    sum
}

/// Key of a cell's fact. Names hold no spaces.
fn fact_key(key: &Key) -> String {
    let provider = key.provider.as_ref().map_or("*", DestinationName::as_str);
    format!("{}{} {provider} {}", facts::COMPLAINTS_PREFIX, key.binding, key.tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Wall = Wall::from_millis(20_000 * DAY_MILLIS + DAY_MILLIS / 2);

    fn days(n: i64) -> Duration {
        Duration::from_millis((n * DAY_MILLIS) as u64)
    }

    fn book(c: &mut Complaints, provider: Option<&str>, tenant: &str, what: Booked, at: Wall, now: Wall) {
        let provider = provider.map(DestinationName::new);
        c.book(&"a".into(), provider.as_ref(), &tenant.into(), what, at, now);
    }

    fn gmail(c: &Complaints, over: u32, now: Wall) -> (u64, u64, u64) {
        let sum = c.share(&"a".into(), Some(&"gmail".into()), over, now);
        (sum.accepted, sum.complaints, sum.late_bounces)
    }

    #[test]
    fn complaints_belong_to_the_day_of_sending() {
        let mut c = Complaints::new(NOON);
        for _ in 0..10 {
            book(&mut c, Some("gmail"), "t", Booked::Accepted, NOON, NOON);
        }
        let later = NOON.plus(days(3));
        book(&mut c, Some("gmail"), "u", Booked::Accepted, later, later);
        book(&mut c, Some("gmail"), "t", Booked::Complaints(2), NOON, later);
        book(&mut c, Some("gmail"), "t", Booked::LateBounce, NOON, later);
        book(&mut c, None, "t", Booked::Complaints(5), NOON, later);
        assert_eq!(gmail(&c, 3, later), (1, 0, 0), "today and the two days before");
        assert_eq!(gmail(&c, 4, later), (11, 2, 1));
        assert_eq!(gmail(&c, 7, NOON), (10, 2, 1), "what was sent after the window does not count in it");
        let all = c.shares(SHARE_DAYS, later);
        assert_eq!(all.values().map(|sum| sum.complaints).collect::<Vec<_>>(), [5, 2], "others, gmail");
    }

    #[test]
    fn days_are_kept_for_a_month_and_then_forgotten_on_disk_too() {
        let mut c = Complaints::new(NOON);
        book(&mut c, Some("gmail"), "t", Booked::Complaints(1), NOON, NOON);
        assert_eq!(c.take_facts().count(), 1);
        let last = NOON.plus(days(KEPT_DAYS - 1));
        c.tick(last);
        book(&mut c, Some("gmail"), "t", Booked::Complaints(1), NOON, last);
        assert_eq!(gmail(&c, 31, last), (0, 2, 0));
        let over = NOON.plus(days(KEPT_DAYS));
        c.tick(over);
        assert_eq!(c.take_facts().collect::<Vec<_>>(), [Fact::Remove("complaints/a gmail t".into())]);
        book(&mut c, Some("gmail"), "t", Booked::Complaints(1), NOON, over);
        assert!(c.cells.is_empty() && c.take_facts().next().is_none(), "too old to be booked");
    }

    #[test]
    fn accepted_mail_is_written_once_a_minute_and_complaints_at_once() {
        let mut c = Complaints::new(NOON);
        for second in 0..120 {
            let now = NOON.plus(Duration::from_secs(second));
            c.tick(now);
            book(&mut c, Some("gmail"), "t", Booked::Accepted, now, now);
            let written = c.take_facts().count();
            assert_eq!(written, usize::from(second == 60), "after {second} s");
        }
        book(&mut c, Some("gmail"), "t", Booked::Complaints(1), NOON, NOON);
        let facts: Vec<Fact> = c.take_facts().collect();
        let [Fact::Put(_, json)] = &facts[..] else { panic!("{facts:?}") };
        let mut copy = Complaints::new(NOON);
        copy.restore(json).unwrap();
        assert_eq!(gmail(&copy, 1, NOON), (120, 1, 0));
        c.flush();
        assert_eq!(c.take_facts().count(), 0, "nothing has changed since");

        let mut late = Complaints::new(NOON.plus(days(40)));
        late.restore(json).unwrap();
        assert!(late.cells.is_empty());
        assert_eq!(late.take_facts().collect::<Vec<_>>(), [Fact::Remove("complaints/a gmail t".into())]);
        assert!(late.restore(b"[]").is_err());
    }
}
