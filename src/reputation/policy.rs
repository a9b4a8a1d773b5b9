//! Thresholds and moves: evidence in, health changes out.
//!
//! | evidence | moves |
//! |---|---|
//! | hard bounces | the route whose fuse trips, or that alone explains why the binding's does; else the binding; neither where a tenant, its campaign, a recipient's domain or the destination explains them (`fuse`) |
//! | a reply that blames the IP | the route: at once where the rule says so or on probation, else after `ip_block_count` in `ip_block_window` |
//! | the same about the binding's network | also the routes of those who share it (`moves` says who is believed) |
//! | the same over one binding after the other | no further binding: the mail is held ([`moves`](super::moves)) |
//! | the same, told by mail | nothing by itself; it adds to the count of the route's session ([`late`](super::late)) |
//! | a rule's `SuspendBinding` | the binding at once |
//! | a rule's `BackOff` | the route is throttled, and with scope range those of all bindings in the range to the same receiver |
//! | a rule's `FixBinding` | the route, as misconfigured; a note tells what to mend |
//! | a rule's `HoldTenant` | no binding: the tenant's mail is held ([`holds`](super::holds)) |
//! | hard bounces that come back later | as if they had come at once, where that still matters ([`late`](super::late)) |
//! | routes suspended for the IP or its set-up at `providers_for_binding` configured providers | the binding |
//! | listings, reverse DNS, an address that cannot be bound | the binding, until the cause is gone |
//! | the operator's word | the binding, before everything else |
//!
//! Nothing else touches a binding as a whole: one receiver's refusal stays that receiver's.
//!
//! A binding on probation is suspended again when [`PROBATION_BLAMERS`] destinations blame its IP; one of them only
//! spoils the period (its own route is suspended by the rule above). Otherwise a single receiver that never liked the
//! network would keep the binding out for good.
//!
//! A receiver that asks for less and blames the IP in one breath is answered by less: of such replies only those count
//! as blame that begin or clearly prolong the throttle, so that a burst of them counts once, and a try after each pause
//! (see [`crate::scheduler::window`]) counts again.
//!
//! Every evidence first lets time pass up to its `now`, so that the order of `tick` and `observe` does not matter.

use std::collections::{BTreeSet, HashMap};

use super::attempts::{Attempt, Sender};
use super::cells::{Cell, Watched, find};
use super::complaints::Complaints;
use super::evidence::{Evidence, Listing, clipped};
use super::facts::{self, BadFact, Fact};
use super::fuse::Kept;
use super::guard::{Guard, Standing};
use super::health::{Health, HealthChange, Reason, Subject};
use super::holds::{Freed, HoldChange, Holds, Mail};
use super::late::Late;
use super::lists::Lists;
use super::moves::Moves;
use super::notes::Note;
use super::state::{Effect, State};
use super::tally::{Steps, Tally};
use crate::clock::Wall;
use crate::config::{self, Automation, Config};
use crate::message::{BindingName, DestinationName, PoolName};

/// Destinations that must blame a binding on probation before it is suspended again as a whole.
pub const PROBATION_BLAMERS: usize = 2;

/// All healths and the tallies behind them.
#[derive(Debug)]
pub struct Reputation {
    pub(super) rules: config::Reputation,
    pub(super) throttle_weight: f64,
    pub(super) suspend_weight: f64,
    guard: Guard,
    /// Names of the configured providers: only their word, together, moves a binding as a whole. Anybody can set up three
    /// domains that refuse us.
    pub(super) providers: BTreeSet<DestinationName>,
    pub(super) bindings: HashMap<BindingName, Watched>,
    pub(super) holds: Holds,
    pub(super) moves: Moves,
    /// Hard bounces of each tenant, over all bindings.
    pub(super) lists: Lists,
    pub(super) complaints: Complaints,
    /// Excursions of the fuse that are to be written.
    pub(super) fuse_marks: Kept,
    /// Destinations that explained hard bounces, and when that was noted.
    pub(super) destinations_blamed: HashMap<DestinationName, Wall>,
    ticked: Wall,
    timers: BTreeSet<(Wall, Subject)>,
    dirty: BTreeSet<Subject>,
    /// Whose complaints or listings have changed.
    pub(super) signalled: BTreeSet<Subject>,
    pub(super) notes: Vec<Note>,
    /// A binding came back since the held-back ones were looked at.
    usable_again: bool,
    next_sweep: Wall,
}

impl Reputation {
    /// Everything active; follow with [`restore`](Self::restore) for each fact and a [`tick`](Self::tick).
    pub fn new(config: &Config, now: Wall) -> Self {
        let mut new = Self {
            rules: config.reputation.clone(),
            throttle_weight: config.monitor.throttle_weight,
            suspend_weight: config.monitor.suspend_weight,
            guard: Guard::new(config),
            providers: BTreeSet::new(),
            bindings: HashMap::new(),
            timers: BTreeSet::new(),
            dirty: BTreeSet::new(),
            signalled: BTreeSet::new(),
            notes: Vec::new(),
            holds: Holds::default(),
            moves: Moves::default(),
            lists: Lists::new(config.reputation.window),
            complaints: Complaints::new(now),
            fuse_marks: Kept::default(),
            destinations_blamed: HashMap::new(),
            ticked: now,
            usable_again: false,
            next_sweep: now.plus(config.reputation.window),
        };
        new.reconfigure(config);
        new
    }

    /// Takes over a changed configuration. Bindings that stay keep their health; counts start again when the window
    /// changed. What the guard now thinks of a suspension shows at the binding's next change.
    pub fn reconfigure(&mut self, config: &Config) {
        let window_changed = self.rules.window != config.reputation.window;
        self.rules = config.reputation.clone();
        self.throttle_weight = config.monitor.throttle_weight;
        self.suspend_weight = config.monitor.suspend_weight;
        self.guard = Guard::new(config);
        self.providers = config.providers.iter().map(|p| DestinationName::new(p.name.as_str())).collect();
        let window = self.rules.window;
        self.bindings.retain(|name, _| config.bindings.iter().any(|b| b.name == *name));
        for binding in &config.bindings {
            self.bindings.entry(binding.name.clone()).or_insert_with(|| Watched::new(window));
        }
        if window_changed {
            self.lists = Lists::new(window);
            for watched in self.bindings.values_mut() {
                watched.own.tally = Tally::new(window);
                watched.routes.values_mut().for_each(|cell| cell.tally = Tally::new(window));
            }
        }
        let known = &self.bindings;
        self.complaints.retain(|name| known.contains_key(name));
        self.timers.retain(|(_, subject)| known.contains_key(subject.binding()));
        self.dirty.retain(|subject| known.contains_key(subject.binding()));
        self.signalled.retain(|subject| known.contains_key(subject.binding()));
    }

    /// Concludes from one piece of evidence. Evidence about bindings that are not configured is ignored: it is the last
    /// word of an attempt that outlived its binding.
    pub fn observe(&mut self, evidence: &Evidence, now: Wall) -> Vec<HealthChange> {
        let mut changes = self.tick(now);
        let out = &mut changes;
        let moves_by_itself = matches!(
            evidence,
            Evidence::OperatorSuspend { .. }
                | Evidence::OperatorResume { .. }
                | Evidence::OperatorRelease { .. }
                | Evidence::Unbindable { .. }
                | Evidence::Bindable { .. }
        );
        if self.rules.automation == Automation::Watch && !moves_by_itself {
            return changes;
        }
        match evidence {
            Evidence::Attempt {
                binding,
                destination,
                tenant,
                domain,
                message,
                stream,
                sender_domain,
                took,
                result,
            } => {
                let attempt = Attempt { binding, destination, tenant, domain };
                let sender = Sender { message: *message, stream, domain: sender_domain.as_ref() };
                self.drift(attempt, result, *took, now, out);
                self.attempt(attempt, sender, result, now, out);
            }
            Evidence::Range { bindings, destination, tenant, domain, action, text } => {
                let text = clipped(text);
                for binding in bindings {
                    let attempt = Attempt { binding, destination, tenant, domain };
                    self.neighbour_refused(attempt, *action, &text, now, out);
                }
            }
            // The domain is what the report says: nothing is concluded from it.
            Evidence::LateBounce { binding, destination, tenant, domain: _, at, result } => {
                // What was sent in the future was sent before the clock was set back.
                let late = Late { binding, destination: destination.as_ref(), tenant, at: (*at).min(now) };
                self.late_bounce(late, result, now, out);
            }
            Evidence::Complaint { binding, destination, tenant, at, incidents } => {
                let about = Late { binding, destination: destination.as_ref(), tenant, at: (*at).min(now) };
                self.complaint(about, *incidents, now);
            }
            Evidence::OperatorRelease { tenant, destination } => {
                self.holds.operator_release(tenant, destination.as_ref());
            }
            Evidence::Unbindable { binding, detail } => self.unbindable(binding, detail, now, out),
            Evidence::Bindable { binding } => {
                self.change(&Subject::Binding(binding.clone()), "address can be bound", out, |s, _| s.bindable());
            }
            Evidence::Listings { binding, listed } => self.weigh(binding, listed, now, out),
            Evidence::ReverseDns { binding, confirmed, detail } => {
                self.reverse_dns(binding, *confirmed, detail, now, out);
            }
            Evidence::OperatorSuspend { binding, destination: _, reason, span } => {
                self.operator_suspend(binding, reason, *span, now, out);
            }
            Evidence::OperatorResume { binding, destination: _, span: _ } => self.resume(binding, now, out),
        }
        self.relook(out);
        changes
    }

    /// Lets time pass: suspensions end in probation, periods of probation end, throttles end, penalties are forgiven.
    pub fn tick(&mut self, now: Wall) -> Vec<HealthChange> {
        let mut changes = Vec::new();
        // Each is served once: what becomes due anew at this very moment waits for the next call.
        let due: Vec<Subject> =
            self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, subject)| subject.clone()).collect();
        for subject in due {
            self.change(&subject, "time", &mut changes, |state, rules| state.expire(rules, now));
        }
        self.relook(&mut changes);
        self.holds.tick(self.rules.hold_window, now);
        self.complaints.tick(now);
        self.fuse_marks.tick(now);
        self.ticked = now;
        // A sweep further away than a window is a clock that was set back.
        if now >= self.next_sweep || self.next_sweep.since(now) > self.rules.window {
            self.holds.sweep(self.rules.hold_window, now);
            self.moves.sweep(self.rules.ip_block_window, now);
            self.next_sweep = now.plus(self.rules.window);
            let (steps, blame_window) = (Steps::new(&self.rules), self.rules.ip_block_window);
            self.lists.sweep(steps, now);
            self.bindings.values_mut().for_each(|watched| watched.sweep(steps, now, blame_window));
        }
        changes
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn next_wakeup(&self) -> Option<Wall> {
        let own = self.timers.first().map(|(at, _)| *at);
        own.into_iter().chain(self.holds.next_wakeup()).min()
    }

    /// Health of a subject; Active where nothing is known.
    pub fn health(&self, subject: &Subject) -> &Health {
        self.cell(subject).map_or(&Health::Active, |cell| &cell.state.health)
    }

    /// Health of every binding, and of the routes that are not active.
    pub fn all(&self) -> impl Iterator<Item = (Subject, &Health)> {
        self.bindings.iter().flat_map(|(name, watched)| {
            let own = (Subject::Binding(name.clone()), &watched.own.state.health);
            let routes = watched.routes.iter().filter(|(_, cell)| cell.state.health != Health::Active);
            std::iter::once(own)
                .chain(routes.map(|(to, cell)| (Subject::Route(name.clone(), to.clone()), &cell.state.health)))
        })
    }

    /// Destinations that a binding has sent mail to lately.
    pub fn destinations(&self, binding: &BindingName) -> impl Iterator<Item = &DestinationName> {
        self.bindings.get(binding).into_iter().flat_map(|watched| watched.routes.keys())
    }

    /// Everything held against a subject, in words; empty where there is nothing.
    pub fn evidence(&self, subject: &Subject) -> String {
        self.cell(subject).map(|cell| cell.state.evidence()).unwrap_or_default()
    }

    /// Confirmed listings of a binding as last told or restored: what the monitor starts from.
    pub fn listings(&self, binding: &BindingName) -> &[Listing] {
        self.bindings.get(binding).map_or(&[], |watched| &watched.own.state.listed)
    }

    /// What the operator should know besides the changes, since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Moves of holds since the last call.
    pub fn take_hold_changes(&mut self) -> Vec<HoldChange> {
        self.holds.take_changes()
    }

    /// Mail that may be looked at again since the last call, because it is held no more.
    pub fn take_freed(&mut self) -> Vec<Freed> {
        self.holds.take_freed()
    }

    /// What is held, for whom and where.
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Tells that a message which [`Holds::held`] let pass is tried now.
    pub fn begins(&mut self, mail: Mail<'_>, now: Wall) {
        self.holds.begins(mail, now);
    }

    /// Complaints and late bounces against what was accepted.
    pub fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    /// What must be written down since the last call. Call it after [`observe`](Self::observe) and
    /// [`tick`](Self::tick); most of the time it is empty.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        let dirty = std::mem::take(&mut self.dirty).into_iter();
        let mut all: Vec<Fact> = dirty
            .map(|subject| match self.facts_for(&subject) {
                Some(json) => Fact::Put(facts::key(&subject), json),
                None => Fact::Remove(facts::key(&subject)),
            })
            .collect();
        all.extend(self.holds.take_facts());
        all.extend(self.complaints.take_facts());
        all.extend(self.fuse_facts(self.ticked));
        all
    }

    /// [`take_facts`](Self::take_facts) for a clean stop: with what would be written a moment later.
    pub fn final_facts(&mut self) -> Vec<Fact> {
        self.complaints.flush();
        self.fuse_marks.flush();
        self.take_facts()
    }

    /// The subject's fact as JSON; `None` where there is nothing to remember.
    pub fn facts_for(&self, subject: &Subject) -> Option<Vec<u8>> {
        self.cell(subject).and_then(|cell| facts::write(subject, &cell.state))
    }

    /// Takes back a fact of one of [`facts::PREFIXES`]. Healths of bindings that are not configured are ignored.
    pub fn restore(&mut self, key: &str, bytes: &[u8]) -> Result<(), BadFact> {
        let bad = |source| BadFact { key: key.to_owned(), source };
        if key.starts_with(facts::HOLD_PREFIX) {
            return self.holds.restore(bytes).map_err(bad);
        }
        if key.starts_with(facts::COMPLAINTS_PREFIX) {
            let known = &self.bindings;
            return self.complaints.restore(bytes, |name| known.contains_key(name)).map_err(bad);
        }
        if key.starts_with(facts::FUSE_PREFIX) {
            return self.restore_fuse(bytes).map_err(bad);
        }
        let (subject, state) = facts::read(key, bytes)?;
        if let Some(cell) = find(&mut self.bindings, &subject, self.rules.window) {
            cell.state = state;
            self.arm(&subject);
        }
        Ok(())
    }

    /// Changes a state and shows the result.
    pub(super) fn change(
        &mut self,
        subject: &Subject,
        evidence: &str,
        out: &mut Vec<HealthChange>,
        act: impl FnOnce(&mut State, &config::Reputation),
    ) {
        let Some(cell) = find(&mut self.bindings, subject, self.rules.window) else { return };
        let before = cell.state.clone();
        act(&mut cell.state, &self.rules);
        self.usable_again |= self.show(subject, before, evidence, out);
    }

    /// Lets the bindings that the guard holds back look again when another one has become usable. Not before all that is
    /// due has been served: a suspension that ends at this moment must not begin at it.
    fn relook(&mut self, out: &mut Vec<HealthChange>) {
        if !std::mem::take(&mut self.usable_again) {
            return;
        }
        let mut withheld: Vec<Subject> = self
            .bindings
            .iter()
            .filter(|(_, watched)| watched.own.state.withheld)
            .map(|(name, _)| Subject::Binding(name.clone()))
            .collect();
        withheld.sort();
        for subject in withheld {
            let Some(before) = self.cell(&subject).map(|cell| cell.state.clone()) else { continue };
            let evidence = before.evidence();
            self.show(&subject, before, &evidence, out);
        }
    }

    /// Brings the shown health in line with the causes. Returns whether a binding became usable that was not.
    fn show(&mut self, subject: &Subject, before: State, evidence: &str, out: &mut Vec<HealthChange>) -> bool {
        let Some(cell) = self.cell(subject) else { return false };
        let withheld = self.withholds(subject, &before, &cell.state);
        if let (Some((pool, why)), Subject::Binding(binding), false) = (&withheld, subject, before.withheld) {
            self.notes.push(Note::Withheld {
                pool: pool.clone(),
                binding: binding.clone(),
                reason: wanted(&cell.state),
                evidence: format!("{why}; {evidence}"),
            });
        }
        let Some(cell) = find(&mut self.bindings, subject, self.rules.window) else { return false };
        cell.state.settle(withheld.is_some());
        let to = cell.state.shown();
        if to != before.health {
            cell.state.health = to.clone();
            if cell.state.is_out() {
                cell.tally.clear();
                cell.blames.clear();
            }
            out.push(HealthChange {
                subject: subject.clone(),
                from: before.health.clone(),
                to: to.clone(),
                evidence: evidence.to_owned(),
            });
        }
        if cell.state != before {
            self.dirty.insert(subject.clone());
        }
        self.arm(subject);
        matches!(subject, Subject::Binding(_))
            && matches!(before.health, Health::Suspended { .. })
            && !matches!(to, Health::Suspended { .. })
    }

    /// Whether the pool guard holds back what automation wants for this binding. What is certain passes; what already
    /// is out stays out.
    fn withholds(&self, subject: &Subject, before: &State, state: &State) -> Option<(PoolName, String)> {
        let Subject::Binding(binding) = subject else { return None };
        if state.wants_out() != Some(false) || (before.wants_out() == Some(false) && !before.withheld) {
            return None;
        }
        self.guard.holds_back(binding, |other| match self.bindings.get(other).map(|w| &w.own.state.health) {
            Some(Health::Suspended { reason: Reason::Operator, .. }) | None => Standing::OutByOperator,
            Some(Health::Suspended { .. }) => Standing::OutByAutomation,
            Some(_) => Standing::Usable,
        })
    }

    fn arm(&mut self, subject: &Subject) {
        let Some(cell) = find(&mut self.bindings, subject, self.rules.window) else { return };
        let next = cell.state.next_moment(&self.rules);
        let last = std::mem::replace(&mut cell.timer, next);
        if last != next {
            if let Some(last) = last {
                self.timers.remove(&(last, subject.clone()));
            }
            self.timers.extend(next.map(|next| (next, subject.clone())));
        }
    }

    fn cell(&self, subject: &Subject) -> Option<&Cell> {
        let watched = self.bindings.get(subject.binding())?;
        match subject {
            Subject::Binding(_) => Some(&watched.own),
            Subject::Route(_, destination) => watched.routes.get(destination),
        }
    }
}

/// What automation wants a binding out for; the longest.
fn wanted(state: &State) -> Reason {
    let automatic = state.causes.iter().filter(|(r, c)| **r != Reason::Operator && c.effect == Effect::Suspend);
    automatic.max_by_key(|(_, c)| c.until).map_or(Reason::Operator, |(reason, _)| *reason)
}
