//! How much a young address may send.
//!
//! An address is cold until it has shown otherwise. A [`ladder`] says how many recipients a day it may carry, stage by
//! stage; each day on which it sent moves it by what receivers answered ([`stage`]), never the calendar alone. A binding
//! has a ladder as a whole and may have one towards a provider, and both hold at once: the day's limit of binding and of
//! route is the smaller of stage and daily cap, kept under the same key of the ledger. So a pick pays nothing for a
//! warm-up that it does not pay for a cap — except where the address is in warm-up and the mail is not engaged: then it
//! is asked what is kept back ([`reserve`]).
//!
//! What does not fit goes to warmed members of the open tiers by itself, since bindings are chosen late. Whether backups
//! open is `failover_on = ["warmup"]`; mail that only meets what is kept for engaged recipients waits as it does for a
//! pace. Towards a single provider nothing is kept back.
//!
//! ```text
//!   attempts ──▶ experienced ──▶ tally of the day ──┐
//!   reputation ─▶ set_health ──▶ struck / barred    ├─▶ first moment of the next day: judge ──▶ limit in the ledger
//!   time ───────▶ tick ───────▶ days without mail ──┘                              └─▶ StageChange, fact
//! ```
//!
//! A suspension of the binding for its address's sake costs the binding's ladder a stage, one of a route the ladder
//! towards that provider; the other ladders of the binding rise by nothing on that day. Suspensions for bounces or
//! back-off only keep a stage from rising, and those for our own set-up or by the operator mean nothing.
//!
//! [`facts`] survive restart and crash; those of bindings that are not configured stay as they are.

pub mod facts;
mod hooks;
pub mod ladder;
pub mod reserve;
pub mod stage;
#[cfg(test)]
mod stage_tests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use self::facts::Record;
use self::ladder::Ladder;
use self::reserve::Reserve;
pub use self::stage::Why;
use self::stage::{Move, Progress, Tally};
use super::BindingId;
use super::cap::{Account, Day};
use crate::clock::Wall;
use crate::config::{Warmup, WarmupRules};
use crate::message::{BindingName, ProviderName};
use crate::reputation::Fact;

/// Longest time for which a tally is not on disk.
const WRITE_AFTER: Duration = Duration::from_secs(300);

/// Recipients accepted after which a tally is written, at least; above, a twentieth of the allowance.
const WRITE_ACCEPTED: u64 = 64;

/// Days after which the last mail of a warm address is written again: it is only looked at after weeks.
const WARM_DAYS: i32 = 7;

/// A stage moved, or a sending day did not move it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageChange {
    /// Whose ladder.
    pub binding: BindingName,
    /// Towards whom; `None` for the binding as a whole.
    pub provider: Option<ProviderName>,
    /// Stage before, from 0 as in the configuration.
    pub from: usize,
    /// Stage after.
    pub to: usize,
    /// Why.
    pub why: Why,
    /// Recipients of the judged day that were accepted.
    pub accepted: u64,
    /// Those whose answer said something of the pace: accepted, put off by the receiver, blamed on the address.
    pub tried: u64,
    /// Those blamed on the address.
    pub blamed: u64,
    /// What the stage before allows; `None` where no stage held it.
    pub allowance_before: Option<u64>,
    /// What may be accepted on a day from now on; `None` where only the daily cap holds it.
    pub allowance: Option<u64>,
}

/// A ladder whose stage holds its binding (or route) back today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnLadder {
    /// Whose.
    pub binding: BindingName,
    /// Towards whom; `None` for the binding as a whole.
    pub provider: Option<ProviderName>,
    /// Stage, from 0 as in the configuration.
    pub stage: usize,
    /// Stages there are below the daily cap.
    pub stages: usize,
    /// Recipients that may be accepted today.
    pub allowance: u64,
    /// Accepted today, as far as the ladder knows.
    pub accepted: u64,
}

/// One ladder of one binding.
struct Climb {
    provider: Option<ProviderName>,
    /// Column of the route table; 0 for the binding as a whole.
    column: u32,
    ladder: Ladder,
    cap: Option<u64>,
    progress: Progress,
    /// The tally on disk, and the last mail.
    written: (Tally, jiff::civil::Date),
    is_dirty: bool,
}

impl Climb {
    fn is_warming(&self, today: jiff::civil::Date) -> bool {
        self.progress.limit(&self.ladder, self.cap, today).is_some()
    }

    /// Whether what was learned must be written at once: it speaks against the address, or there is much of it.
    fn is_urgent(&self) -> bool {
        let (seen, (on_disk, _)) = (&self.progress.tally, &self.written);
        let much = WRITE_ACCEPTED.max(self.progress.allowance.unwrap_or(0) / 20);
        seen.blamed > on_disk.blamed || seen.deferred > on_disk.deferred || seen.accepted >= on_disk.accepted + much
    }
}

/// The ladders of one binding.
struct Climber {
    name: BindingName,
    /// The binding's own first, where it has one.
    climbs: Vec<Climb>,
    /// Where engaged mail may come its way.
    reserve: Option<Reserve>,
}

impl Climber {
    fn climb(&self, column: u32) -> Option<&Climb> {
        self.climbs.iter().find(|climb| climb.column == column)
    }
}

/// All ladders.
#[derive(Default)]
pub(super) struct Warmups {
    rules: WarmupRules,
    day: Option<Day>,
    /// By number of the binding; `None` for those without a ladder.
    climbers: Vec<Option<Climber>>,
    /// What earlier runs and configurations left behind.
    known: HashMap<(BindingName, Option<ProviderName>), Record>,
    /// Ladders by the list they are made of.
    made: Vec<(Arc<[u64]>, Ladder)>,
    /// When what was learned goes to disk.
    write_at: Option<Wall>,
    changes: Vec<StageChange>,
    facts: Vec<Fact>,
}

impl Warmups {
    /// Today's allowance of a binding (column 0) or its route to a provider; `None` where no ladder holds it back.
    pub(super) fn allowance(&self, binding: BindingId, column: u32) -> Option<u64> {
        let climb = self.climber(binding)?.climb(column)?;
        climb.progress.limit(&climb.ladder, climb.cap, self.day?.date)
    }

    fn climber(&self, binding: BindingId) -> Option<&Climber> {
        self.climbers.get(binding.index())?.as_ref()
    }

    /// Whether a binding in warm-up keeps anything for engaged mail, and then how many recipients of its allowance are
    /// left for others.
    pub(super) fn for_others(&self, binding: BindingId, account: &Account, wall: Wall) -> Option<u64> {
        let reserve = self.climber(binding)?.reserve.as_ref()?;
        let left = account.limit().saturating_sub(account.used() + account.reserved());
        Some(left.saturating_sub(reserve.kept(account.limit(), &self.day?, wall)))
    }

    /// When something will be left for others, as things stand.
    pub(super) fn for_others_at(&self, binding: BindingId, account: &Account) -> Option<Wall> {
        let reserve = self.climber(binding)?.reserve.as_ref()?;
        let left = account.limit().saturating_sub(account.used() + account.reserved());
        Some(reserve.free_at(account.limit(), left, &self.day?))
    }

    /// Counts engaged mail that was accepted.
    pub(super) fn took_engaged(&mut self, binding: BindingId, accepted: u32, wall: Wall) {
        let Some(Some(climber)) = self.climbers.get_mut(binding.index()) else { return };
        if let (Some(reserve), Some(day)) = (&mut climber.reserve, &self.day) {
            reserve.took(accepted, day, wall);
        }
    }

    /// Every ladder that holds somebody back today.
    pub(super) fn on_ladders(&self) -> impl Iterator<Item = OnLadder> {
        let climbs = self
            .climbers
            .iter()
            .flatten()
            .flat_map(|climber| climber.climbs.iter().map(|climb| (&climber.name, climb)));
        climbs.filter_map(|(name, climb)| {
            let allowance = climb.progress.limit(&climb.ladder, climb.cap, self.day?.date)?;
            Some(OnLadder {
                binding: name.clone(),
                provider: climb.provider.clone(),
                stage: climb.progress.stage,
                stages: climb.ladder.end(climb.cap),
                allowance,
                accepted: climb.progress.tally.accepted,
            })
        })
    }

    /// Learns from an attempt.
    fn learn(&mut self, binding: BindingId, column: u32, seen: &super::Experience, wall: Wall) {
        let Some(today) = self.day.map(|day| day.date) else { return };
        let Some(Some(climber)) = self.climbers.get_mut(binding.index()) else { return };
        for at in 0..climber.climbs.len() {
            let climb = &mut climber.climbs[at];
            if climb.column != 0 && climb.column != column {
                continue;
            }
            climb.progress.learn(seen);
            climb.is_dirty = true;
            if !climb.is_warming(today) {
                continue;
            }
            if climb.is_urgent() {
                write(climber, at, false, &mut self.facts);
            } else if self.write_at.is_none() {
                self.write_at = Some(wall.plus(WRITE_AFTER));
            }
        }
    }

    /// Closes days that are over.
    pub(super) fn start_day(&mut self, day: Day) {
        if let (Some(before), false) = (self.day, self.day == Some(day)) {
            self.end_day(before, day);
        }
        self.day = Some(day);
    }

    fn end_day(&mut self, before: Day, day: Day) {
        for climber in self.climbers.iter_mut().flatten() {
            if let (Some(reserve), true) = (&mut climber.reserve, before.date < day.date)
                && let Some(whole) = climber.climbs.first().filter(|climb| climb.column == 0)
            {
                let allowance = whole.progress.limit(&whole.ladder, whole.cap, before.date).unwrap_or(u64::MAX);
                reserve.end_day(whole.progress.tally.accepted, allowance);
            }
            for at in 0..climber.climbs.len() {
                turn(climber, at, day, &self.rules, &mut self.changes, &mut self.facts);
            }
        }
    }

    /// Writes what has been waiting for too long.
    pub(super) fn write_what_is_old(&mut self, wall: Wall) {
        if self.write_at.is_some_and(|at| at <= wall) {
            self.write_all(false);
        }
    }

    /// Writes every ladder about which the disk knows less; `exactly` for a clean stop.
    fn write_all(&mut self, exactly: bool) {
        self.write_at = None;
        let Some(today) = self.day.map(|day| day.date) else { return };
        for climber in self.climbers.iter_mut().flatten() {
            for at in 0..climber.climbs.len() {
                let climb = &climber.climbs[at];
                if climb.is_dirty && (exactly || climb.is_warming(today)) {
                    write(climber, at, exactly, &mut self.facts);
                }
            }
        }
    }

    /// The ladder made of these stages, made once for all that share them.
    fn ladder(&mut self, stages: &Arc<[u64]>) -> Ladder {
        if let Some((_, made)) = self.made.iter().find(|(list, _)| Arc::ptr_eq(list, stages)) {
            return made.clone();
        }
        let made = Ladder::new(stages, self.rules.growth_beyond);
        self.made.push((Arc::clone(stages), made.clone()));
        made
    }

    /// Puts every ladder away under its name, before another configuration is taken over.
    fn put_away(&mut self, rules: &WarmupRules) {
        (self.rules, self.made) = (rules.clone(), Vec::new());
        for Climber { name, climbs, mut reserve } in std::mem::take(&mut self.climbers).into_iter().flatten() {
            for climb in climbs {
                let engaged = if climb.column == 0 { reserve.take() } else { None };
                let (binding, provider) = (name.clone(), climb.provider);
                let record = Record { binding, provider, progress: climb.progress, engaged };
                self.known.insert((record.binding.clone(), record.provider.clone()), record);
            }
        }
    }

    /// Takes up a ladder of the configuration where it was left, or begins it.
    fn take_up(&mut self, id: BindingId, binding: &BindingName, to: Option<(&ProviderName, u32)>, want: &Wanted<'_>) {
        let Some(day) = self.day else { return };
        let ladder = self.ladder(&want.warmup.ladder);
        let (provider, column) = (to.map(|(provider, _)| provider.clone()), to.map_or(0, |(_, column)| column));
        let known = self.known.remove(&(binding.clone(), provider.clone()));
        let ended = known.as_ref().map(|known| &known.progress).filter(|progress| progress.day < day.date);
        let ended = ended.map(|progress| (progress.tally.accepted, progress.limit(&ladder, want.cap, progress.day)));
        let stage_before = known.as_ref().map(|known| known.progress.stage);
        let goes_on = known.as_ref().is_some_and(|known| known.progress.origin == want.warmup.position);
        let (mut progress, engaged) = match known {
            Some(known) if goes_on => (known.progress, known.engaged),
            known => {
                let fresh = Progress::begin(want.warmup.position, &ladder, day.date);
                (fresh, known.and_then(|known| known.engaged))
            }
        };
        progress.adopt(&ladder);
        if self.climbers.len() <= id.index() {
            self.climbers.resize_with(id.index() + 1, || None);
        }
        let nobody = || Climber { name: binding.clone(), climbs: Vec::new(), reserve: None };
        let climber = self.climbers[id.index()].get_or_insert_with(nobody);
        if column == 0 {
            climber.reserve = want.keeps.then(|| engaged.unwrap_or_default());
            if let (Some(reserve), Some((accepted, allowance))) = (&mut climber.reserve, ended) {
                reserve.end_day(accepted, allowance.unwrap_or(u64::MAX));
            }
        }
        let written = (progress.tally, progress.last_mail);
        climber.climbs.push(Climb { provider, column, ladder, cap: want.cap, progress, written, is_dirty: goes_on });
        let at = climber.climbs.len() - 1;
        let is_new_start = matches!(want.warmup.position, crate::config::WarmupStart::Started(_));
        if !goes_on && (stage_before.is_some() || !is_new_start) {
            let to = climber.climbs[at].progress.stage;
            let imported = Move { from: stage_before.unwrap_or(0), to, why: Why::Imported, tally: Tally::default() };
            self.changes.push(told(climber, at, &imported, day));
            write(climber, at, false, &mut self.facts);
        }
        // Of an earlier day where the program was not running at its end.
        turn(climber, at, day, &self.rules, &mut self.changes, &mut self.facts);
    }
}

/// What the configuration says of one ladder.
struct Wanted<'a> {
    warmup: &'a Warmup,
    cap: Option<u64>,
    /// Engaged mail may come its way.
    keeps: bool,
}

/// Closes the days of one ladder that are over.
fn turn(
    climber: &mut Climber,
    at: usize,
    day: Day,
    rules: &WarmupRules,
    changes: &mut Vec<StageChange>,
    facts: &mut Vec<Fact>,
) {
    let climb = &mut climber.climbs[at];
    let was_warming = climb.is_warming(climb.progress.day);
    let moves = climb.progress.turn(day.date, &climb.ladder, climb.cap, rules);
    let unwritten = climb.progress.last_mail.since(climb.written.1).map_or(0, |span| span.get_days());
    let is_due = climb.is_dirty && (was_warming || unwritten >= WARM_DAYS) || !moves.is_empty();
    changes.extend(moves.iter().map(|moved| told(climber, at, moved, day)));
    if is_due {
        write(climber, at, false, facts);
    }
}

/// Writes one ladder; `exactly`, or with blame ahead of what was seen.
fn write(climber: &mut Climber, at: usize, exactly: bool, facts: &mut Vec<Fact>) {
    let climb = &mut climber.climbs[at];
    let mut progress = climb.progress.clone();
    if !exactly {
        progress.tally = facts::ahead(progress.tally);
    }
    (climb.written, climb.is_dirty) = ((progress.tally, progress.last_mail), false);
    let engaged = climber.reserve.as_ref().filter(|reserve| climb.column == 0 && !reserve.is_blank()).cloned();
    let record = Record { binding: climber.name.clone(), provider: climb.provider.clone(), progress, engaged };
    facts.push(Fact::Put(record.key(), record.bytes()));
}

/// A move in words for others.
fn told(climber: &Climber, at: usize, moved: &Move, day: Day) -> StageChange {
    let climb = &climber.climbs[at];
    let end = climb.ladder.end(climb.cap);
    StageChange {
        binding: climber.name.clone(),
        provider: climb.provider.clone(),
        from: moved.from,
        to: moved.to,
        why: moved.why,
        accepted: moved.tally.accepted,
        tried: moved.tally.tried(),
        blamed: moved.tally.blamed,
        allowance_before: climb.ladder.allowance(moved.from).filter(|_| moved.from < end),
        allowance: climb.progress.limit(&climb.ladder, climb.cap, day.date),
    }
}
