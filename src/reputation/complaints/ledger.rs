//! What of a route's complaints is still to be judged, and whose mail they are about.
//!
//! For each day of sending it counts accepted recipients and believed complaints: of all, and of each tenant as far as
//! [`TENANTS_MAX`] go. Who comes later counts among the others; one that is complained about gets the place of whoever has
//! sent least and has no complaint, and is told apart from then on. Suspects are thus always known, and what is not told
//! apart only makes the rest look a little worse than it is.
//!
//! What was sent before a suspension, or before a hold of its tenant, has been answered for and is taken out: complaints
//! about it, which still come for days, say nothing new ([`Ledger::settle`], [`Ledger::settle_tenant`]).
//!
//! **One minute of a tenant's mail** is believed to the extent of [`MINUTE_MAX`] complaints or, where that is more, of half
//! of `complaint_throttle` of what the tenant had accepted here on that day. A report proves that we sent the message, and
//! nothing else; `feedback` believes as many of them as the message had recipients, and a message can have 255. So one
//! message, one recipient with a thousand reports, one report with `Incidents: 4000000000` cannot take a route over a limit
//! by itself; a list that is really bad is complained about all day long.
//!
//! Memory of a route: at most [`TENANTS_MAX`] tenants × `complaint_days` days × 16 octets, and [`MINUTES_MAX`] minutes in
//! which mail was sent that was complained about; with seven days and all places taken some 5 KB. Minutes are not written
//! down: after a restart a minute is believed once more.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{KEPT_DAYS, day};
use crate::clock::Wall;
use crate::config;
use crate::message::TenantName;

/// Tenants told apart on a route.
pub(crate) const TENANTS_MAX: usize = 32;

/// Complaints that are believed of one tenant's mail of one minute, at least. With the default prior five alone exceed no
/// limit.
pub(crate) const MINUTE_MAX: u32 = 5;

/// Minutes remembered for that bound.
pub(crate) const MINUTES_MAX: usize = 1_024;

const MINUTES_A_DAY: i64 = 1_440;

/// Accepted recipients and the complaints about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) accepted: u64,
    pub(crate) complaints: u64,
}

impl Counted {
    pub(crate) fn add(&mut self, other: Self) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.complaints = self.complaints.saturating_add(other.complaints);
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self {
            accepted: self.accepted.saturating_sub(other.accepted),
            complaints: self.complaints.saturating_sub(other.complaints),
        }
    }

    /// Complaints, but never more than there are recipients.
    pub(crate) fn believed(self) -> u64 {
        self.complaints.min(self.accepted)
    }
}

/// Day, accepted, complaints; in order of days.
#[derive(Clone, Debug, Default)]
struct Days(Vec<(i64, u32, u32)>);

impl Days {
    /// True where the day is a new one.
    fn add(&mut self, day: i64, accepted: u32, complaints: u32, kept: u32, today: i64) -> bool {
        let found = match self.0.last() {
            Some((last, ..)) if *last == day => Ok(self.0.len() - 1),
            _ => self.0.binary_search_by_key(&day, |(day, ..)| *day),
        };
        match found {
            Ok(place) => {
                let (_, n, c) = &mut self.0[place];
                (*n, *c) = (n.saturating_add(accepted), c.saturating_add(complaints));
            }
            Err(place) => self.0.insert(place, (day, accepted, complaints)),
        }
        // One that a wrong clock made goes before the true ones.
        while self.0.len() > kept as usize {
            let furthest = (0..self.0.len()).max_by_key(|&place| self.0[place].0.abs_diff(today));
            self.0.remove(furthest.unwrap_or(0));
        }
        found.is_err()
    }

    fn sum(&self, first: i64, last: i64) -> Counted {
        let within = self.0.iter().filter(|(day, ..)| (first..=last).contains(day));
        within.fold(Counted::default(), |mut sum, (_, accepted, complaints)| {
            sum.add(Counted { accepted: u64::from(*accepted), complaints: u64::from(*complaints) });
            sum
        })
    }

    fn take_out(&mut self, part: &Self) {
        for (day, accepted, complaints) in &part.0 {
            if let Some((_, n, c)) = self.0.iter_mut().find(|(own, ..)| own == day) {
                (*n, *c) = (n.saturating_sub(*accepted), c.saturating_sub(*complaints));
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Tenant {
    days: Days,
    /// What it sent before has been answered for.
    settled: Wall,
    /// What it sent before counts among the others.
    known: Wall,
    /// Times that its mail was held for complaints, since they were last forgiven.
    strikes: u32,
}

/// What is to be judged of a route.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// What was sent before has been answered for.
    settled: Wall,
    days: Days,
    tenants: HashMap<TenantName, Tenant>,
    /// Somebody found no place, or lost it: not everything of one that comes now is known.
    crowded: bool,
    /// Complaints believed, by minute of sending.
    minutes: BTreeMap<i64, Vec<(TenantName, u32)>>,
}

/// On disk: moments in milliseconds since 1970.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Written {
    #[serde(default, skip_serializing_if = "is_never")]
    settled: Wall,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    crowded: bool,
    #[serde(default)]
    days: Vec<(i64, u32, u32)>,
    #[serde(default)]
    tenants: Vec<WrittenTenant>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenTenant {
    name: TenantName,
    #[serde(default, skip_serializing_if = "is_never")]
    settled: Wall,
    #[serde(default, skip_serializing_if = "is_never")]
    known: Wall,
    #[serde(default, skip_serializing_if = "is_none")]
    strikes: u32,
    days: Vec<(i64, u32, u32)>,
}

fn is_never(at: &Wall) -> bool {
    *at == Wall::default()
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

impl Ledger {
    /// Empty: mail is judged that is sent after `now`.
    pub(crate) fn since(now: Wall) -> Self {
        Self { settled: now, ..Self::default() }
    }

    pub(crate) fn accepted(&mut self, tenant: &TenantName, kept: u32, now: Wall) {
        let today = day(now);
        if self.days.add(today, 1, 0, kept, today) {
            self.forget(kept, today);
        }
        if let Some(own) = self.tenants.get_mut(tenant) {
            own.days.add(today, 1, 0, kept, today);
        } else if self.tenants.len() < TENANTS_MAX {
            self.place(tenant, now).days.add(today, 1, 0, kept, today);
        } else {
            self.crowded = true;
        }
    }

    /// Counts complaints about mail sent `at`, as far as they are believed and not settled. False where nothing is left.
    pub(crate) fn complained(
        &mut self,
        tenant: &TenantName,
        at: Wall,
        incidents: u32,
        rules: &config::Reputation,
        now: Wall,
    ) -> bool {
        let (kept, today) = (super::kept(rules.complaint_days), day(now));
        // A day that has not begun is a clock that was set back: it counts for today.
        let sent = day(at).min(today);
        let settled = self.tenants.get(tenant).map_or(self.settled, |own| own.settled.max(self.settled));
        if at < settled || today.abs_diff(sent) >= u64::from(kept) {
            return false;
        }
        self.minutes = self.minutes.split_off(&((today - i64::from(kept)) * MINUTES_A_DAY));
        let accepted = self.tenants.get(tenant).map_or(0, |own| own.days.sum(sent, sent).accepted);
        let most = (accepted as f64 * rules.complaint_throttle / 2.0) as u32;
        let believed = self.believed(tenant, at, incidents.max(1), most.max(MINUTE_MAX));
        if believed == 0 {
            return false;
        }
        self.days.add(sent, 0, believed, kept, today);
        let own = self.place(tenant, now);
        if at >= own.known {
            own.days.add(sent, 0, believed, kept, today);
        }
        true
    }

    /// How many of so many complaints are news, where one minute is believed as far as `most`.
    fn believed(&mut self, tenant: &TenantName, at: Wall, incidents: u32, most: u32) -> u32 {
        let minute = at.as_millis().div_euclid(60_000);
        while self.minutes.len() >= MINUTES_MAX && !self.minutes.contains_key(&minute) {
            self.minutes.pop_first();
        }
        let told = self.minutes.entry(minute).or_default();
        let place = told.iter().position(|(other, _)| other == tenant).unwrap_or_else(|| {
            told.push((tenant.clone(), 0));
            told.len() - 1
        });
        let (_, so_far) = &mut told[place];
        let news = incidents.min(most.saturating_sub(*so_far));
        *so_far += news;
        news
    }

    /// The tenant's place; where there is none left, that of whoever was never held, is complained about least, and of those
    /// has sent least.
    fn place(&mut self, tenant: &TenantName, now: Wall) -> &mut Tenant {
        if !self.tenants.contains_key(tenant) {
            while self.tenants.len() >= TENANTS_MAX {
                let weight = |own: &Tenant| {
                    let Counted { accepted, complaints } = own.days.sum(i64::MIN, i64::MAX);
                    (own.settled, complaints, accepted)
                };
                let least = self.tenants.iter().min_by(|(a, x), (b, y)| weight(x).cmp(&weight(y)).then(a.cmp(b)));
                let Some(least) = least.map(|(name, _)| name.clone()) else { break };
                self.tenants.remove(&least);
                self.crowded = true;
            }
            let known = if self.crowded { now } else { Wall::default() };
            self.tenants.insert(tenant.clone(), Tenant { known, ..Tenant::default() });
        }
        self.tenants.entry(tenant.clone()).or_default()
    }

    /// Tenants that have sent nothing for so many days lose their place; those that were held, after [`KEPT_DAYS`].
    fn forget(&mut self, kept: u32, today: i64) {
        self.tenants.retain(|_, own| {
            let sent = own.days.0.last().is_some_and(|(last, ..)| today - last < i64::from(kept));
            sent || today - day(own.settled) < KEPT_DAYS as i64
        });
    }

    /// What was sent before `until` has been answered for. Everything counted so far was.
    pub(crate) fn settle(&mut self, until: Wall) {
        if until <= self.settled {
            return;
        }
        self.settled = until;
        self.days = Days::default();
        self.minutes.clear();
        self.tenants.retain(|_, own| {
            own.days = Days::default();
            own.known = Wall::default();
            own.strikes > 0
        });
        self.crowded = false;
    }

    /// The clock was set back: what was settled in the future is settled now.
    pub(crate) fn set_back(&mut self, now: Wall) {
        self.settled = self.settled.min(now);
        for own in self.tenants.values_mut() {
            (own.settled, own.known) = (own.settled.min(now), own.known.min(now));
        }
    }

    /// Times that the tenant's mail was held for complaints within `forgive_after`.
    pub(crate) fn strikes(&self, tenant: &TenantName, forgive_after: Duration, now: Wall) -> u32 {
        let own = self.tenants.get(tenant).filter(|own| now.since(own.settled) < forgive_after);
        own.map_or(0, |own| own.strikes)
    }

    /// What the tenant sent before `now` has been answered for, by a hold for the `times`-th time for complaints (0: for
    /// something else): its part leaves the count. False where it has sent nothing here.
    pub(crate) fn settle_tenant(&mut self, tenant: &TenantName, times: u32, now: Wall) -> bool {
        let Some(own) = self.tenants.get_mut(tenant) else { return false };
        self.days.take_out(&own.days);
        let strikes = if times == 0 { own.strikes } else { times };
        *own = Tenant { days: Days::default(), settled: now, known: now, strikes };
        true
    }

    /// Of all, from the day `first` to the day `last`.
    pub(crate) fn total(&self, first: i64, last: i64) -> Counted {
        self.days.sum(first, last)
    }

    /// Of each tenant that is told apart.
    pub(crate) fn tenants(&self, first: i64, last: i64) -> impl Iterator<Item = (&TenantName, Counted)> {
        self.tenants.iter().map(move |(name, own)| (name, own.days.sum(first, last)))
    }

    /// Of one tenant; nothing where it is not told apart.
    pub(crate) fn of(&self, tenant: &TenantName, first: i64, last: i64) -> Counted {
        self.tenants.get(tenant).map(|own| own.days.sum(first, last)).unwrap_or_default()
    }

    pub(crate) fn written(&self) -> Written {
        let mut tenants: Vec<WrittenTenant> = self
            .tenants
            .iter()
            .map(|(name, own)| WrittenTenant {
                name: name.clone(),
                settled: own.settled,
                known: own.known,
                strikes: own.strikes,
                days: own.days.0.clone(),
            })
            .collect();
        tenants.sort_by(|a, b| a.name.cmp(&b.name));
        Written { settled: self.settled, crowded: self.crowded, days: self.days.0.clone(), tenants }
    }

    /// What was written, and no more of it than is kept.
    pub(crate) fn restored(written: Written, today: i64) -> Self {
        let days = |written: Vec<(i64, u32, u32)>| {
            let mut days = Days::default();
            let kept = KEPT_DAYS as u32;
            for (day, accepted, complaints) in written {
                days.add(day, accepted, complaints, kept, today);
            }
            days
        };
        let crowded = written.crowded || written.tenants.len() > TENANTS_MAX;
        let tenants = written.tenants.into_iter().take(TENANTS_MAX).map(|own| {
            let WrittenTenant { name, settled, known, strikes, days: own } = own;
            (name, Tenant { days: days(own), settled, known, strikes })
        });
        Self {
            settled: written.settled,
            tenants: tenants.collect(),
            days: days(written.days),
            crowded,
            minutes: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::fixtures::rules;
    use super::*;

    const NOON: Wall = Wall::from_millis(20_000 * 86_400_000 + 43_200_000);

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(3600 * hours)
    }

    fn name(n: usize) -> TenantName {
        TenantName::new(format!("t{n:02}"))
    }

    fn send(ledger: &mut Ledger, tenant: &TenantName, count: usize, now: Wall) {
        (0..count).for_each(|_| ledger.accepted(tenant, 7, now));
    }

    fn total(ledger: &Ledger) -> (u64, u64) {
        let Counted { accepted, complaints } = ledger.total(i64::MIN, i64::MAX);
        (accepted, complaints)
    }

    fn own(ledger: &Ledger, tenant: &TenantName) -> (u64, u64) {
        let Counted { accepted, complaints } = ledger.of(tenant, i64::MIN, i64::MAX);
        (accepted, complaints)
    }

    #[test]
    fn one_minute_of_a_tenants_mail_is_believed_so_far_and_no_further() {
        let (rules, t, u) = (rules(), name(1), name(2));
        let mut ledger = Ledger::default();
        send(&mut ledger, &t, 100, NOON);
        for _ in 0..1_000 {
            ledger.complained(&t, NOON, u32::MAX, &rules, NOON.plus(hours(1)));
        }
        assert_eq!(total(&ledger), (100, 5), "a thousand reports of one minute's mail");
        ledger.complained(&t, NOON.plus(Duration::from_secs(60)), 3, &rules, NOON.plus(hours(1)));
        ledger.complained(&u, NOON, 0, &rules, NOON.plus(hours(1)));
        assert_eq!(total(&ledger), (100, 9), "the next minute's, another tenant's");
        send(&mut ledger, &t, 99_900, NOON);
        ledger.complained(&t, NOON, 1_000, &rules, NOON.plus(hours(1)));
        assert_eq!(total(&ledger), (100_000, 54), "half of the limit of what it sent that day: 50 of this minute");
    }

    #[test]
    fn complaints_count_for_the_day_of_sending_until_it_is_forgotten() {
        let (rules, t) = (rules(), name(1));
        let mut ledger = Ledger::default();
        send(&mut ledger, &t, 10, NOON);
        let later = NOON.plus(hours(24 * 6));
        ledger.complained(&t, NOON, 1, &rules, later);
        assert_eq!(ledger.total(day(NOON), day(NOON)), Counted { accepted: 10, complaints: 1 });
        assert_eq!(ledger.total(day(later), day(later)), Counted::default(), "not against today's mail");
        ledger.complained(&t, NOON, 1, &rules, NOON.plus(hours(24 * 7)));
        ledger.complained(&t, Wall::from_millis(i64::MIN), 1, &rules, later);
        assert_eq!(total(&ledger), (10, 1), "too old to be judged");
        ledger.complained(&t, later.plus(hours(400)), 1, &rules, later);
        assert_eq!(ledger.total(day(later), day(later)).complaints, 1, "sent in the future: today");
    }

    #[test]
    fn what_is_settled_comes_back_by_no_complaint() {
        let (rules, t, u) = (rules(), name(1), name(2));
        let mut ledger = Ledger::default();
        send(&mut ledger, &t, 50, NOON);
        send(&mut ledger, &u, 50, NOON);
        ledger.complained(&t, NOON, 3, &rules, NOON);
        let held = NOON.plus(hours(1));
        assert!(ledger.settle_tenant(&t, 1, held));
        assert!(!ledger.settle_tenant(&name(3), 1, held), "it has sent nothing here");
        ledger.complained(&t, NOON, 5, &rules, held.plus(hours(20)));
        assert_eq!((total(&ledger), own(&ledger, &t)), ((50, 0), (0, 0)));
        assert_eq!([hours(1), hours(500)].map(|age| ledger.strikes(&t, hours(168), held.plus(age))), [1, 0]);
        send(&mut ledger, &t, 10, held.plus(hours(2)));
        ledger.complained(&t, held.plus(hours(2)), 1, &rules, held.plus(hours(3)));
        assert_eq!((total(&ledger), own(&ledger, &t)), ((60, 1), (10, 1)), "what is sent afterwards counts");
        // The same for the route.
        let back = held.plus(hours(10));
        ledger.settle(back);
        ledger.complained(&u, NOON, 5, &rules, back);
        assert_eq!(total(&ledger), (0, 0));
        assert_eq!(ledger.strikes(&t, hours(168), back), 1, "holds are remembered");
        ledger.settle(NOON);
        ledger.complained(&u, NOON.plus(hours(5)), 5, &rules, back);
        assert_eq!(total(&ledger), (0, 0), "an earlier moment settles less");
    }

    #[test]
    fn whoever_is_complained_about_finds_a_place_and_knows_only_what_came_since() {
        let rules = rules();
        let mut ledger = Ledger::default();
        for n in 0..=TENANTS_MAX {
            send(&mut ledger, &name(n), n + 1, NOON);
        }
        let last = name(TENANTS_MAX);
        assert_eq!(ledger.tenants.len(), TENANTS_MAX);
        assert_eq!(own(&ledger, &last), (0, 0), "no place: among the others");
        let later = NOON.plus(hours(1));
        ledger.complained(&last, NOON, 1, &rules, later);
        assert_eq!(own(&ledger, &last), (0, 0), "about mail of which its part is not known");
        assert_eq!(total(&ledger).1, 1);
        assert!(!ledger.tenants.contains_key(&name(0)), "the one that had sent least made room");
        send(&mut ledger, &last, 3, later);
        ledger.complained(&last, later, 1, &rules, later);
        assert_eq!(own(&ledger, &last), (3, 1));
        // Those that send no more make room by themselves.
        send(&mut ledger, &last, 1, NOON.plus(hours(24 * 8)));
        assert_eq!(ledger.tenants.len(), 1);
    }

    #[test]
    fn what_is_written_is_read_back_and_no_more_than_is_kept() {
        let rules = rules();
        let mut ledger = Ledger::default();
        for n in 0..40 {
            send(&mut ledger, &name(n), n + 1, NOON.plus(hours(n as u64 * 24 / 8)));
        }
        ledger.complained(&name(39), NOON.plus(hours(120)), 1, &rules, NOON.plus(hours(120)));
        ledger.settle_tenant(&name(38), 2, NOON.plus(hours(120)));
        let today = day(NOON) + 5;
        let json = serde_json::to_string(&ledger.written()).expect("names and numbers");
        let copy = Ledger::restored(serde_json::from_str(&json).expect("as written"), today);
        assert_eq!(serde_json::to_string(&copy.written()).expect("names and numbers"), json);
        let tenant = |n| WrittenTenant {
            name: name(n),
            settled: Wall::default(),
            known: Wall::default(),
            strikes: 0,
            days: (0..1_000).map(|day| (day, 1, 1)).collect(),
        };
        let much = Written { days: (0..1_000).map(|day| (day, 1, 1)).collect(), ..Written::default() };
        let copy = Ledger::restored(Written { tenants: (0..90).map(tenant).collect(), ..much }, today);
        assert_eq!((copy.tenants.len(), copy.days.0.len(), copy.crowded), (TENANTS_MAX, KEPT_DAYS, true));
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_parts_are_no_more_than_the_whole(
            story in prop::collection::vec((0usize..50, 0u64..6, any::<u32>(), -400i64..400, any::<u8>()), 1..200)
        ) {
            let rules = rules();
            let (mut ledger, mut now) = (Ledger::default(), NOON);
            for (who, step, incidents, ago, what) in story {
                now = now.plus(hours(step));
                let at = Wall::from_millis(now.as_millis() - ago * 3_600_000);
                match what % 16 {
                    0 => ledger.settle(now),
                    1 => _ = ledger.settle_tenant(&name(who), 1, now),
                    2..8 => _ = ledger.complained(&name(who), at, incidents, &rules, now),
                    _ => send(&mut ledger, &name(who), usize::from(what), now),
                }
                let (mut parts, last) = (Counted::default(), day(now));
                ledger.tenants(last - 6, last).for_each(|(_, own)| parts.add(own));
                let whole = ledger.total(last - 6, last);
                prop_assert!(parts.accepted <= whole.accepted && parts.complaints <= whole.complaints);
                prop_assert!(ledger.tenants.len() <= TENANTS_MAX && ledger.minutes.len() <= MINUTES_MAX);
                prop_assert!(ledger.tenants.values().all(|own| own.days.0.len() <= 7) && ledger.days.0.len() <= 7);
            }
        }
    }
}
