//! The loop as a pure machine: scheduler, reputation and index behind one door.
//!
//! The shell tells it what happened (`enqueue`, `resolved`, `reported`, `settled`, `grants_written`, `observe`), asks
//! [`Core::next`] what to do until it answers `None`, and comes back at [`Core::next_wakeup`] or with news. Nothing in
//! here waits, reads a clock or touches a disk, so the simulation runs weeks of it in seconds.
//!
//! [`domains`] knows where the mail of each domain goes, [`lanes`] asks the scheduler for the heads of lanes, [`wake`] lets
//! those that stood still look again, [`slots`] shares out the attempts under way, [`held`] keeps back the mail of tenants
//! that a receiver refuses, [`cover`] which bindings may carry a sender's mail, [`reaction`] measures how fast it stops once a binding is listed, [`moves`] has refusals judged before they count, and keeps mail that moves no further to the
//! bindings it has met, [`acts`] does what an operator wants of mail that waits, [`select`] finds it, `reconfigure` takes over
//! another configuration and `sorting` looks at what waits by it, and [`stranded`] knows what cannot wait here since its pool or tenant is not configured.

pub mod acts;
#[cfg(test)]
mod acts_tests;
mod asked;
mod cover;
mod domains;
pub mod explain;
mod held;
mod in_force;
mod lanes;
mod moves;
#[cfg(test)]
mod moves_tests;
pub mod reaction;
mod reconfigure;
pub mod select;
mod slots;
mod sorting;
mod stranded;
mod tenants;
#[cfg(test)]
mod tests;
mod view;
mod wake;

pub use self::in_force::WantedBack;
pub use self::reconfigure::is_routed_otherwise;
pub use self::stranded::Stranded;
pub use self::view::QueueView;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::acts::{Act, Acts, Kept};
use self::asked::Asked;
use self::domains::Domains;
use self::held::{Aside, Senders};
use self::in_force::InForce;
use self::lanes::request;
use self::reaction::{Reaction, Reactions};
use self::slots::Slots;
use self::sorting::Sorting;
use self::stranded::Strand;
use self::tenants::TenantPlan;
use self::wake::Lines;
use super::blame;
use super::index::{Due, FAR, HELD, Index, Place, Waiting};
use super::state::{self, Answered, Settled};
use crate::clock::{Now, Wall};
use crate::config::{self, Config};
use crate::delivery::plan::MxPlan;
use crate::message::{BindingName, Domain, Entry, EntryId, ProviderName};
use crate::outcome::EnhancedCode;
use crate::reputation::facts::Fact;
use crate::reputation::{Evidence, HealthChange, HoldChange, Note, Reputation};
use crate::scheduler::cap::{GrantFact, GrantRequest};
use crate::scheduler::prediction;
use crate::scheduler::warmup::{self, StageChange};
use crate::scheduler::{BindingId, Experience, Lease, Scheduler, Settlement, Verdict};

/// Timers served in one call: after a clock that jumped, all that waits may be due at once.
const DUE_MAX: usize = 10_000;

/// Lanes looked at in one call that starts nothing: after an event for thousands of them the lock is given back between.
const TRIES_MAX: usize = 2_000;

/// What the shell is to do.
#[derive(Debug)]
pub enum Action {
    /// Make an attempt, then call [`Core::reported`] and [`Core::settled`].
    Attempt(Start),
    /// Look up the hosts of a domain, then call [`Core::resolved`].
    Resolve(Domain),
    /// Write these grants to disk, then call [`Core::grants_written`].
    WriteGrants(Vec<GrantRequest>),
    /// The lifetime of the entry is over: report to the sender, forget it, then call [`Core::forget`].
    Expire(EntryId),
    /// The domain takes no mail: bounce all recipients with this, then call [`Core::forget`].
    Refuse {
        /// The entry.
        entry: EntryId,
        /// For the DSN.
        enhanced: EnhancedCode,
        /// For the DSN.
        text: String,
    },
    /// An operator's act came while the entry was being worked on, and it waits again: do it, then call [`Core::acted`] or
    /// [`Core::ended`].
    Act {
        /// The entry; it is claimed.
        entry: EntryId,
        /// What to do.
        act: Arc<Act>,
    },
}

/// An attempt to make.
#[derive(Debug)]
pub struct Start {
    /// The entry whose first [`Lease::recipients`] recipients are to be tried.
    pub entry: EntryId,
    /// Permission; goes back by [`Core::settled`].
    pub lease: Lease,
    /// The binding that carries it.
    pub binding: Arc<config::Binding>,
    /// Where to.
    pub plan: Arc<MxPlan>,
    /// Messages after which the connection is to be closed.
    pub messages_per_connection: u32,
}

/// What evidence or time has moved: to be logged, counted and written down.
#[derive(Debug, Default)]
pub struct Observed {
    /// Moves of health.
    pub changes: Vec<HealthChange>,
    /// Moves of holds of tenants' mail.
    pub holds: Vec<HoldChange>,
    /// What moved nothing and is worth knowing.
    pub notes: Vec<Note>,
    /// Moves of stages of warm-ups.
    pub stages: Vec<StageChange>,
    /// What must be on disk for a restart to know.
    pub facts: Vec<Fact>,
    /// How fast mail stopped from bindings that were listed.
    pub reactions: Vec<Reaction>,
}

impl Observed {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        let Self { changes, holds, notes, stages, facts, reactions } = self;
        let is_quiet = changes.is_empty() && holds.is_empty() && notes.is_empty() && reactions.is_empty();
        is_quiet && stages.is_empty() && facts.is_empty()
    }
}

/// The pure machine behind the dispatcher.
pub struct Core {
    queue: config::Queue,
    tenants: Vec<TenantPlan>,
    scheduler: Scheduler,
    reputation: Reputation,
    index: Index,
    domains: Domains,
    senders: Senders,
    reactions: Reactions,
    aside: Aside,
    asked: Asked,
    acts: Acts,
    stranded: Strand,
    actions: VecDeque<Action>,
    lines: Lines,
    slots: Slots,
    in_force: InForce,
    sorting: Sorting,
    /// The last call ended early: there is more to look at.
    has_more: bool,
    stopping: bool,
    /// How many wait for the disk.
    paused: usize,
    random: SmallRng,
    /// Lanes looked at.
    #[cfg(test)]
    looks: usize,
}

impl Core {
    /// A machine with nothing in it, and what of the facts could not be read. `grants` and `facts` (those of
    /// [`crate::reputation::facts::PREFIXES`] and [`scheduler::FACT_PREFIXES`](crate::scheduler::FACT_PREFIXES)) are the
    /// facts of an earlier run.
    pub fn new(
        config: &Config,
        grants: &[GrantFact],
        facts: &[(String, Vec<u8>)],
        seed: u64,
        now: Now,
    ) -> (Self, Vec<String>) {
        let mut reputation = Reputation::new(config, now.wall);
        let mut scheduler = Scheduler::new(config, grants, seed, now);
        let (predictions, facts): (Vec<_>, Vec<_>) =
            facts.iter().partition(|(key, _)| key.starts_with(prediction::facts::PREFIX));
        let (stages, healths): (Vec<_>, Vec<_>) =
            facts.into_iter().partition(|(key, _)| key.starts_with(warmup::facts::PREFIX));
        let restored = healths.into_iter().filter_map(|(key, value)| reputation.restore(key, value).err());
        let mut unreadable: Vec<String> = restored.map(|error| error.to_string()).collect();
        // Before the healths: a suspension that goes on is no second one.
        let stages = stages.into_iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        unreadable.extend(scheduler.restore_warmups(config, stages, now).iter().map(ToString::to_string));
        let predictions = predictions.into_iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        unreadable.extend(scheduler.restore_predictions(predictions, now).iter().map(ToString::to_string));
        for signal in reputation.signals(now.wall) {
            scheduler.signalled(&signal, now);
        }
        let known: Vec<_> = reputation.all().map(|(subject, health)| (subject.clone(), health.clone())).collect();
        for (subject, health) in known {
            scheduler.restore_health(&subject, &health, now);
        }
        let in_force = InForce::of(config, &scheduler);
        let core = Self {
            in_force,
            queue: config.queue.clone(),
            tenants: config.tenants.iter().map(|tenant| TenantPlan::of(tenant, config)).collect(),
            scheduler,
            reputation,
            index: Index::default(),
            domains: Domains::default(),
            senders: Senders::default(),
            reactions: Reactions::default(),
            aside: Aside::default(),
            asked: Asked::default(),
            acts: Acts::default(),
            stranded: Strand::default(),
            actions: VecDeque::new(),
            lines: Lines::default(),
            sorting: Sorting::default(),
            slots: Slots::new(config.queue.max_attempts_in_flight, config.tenants.iter().map(|tenant| tenant.weight)),
            has_more: false,
            stopping: false,
            paused: 0,
            // Another sequence than the scheduler's, which starts from the seed itself.
            random: SmallRng::seed_from_u64(seed.rotate_left(17)),
            #[cfg(test)]
            looks: 0,
        };
        (core, unreadable)
    }

    /// Takes in an entry: new mail, a DSN of ours, or one found at recovery. False when its pool or tenant is no longer
    /// configured; it then stays on disk and is stranded, never sent from "some" IP.
    pub fn enqueue(&mut self, entry: &Entry, now: Now) -> bool {
        let (Some(pool), Some(tenant)) = (self.scheduler.pool_id(&entry.pool), self.scheduler.tenant_id(&entry.tenant))
        else {
            self.strand(entry);
            return false;
        };
        if !self.in_force.has(pool, tenant) {
            self.strand(entry);
            return false;
        }
        self.stranded.remove(entry.id);
        self.drop_entry(entry.id);
        let domain = self.domains.enter(&entry.domain);
        let sender_domain = entry.reverse_path.as_ref().map(|from| from.domain());
        let waiting = Waiting {
            message: entry.message,
            pool,
            tenant,
            domain,
            sender: self.senders.enter(sender_domain, &entry.stream, |domain| self.scheduler.cover_of(domain)),
            class: self.tenants.get(tenant.index()).map_or(TenantPlan::PLAIN, |known| known.class(&entry.stream)),
            recipients: entry.recipients.len() as u32,
            attempts: entry.state.attempts,
            arrived: entry.arrived,
            expires: entry.expires,
            sticky: entry.state.sticky.as_ref().and_then(|(name, _)| self.scheduler.binding_id(name)),
            excluded: self.excluded(entry),
            place: Place::Resolving,
        };
        self.index.insert(entry, waiting);
        self.stand(entry, now);
        true
    }

    /// What to do now; call again until `None`.
    pub fn next(&mut self, now: Now) -> Option<Action> {
        let action = self.next_action(now);
        if action.is_none() && self.sorting.is_under_way() {
            // Only here: whoever holds the core for a turn of many actions waits for one slice, not for one per action.
            self.sort_some(now);
            self.has_more = true;
        }
        action
    }

    fn next_action(&mut self, now: Now) -> Option<Action> {
        self.fire_timers(now);
        self.wake_some(now);
        self.release_some(now);
        self.forget_some(now);
        self.scheduler.tick(now);
        self.ask_for_grants();
        self.has_more = false;
        for _ in 0..TRIES_MAX {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if self.stopping || self.paused > 0 || self.slots.is_full() {
                return None;
            }
            let Some(lane) = self.index.next_ready() else {
                if !self.release_one(now) && !self.offer_on() {
                    return None;
                }
                continue;
            };
            #[cfg(test)]
            {
                self.looks += 1;
            }
            if let Some(start) = self.try_lane(lane, now) {
                return Some(Action::Attempt(start));
            }
        }
        self.has_more = true;
        self.actions.pop_front()
    }

    /// When to ask again although nothing has happened; a moment that has passed means at once.
    pub fn next_wakeup(&self) -> Option<Wall> {
        let at_once = (self.has_more || self.sorting.is_under_way()).then_some(Wall::from_millis(0));
        let may_go = !self.stopping && self.paused == 0 && !self.slots.is_full();
        let gates = self.lines.next_wakeup().filter(|_| may_go);
        let wakeups =
            [self.index.next_wakeup(), self.reputation.next_wakeup(), self.aside.next_wakeup(), gates, at_once];
        wakeups.into_iter().flatten().min()
    }

    /// No further attempts are started; those on the wire may finish.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Evidence of an attempt, as soon as its replies are known and before they are written down: the next decision
    /// must already know.
    pub fn reported(&mut self, evidence: &[Evidence], now: Now) -> Observed {
        let mut changes = Vec::new();
        for item in evidence {
            changes.extend(self.reputation.observe(item, now.wall));
        }
        self.apply_health(changes, now)
    }

    /// An attempt was answered: who is blamed, what it taught, and what becomes of the entry. Comes as soon as the replies
    /// are known and before any of it is written down, since the next decision must already know; [`Core::settled`]
    /// follows when it is. `entry` changes to what it is from now on. `took` is from the first command to the last reply,
    /// `None` where no connection was made. `unit_random` in 0..1 spreads the wait.
    pub fn concluded(
        &mut self,
        lease: &Lease,
        entry: &mut Entry,
        answers: &[Answered],
        took: Option<Duration>,
        unit_random: f64,
        now: Now,
    ) -> (Observed, Settled) {
        let binding = Arc::clone(self.scheduler.binding(lease.binding));
        self.note_end(lease.binding, now);
        let answers = &*self.judged(lease, entry, answers, now);
        let neighbours = self.neighbours(lease.binding, answers);
        let destination = self.scheduler.destination_name(lease.destination);
        let mut evidence = blame::evidence(entry, answers, &binding, destination, took);
        evidence.extend(blame::of_range(entry, answers, &binding.name, destination, &neighbours));
        let seen = blame::experience(entry, answers, &binding.name, took);
        let seen = Experience { began: Some(lease.began()), ..seen };
        // First: the health that follows says of a receiver's wish for less only until when it holds.
        self.scheduler.experienced(lease.binding, lease.destination, &seen, now);
        let mut observed = self.reported(&evidence, now);
        observed.stages.extend(self.scheduler.take_stage_changes());
        observed.facts.extend(self.scheduler.take_facts());
        let neighbours = self.members(neighbours, lease.pool);
        let settled = state::settle(entry, answers, &binding.name, &neighbours, &self.queue, unit_random, now.wall);
        (observed, settled)
    }

    /// An attempt is over and what became of it is on disk. `entry` is `None` when nobody waits any more.
    pub fn settled(&mut self, id: EntryId, lease: Lease, settlement: Settlement, entry: Option<&Entry>, now: Now) {
        let (binding, destination) = (lease.binding, lease.destination);
        self.slots.give(lease.tenant, destination);
        self.scheduler.settle(lease, settlement, now);
        self.ask_for_grants();
        match entry {
            None => self.forget(id),
            Some(entry) => self.put_back(entry, now),
        }
        self.measure(binding);
        self.wake_for_slot(binding, destination);
    }

    /// An attempt came to nothing for a reason of our own (the spool did not answer, the program went wrong): the entry
    /// waits until `until` as it was.
    pub fn give_back(&mut self, id: EntryId, lease: Lease, settlement: Settlement, until: Wall, now: Now) {
        let (binding, destination) = (lease.binding, lease.destination);
        self.slots.give(lease.tenant, destination);
        self.scheduler.settle(lease, settlement, now);
        self.ask_for_grants();
        self.look_again(id, until);
        self.measure(binding);
        self.wake_for_slot(binding, destination);
    }

    /// An entry that is neither in a lane nor on the wire is looked at again at `until`.
    pub fn look_again(&mut self, id: EntryId, until: Wall) {
        if self.strand_if_gone(id) || self.follows(id) {
            return;
        }
        // Its end, if that has come, is looked at again no sooner: what could not be ended would spin.
        self.index.update(id, |w| w.expires = w.expires.max(until));
        self.index.watch_expiry(id);
        self.index.delay(id, until, "local");
    }

    /// Starts no further attempts until [`Core::resume`]: what they bring about could not be written down.
    pub fn pause(&mut self) {
        self.paused += 1;
    }

    /// Ends one [`Core::pause`].
    pub fn resume(&mut self) {
        self.paused = self.paused.saturating_sub(1);
    }

    /// An entry was to be given up or refused, and that could not be written down: it waits on.
    pub fn postpone(&mut self, entry: &Entry, now: Now) {
        self.put_back(entry, now);
    }

    /// An entry was given up or refused, and that is on disk.
    pub fn forget(&mut self, id: EntryId) {
        self.acts.forget(id);
        self.drop_entry(id);
    }

    fn drop_entry(&mut self, id: EntryId) {
        self.acts.keep(id, None);
        if let Some(gone) = self.index.remove(id) {
            self.senders.leave(gone.sender);
            self.domains.leave(gone.domain);
        }
    }

    /// These grants are on disk (or could not be written).
    pub fn grants_written(&mut self, grants: &[GrantRequest], durable: bool, now: Now) {
        for grant in grants {
            let owner = if durable {
                self.scheduler.grant_durable(grant, now)
            } else {
                self.scheduler.grant_failed(grant, now)
            };
            if let Some(owner) = owner {
                self.wake_for_grant(&owner);
            }
        }
    }

    /// News from the monitor or the operator.
    pub fn observe(&mut self, evidence: &Evidence, now: Now) -> Observed {
        self.note_listing(evidence);
        let observed = self.reported(std::slice::from_ref(evidence), now);
        self.forget_listing(evidence);
        observed
    }

    /// Puts a warm-up on a stage by the operator's word: that of a binding as a whole, or towards a provider. Mail that
    /// waits for its allowance looks again.
    ///
    /// # Errors
    /// In words: no such binding, or no warm-up there.
    pub fn set_stage(
        &mut self,
        binding: &BindingName,
        provider: Option<&ProviderName>,
        stage: usize,
        now: Now,
    ) -> (Result<StageChange, String>, Observed) {
        self.scheduler.tick(now);
        let set = self.scheduler.set_stage(binding, provider, stage, now);
        if set.is_ok() {
            self.wake_pools_of(binding);
        }
        (set, self.apply_health(Vec::new(), now))
    }

    /// Moves that time alone brings: of health (end of a suspension, next period of probation), of warm-ups (a new day).
    pub fn tick(&mut self, now: Now) -> Observed {
        self.scheduler.tick(now);
        let changes = self.reputation.tick(now.wall);
        self.apply_health(changes, now)
    }

    /// The exact use of every cap, for a clean stop; see [`Scheduler::final_grants`].
    pub fn final_grants(&mut self, now: Now) -> Vec<GrantRequest> {
        self.scheduler.tick(now);
        self.scheduler.final_grants()
    }

    /// What of the facts has not been written yet, for a clean stop.
    pub fn final_facts(&mut self, now: Now) -> Vec<Fact> {
        let mut facts = self.reputation.final_facts();
        facts.extend(self.scheduler.final_warmup_facts());
        facts.extend(self.scheduler.final_prediction_facts(now));
        facts
    }

    /// Healths and tallies.
    pub fn reputation(&self) -> &Reputation {
        &self.reputation
    }

    /// Caps, windows, names.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// What the scheduler answered so far.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// What waits.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Attempts on the wire.
    pub fn in_flight(&self) -> usize {
        self.slots.in_flight()
    }

    /// Why each binding of the entry's pool may or may not carry it now.
    pub fn explain(&self, id: EntryId, now: Now) -> Option<Vec<(BindingName, Verdict)>> {
        let waiting = self.index.get(id)?;
        let (name, state) = &self.domains[waiting.domain];
        let (plan, destination, _) = state.plan.as_ref()?;
        let region = self.scheduler.region_of(waiting.tenant, *destination, name);
        let cover = self.cover_of(waiting.tenant, waiting.sender);
        let request = request(waiting, *destination, plan, region, cover);
        let mut verdicts = self.scheduler.explain(&request, now);
        if let Some(held) = self.held_verdict(waiting.tenant, self.held(waiting, *destination, now)) {
            // Asked before the bindings, whatever they would say.
            verdicts.iter_mut().for_each(|(_, verdict)| *verdict = held.clone());
        }
        Some(verdicts.into_iter().map(|(b, v)| (self.scheduler.binding_name(b).clone(), v)).collect())
    }

    fn excluded(&self, entry: &Entry) -> Option<Box<[(BindingId, Wall)]>> {
        let known: Vec<_> = entry
            .state
            .excluded
            .iter()
            .filter_map(|(name, until)| Some((self.scheduler.binding_id(name)?, *until)))
            .collect();
        (!known.is_empty()).then(|| known.into_boxed_slice())
    }

    fn put_back(&mut self, entry: &Entry, now: Now) {
        if !self.is_in_force(&entry.pool, &entry.tenant) {
            return self.strand(entry);
        }
        let sticky = entry.state.sticky.as_ref().and_then(|(name, _)| self.scheduler.binding_id(name));
        let excluded = self.excluded(entry);
        let expires = self.index.get(entry.id).map(|w| w.expires);
        let may_have_fired = now.wall.max(self.index.fired_until());
        self.index.update(entry.id, |w| {
            w.expires = entry.expires;
            w.recipients = entry.recipients.len() as u32;
            w.attempts = entry.state.attempts;
            w.sticky = sticky;
            w.excluded = excluded;
            w.place = Place::Resolving;
        });
        if expires.is_some_and(|known| known != entry.expires || known <= may_have_fired) {
            // The timer may have fired while the entry was being worked on, also by a clock that was set back since; whatever blocks its lane, it must end.
            self.index.watch_expiry(entry.id);
        }
        self.stand(entry, now);
    }

    /// Where an entry goes that is nowhere: it is kept back, waits for its next try, or may leave.
    fn stand(&mut self, entry: &Entry, now: Now) {
        self.watch_delay(entry, now);
        let held = entry.state.held_at(now.wall).map(|hold| hold.until.unwrap_or(FAR));
        self.acts.keep(entry.id, held.map(|until| Kept { until, next_at: entry.state.next_at }));
        if self.follows(entry.id) {
            return;
        }
        if let Some(until) = held {
            self.index.delay(entry.id, until, HELD);
        } else if entry.state.next_at > now.wall {
            self.index.delay(entry.id, entry.state.next_at, "retry");
        } else if let Some(domain) = self.index.get(entry.id).map(|w| w.domain) {
            self.route(entry.id, domain, now);
        }
    }

    fn fire_timers(&mut self, now: Now) {
        for _ in 0..DUE_MAX {
            let Some(due) = self.index.next_due(now.wall) else { return };
            match due {
                // What has no place is not ended either.
                Due::Expired(id) | Due::Entry(id) | Due::Late(id) if self.strand_if_gone(id) => {}
                Due::Expired(id) => {
                    self.index.hold(id);
                    self.actions.push_back(Action::Expire(id));
                }
                Due::Late(id) => self.warn(id),
                Due::Entry(id) => {
                    if let Some(domain) = self.index.get(id).map(|w| w.domain) {
                        self.route(id, domain, now);
                    }
                }
            }
        }
    }

    fn ask_for_grants(&mut self) {
        let grants = self.scheduler.take_grant_requests();
        if !grants.is_empty() {
            self.actions.push_back(Action::WriteGrants(grants));
        }
    }

    fn apply_health(&mut self, changes: Vec<HealthChange>, now: Now) -> Observed {
        for change in &changes {
            self.scheduler.set_health(&change.subject, &change.to, now);
        }
        for signal in self.reputation.take_signals(now.wall) {
            self.scheduler.signalled(&signal, now);
        }
        self.note_suspensions(&changes);
        self.wake_concerned(&changes);
        let waived = self.follow_covers();
        let freed = self.reputation.take_freed();
        self.wake_freed(freed, now);
        let mut facts = self.reputation.take_facts();
        facts.extend(self.scheduler.take_facts());
        let mut notes = self.reputation.take_notes();
        notes.extend(waived);
        Observed {
            changes,
            holds: self.reputation.take_hold_changes(),
            notes,
            stages: self.scheduler.take_stage_changes(),
            facts,
            reactions: self.take_reactions(),
        }
    }
}
