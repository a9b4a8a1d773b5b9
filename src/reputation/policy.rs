//! Thresholds and moves: evidence in, health changes out.
//!
//! | evidence | moves |
//! |---|---|
//! | hard bounces | the route whose fuse trips, or that alone explains why the binding's does; else the binding; nobody when one tenant explains it (a [`Note`] says so) |
//! | a reply that blames the IP | the route: at once where the rule says so or on probation, else after `ip_block_count` in `ip_block_window` |
//! | a rule's `SuspendBinding` | the binding at once |
//! | a rule's `BackOff` | the route is throttled |
//! | routes suspended for IP reasons at `providers_for_binding` configured providers | the binding |
//! | listings, reverse DNS, an address that cannot be bound | the binding, until the cause is gone |
//! | the operator's word | the binding, before everything else |
//!
//! Nothing else touches a binding as a whole: one receiver's refusal stays that receiver's.
//!
//! A binding on probation is suspended again when [`PROBATION_BLAMERS`] destinations blame its IP; one of them only
//! spoils the period (its own route is suspended by the rule above). Otherwise a single receiver that never liked the
//! network would keep the binding out for good.
//!
//! Every evidence first lets time pass up to its `now`, so that the order of `tick` and `observe` does not matter.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Wall;
use crate::config::{self, Config};
use crate::message::{BindingName, DestinationName, Domain, PoolName, TenantName};
use crate::outcome::{Action, Cause as WentWrong};

use super::evidence::{AttemptResult, Evidence, Listing};
use super::facts::{self, BadFact, Fact};
use super::fuse::{Judgement, acquits, judge};
use super::guard::{Guard, Standing};
use super::health::{Health, HealthChange, Reason, Subject, UNTIL_CLEARED};
use super::state::{Cause, Effect, State};
use super::tally::{Clusters, Count, Tally};

/// Destinations that must blame a binding on probation before it is suspended again as a whole.
pub const PROBATION_BLAMERS: usize = 2;

/// Characters of a reply kept as evidence.
const EVIDENCE_CHARS: usize = 300;

/// Something the operator should know that moved no health.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// Hard bounces over the limit that one tenant explains: the address was spared.
    TenantBlamed {
        /// Where it was seen.
        subject: Subject,
        /// Whose list is bad.
        tenant: TenantName,
        /// Counts.
        evidence: String,
    },
    /// A reply blames the tenant or its domain. Its mail is not held yet: the operator is told.
    TenantRefused {
        /// Where.
        subject: Subject,
        /// Whose mail.
        tenant: TenantName,
        /// The reply.
        evidence: String,
    },
    /// The pool guard held a suspension back; the binding is throttled instead.
    Withheld {
        /// Pool that could not spare it.
        pool: PoolName,
        /// Which binding.
        binding: BindingName,
        /// What it would have been suspended for.
        reason: Reason,
        /// Why it was held back, and the evidence.
        evidence: String,
    },
}

/// A subject's state and the counts behind it.
#[derive(Debug)]
struct Cell {
    state: State,
    tally: Tally,
    /// Recent refusals that blamed the IP (routes only).
    blames: VecDeque<Wall>,
    last_blame: Option<(TenantName, Domain, Wall)>,
    /// When a tenant was last noted as the cause.
    noted: HashMap<TenantName, Wall>,
    timer: Option<Wall>,
}

impl Cell {
    fn new(window: Duration) -> Self {
        Self {
            state: State::default(),
            tally: Tally::new(window),
            blames: VecDeque::new(),
            last_blame: None,
            noted: HashMap::new(),
            timer: None,
        }
    }

    fn is_idle(&mut self, now: Wall, blame_window: Duration) -> bool {
        self.state.is_blank()
            && self.tally.is_empty(now)
            && self.blames.back().is_none_or(|&last| now.since(last) > blame_window)
    }
}

#[derive(Debug)]
struct Watched {
    own: Cell,
    clusters: Clusters,
    routes: HashMap<DestinationName, Cell>,
}

/// All healths and the tallies behind them.
#[derive(Debug)]
pub struct Reputation {
    rules: config::Reputation,
    throttle_weight: f64,
    suspend_weight: f64,
    guard: Guard,
    /// Names of the configured providers: only their word, together, moves a binding as a whole. Anybody can set up three
    /// domains that refuse us.
    providers: BTreeSet<DestinationName>,
    bindings: HashMap<BindingName, Watched>,
    timers: BTreeSet<(Wall, Subject)>,
    dirty: BTreeSet<Subject>,
    notes: Vec<Note>,
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
            notes: Vec::new(),
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
            self.bindings.entry(binding.name.clone()).or_insert_with(|| Watched {
                own: Cell::new(window),
                clusters: Clusters::default(),
                routes: HashMap::new(),
            });
        }
        if window_changed {
            for watched in self.bindings.values_mut() {
                watched.own.tally = Tally::new(window);
                watched.routes.values_mut().for_each(|cell| cell.tally = Tally::new(window));
            }
        }
        let known = &self.bindings;
        self.timers.retain(|(_, subject)| known.contains_key(subject.binding()));
        self.dirty.retain(|subject| known.contains_key(subject.binding()));
    }

    /// Concludes from one piece of evidence. Evidence about bindings that are not configured is ignored: it is the last
    /// word of an attempt that outlived its binding.
    pub fn observe(&mut self, evidence: &Evidence, now: Wall) -> Vec<HealthChange> {
        let mut changes = self.tick(now);
        let out = &mut changes;
        match evidence {
            Evidence::Attempt { binding, destination, tenant, domain, result, .. } => {
                let attempt = Attempt { binding, destination, tenant, domain };
                self.attempt(attempt, result, now, out);
            }
            // Booked by the complaints and the late bounces' own accounts.
            Evidence::LateBounce { .. } | Evidence::Complaint { .. } => {}
            Evidence::Unbindable { binding, detail } => self.unbindable(binding, detail, now, out),
            Evidence::Bindable { binding } => {
                self.change(&Subject::Binding(binding.clone()), "address can be bound", out, |s, _| s.bindable());
            }
            Evidence::Listings { binding, listed } => self.weigh(binding, listed, now, out),
            Evidence::ReverseDns { binding, confirmed, detail } => {
                let subject = Subject::Binding(binding.clone());
                let text = clipped(detail);
                self.change(&subject, &text, out, |state, rules| match confirmed {
                    true => state.lift(Reason::ReverseDns, rules, now),
                    false => state.hold(Reason::ReverseDns, until_cleared(Effect::Suspend, false, &text), now),
                });
            }
            Evidence::OperatorSuspend { binding, reason, span } => {
                let until = span.map_or(UNTIL_CLEARED, |span| now.plus(span));
                let cause = Cause { effect: Effect::Suspend, until, certain: true, evidence: clipped(reason) };
                self.change(&Subject::Binding(binding.clone()), reason, out, |state, _| {
                    // The operator's latest word counts, also when it is shorter.
                    state.causes.insert(Reason::Operator, cause);
                });
            }
            Evidence::OperatorResume { binding } => self.resume(binding, now, out),
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
        if now >= self.next_sweep {
            self.next_sweep = now.plus(self.rules.window);
            let blame_window = self.rules.ip_block_window;
            for watched in self.bindings.values_mut() {
                watched.routes.retain(|_, cell| !cell.is_idle(now, blame_window));
            }
        }
        changes
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn next_wakeup(&self) -> Option<Wall> {
        self.timers.first().map(|(at, _)| *at)
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

    /// What must be written down since the last call. Call it after [`observe`](Self::observe) and
    /// [`tick`](Self::tick); most of the time it is empty.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.dirty)
            .into_iter()
            .map(|subject| match self.facts_for(&subject) {
                Some(json) => Fact::Put(facts::key(&subject), json),
                None => Fact::Remove(facts::key(&subject)),
            })
            .collect()
    }

    /// The subject's fact as JSON; `None` where there is nothing to remember.
    pub fn facts_for(&self, subject: &Subject) -> Option<Vec<u8>> {
        self.cell(subject).and_then(|cell| facts::write(subject, &cell.state))
    }

    /// Takes back a fact (`key` is for the error only). Facts of bindings that are not configured are ignored.
    pub fn restore(&mut self, key: &str, bytes: &[u8]) -> Result<(), BadFact> {
        let (subject, state) = facts::read(key, bytes)?;
        if let Some(cell) = find(&mut self.bindings, &subject, self.rules.window) {
            cell.state = state;
            self.arm(&subject);
        }
        Ok(())
    }

    fn attempt(&mut self, attempt: Attempt<'_>, result: &AttemptResult, now: Wall, out: &mut Vec<HealthChange>) {
        let window = self.rules.window;
        let Some(watched) = self.bindings.get_mut(attempt.binding) else { return };
        if !watched.routes.contains_key(attempt.destination) {
            watched.routes.insert(attempt.destination.clone(), Cell::new(window));
        }
        let bound_again = watched.own.state.unbindable > 0;
        match result {
            AttemptResult::Accepted => {
                watched.clusters.ends(attempt.tenant, attempt.domain);
                self.count(attempt, false, now);
                if bound_again {
                    self.change(&attempt.of_binding(), "address can be bound", out, |s, _| s.bindable());
                }
            }
            AttemptResult::Refused { cause: WentWrong::LocalAddress, text, .. } => {
                self.unbindable(attempt.binding, text, now, out);
            }
            AttemptResult::Refused { hard, counts_against_ip, action, rule, text, .. } => {
                let text = clipped(&format!("{} at {}: {text}", rule, attempt.destination));
                if *hard && watched.clusters.begins(attempt.tenant, attempt.domain, now) {
                    self.count(attempt, true, now);
                    self.fuse(attempt, now, out);
                }
                self.act(attempt, *action, &text, now, out);
                if *counts_against_ip {
                    self.blame(attempt, &text, now, out);
                }
            }
        }
    }

    fn count(&mut self, attempt: Attempt<'_>, event: bool, now: Wall) {
        let Some(watched) = self.bindings.get_mut(attempt.binding) else { return };
        let route = watched.routes.get_mut(attempt.destination);
        if watched.own.state.is_out() || route.as_ref().is_some_and(|cell| cell.state.is_out()) {
            // Answers still on the wire: what they say has been acted on, and must not reach the binding's count.
            return;
        }
        for cell in std::iter::once(&mut watched.own).chain(route) {
            cell.tally.add(attempt.tenant, event, now);
            if let Some(recovery) = &mut cell.state.recovery {
                let counter = if event { &mut recovery.hard } else { &mut recovery.accepted };
                *counter = counter.saturating_add(1);
            }
        }
    }

    /// The fuse of the route first, then the binding's over all routes together.
    fn fuse(&mut self, attempt: Attempt<'_>, now: Wall, out: &mut Vec<HealthChange>) {
        for subject in [attempt.of_route(), attempt.of_binding()] {
            let Some(cell) = find(&mut self.bindings, &subject, self.rules.window) else { return };
            if cell.state.is_out() || cell.state.wants_out().is_some() {
                continue;
            }
            match judge(&mut cell.tally, &self.rules, now) {
                Judgement::Fine => {}
                Judgement::Trips(count) => {
                    let subject = self.guilty_route(&subject, count, now).unwrap_or(subject);
                    self.trip(&subject, now, out);
                }
                Judgement::Tenant { tenant, own, rest } => {
                    if cell.noted.get(&tenant).is_some_and(|&noted| now.since(noted) < self.rules.window) {
                        continue;
                    }
                    cell.noted.insert(tenant.clone(), now);
                    let evidence = format!(
                        "{tenant}: {} hard bounces in {} attempts; all others: {} in {}",
                        own.events, own.attempts, rest.events, rest.attempts
                    );
                    self.notes.push(Note::TenantBlamed { subject, tenant, evidence });
                }
            }
        }
    }

    /// The route that alone explains why its binding's fuse tripped, although it has too few attempts for its own.
    fn guilty_route(&mut self, subject: &Subject, total: Count, now: Wall) -> Option<Subject> {
        let Subject::Binding(binding) = subject else { return None };
        let watched = self.bindings.get_mut(binding)?;
        let counts = watched.routes.iter_mut().map(|(to, cell)| (cell.tally.total(now), to));
        let (count, to) = counts.max_by(|(a, x), (b, y)| a.events.cmp(&b.events).then_with(|| y.cmp(x)))?;
        acquits(total.without(count), &self.rules).then(|| Subject::Route(binding.clone(), to.clone()))
    }

    /// Suspends for hard bounces. A route's counts are taken out of its binding's, which is then judged by what
    /// happened elsewhere.
    fn trip(&mut self, subject: &Subject, now: Wall, out: &mut Vec<HealthChange>) {
        let Some(cell) = find(&mut self.bindings, subject, self.rules.window) else { return };
        let mut tripped = std::mem::replace(&mut cell.tally, Tally::new(self.rules.window));
        if let (Subject::Route(..), Some(watched)) = (subject, self.bindings.get_mut(subject.binding())) {
            watched.own.tally.take_out(&tripped);
        }
        let count = tripped.total(now);
        let text = format!("{} hard bounces in {} attempts", count.events, count.attempts);
        self.change(subject, &text, out, |state, rules| {
            state.penalise(Reason::HardBounces, Duration::ZERO, &text, rules, now);
        });
    }

    /// What the rule that read the reply asks for.
    fn act(&mut self, attempt: Attempt<'_>, action: Action, text: &str, now: Wall, out: &mut Vec<HealthChange>) {
        match action {
            Action::None | Action::HoldContent(_) => {}
            Action::HoldTenant(_) => self.note_refused(attempt, text, now),
            Action::BackOff(span) => self.change(&attempt.of_route(), text, out, |state, _| {
                let until = now.plus(span);
                let cause = Cause { effect: Effect::Throttle, until, certain: false, evidence: text.to_owned() };
                state.hold(Reason::RateLimited, cause, now);
            }),
            Action::SuspendRoute(span) | Action::FixBinding(span) => self.suspend_route(attempt, span, text, now, out),
            Action::SuspendBinding(span) => self.change(&attempt.of_binding(), text, out, |state, rules| {
                state.penalise(Reason::IpBlocked, span, text, rules, now);
            }),
        }
    }

    /// Notes a reply that blames the tenant, once per window, route and tenant.
    fn note_refused(&mut self, attempt: Attempt<'_>, text: &str, now: Wall) {
        let subject = attempt.of_route();
        let window = self.rules.window;
        let Some(cell) = find(&mut self.bindings, &subject, window) else { return };
        if cell.noted.get(attempt.tenant).is_some_and(|&noted| now.since(noted) < window) {
            return;
        }
        cell.noted.insert(attempt.tenant.clone(), now);
        self.notes.push(Note::TenantRefused { subject, tenant: attempt.tenant.clone(), evidence: clipped(text) });
    }

    /// A reply that blames the IP, whatever the rule asked for besides.
    fn blame(&mut self, attempt: Attempt<'_>, text: &str, now: Wall, out: &mut Vec<HealthChange>) {
        let (window, count) = (self.rules.ip_block_window, self.rules.ip_block_count.max(1) as usize);
        let route = attempt.of_route();
        let Some(cell) = find(&mut self.bindings, &route, self.rules.window) else { return };
        let this = (attempt.tenant.clone(), attempt.domain.clone(), now);
        if cell.last_blame.as_ref() == Some(&this) {
            // Another recipient of the same refused message.
            return;
        }
        cell.last_blame = Some(this);
        cell.state.clean_since = cell.state.clean_since.max(now);
        let at_once = cell.state.recovery.is_some();
        if !cell.state.is_out() {
            cell.blames.retain(|&at| now.since(at) < window);
            cell.blames.push_back(now);
            if at_once || cell.blames.len() >= count {
                self.suspend_route(attempt, Duration::ZERO, text, now, out);
            }
        }
        self.blame_on_probation(attempt, now, out);
    }

    fn blame_on_probation(&mut self, attempt: Attempt<'_>, now: Wall, out: &mut Vec<HealthChange>) {
        let Some(watched) = self.bindings.get_mut(attempt.binding) else { return };
        watched.own.state.clean_since = watched.own.state.clean_since.max(now);
        let Some(recovery) = &mut watched.own.state.recovery else { return };
        recovery.blamed = true;
        if !recovery.blamed_by.contains(attempt.destination) {
            recovery.blamed_by.push(attempt.destination.clone());
        }
        if recovery.blamed_by.len() < PROBATION_BLAMERS.min(self.rules.providers_for_binding.max(1)) {
            return;
        }
        let text = format!("blamed on probation by {}", joined(&recovery.blamed_by));
        self.change(&attempt.of_binding(), &text, out, |state, rules| {
            state.penalise(Reason::ManyProviders, Duration::ZERO, &text, rules, now);
        });
    }

    /// Suspends a route for an IP reason, and the binding when that makes too many of them.
    fn suspend_route(
        &mut self,
        attempt: Attempt<'_>,
        least: Duration,
        text: &str,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) {
        let mut new = false;
        self.change(&attempt.of_route(), text, out, |state, rules| {
            new = state.penalise(Reason::IpBlocked, least, text, rules, now);
        });
        let Some(watched) = self.bindings.get(attempt.binding).filter(|_| new) else { return };
        let mut out_at: Vec<DestinationName> = watched
            .routes
            .iter()
            .filter(|(to, cell)| self.providers.contains(*to) && cell.state.suspended_for(Reason::IpBlocked))
            .map(|(destination, _)| destination.clone())
            .collect();
        if out_at.len() < self.rules.providers_for_binding.max(1) || watched.own.state.wants_out().is_some() {
            return;
        }
        out_at.sort();
        let text = format!("suspended at {}: {text}", joined(&out_at));
        self.change(&attempt.of_binding(), &text, out, |state, rules| {
            state.penalise(Reason::ManyProviders, Duration::ZERO, &text, rules, now);
        });
    }

    fn unbindable(&mut self, binding: &BindingName, detail: &str, now: Wall, out: &mut Vec<HealthChange>) {
        let text = clipped(detail);
        self.change(&Subject::Binding(binding.clone()), &text, out, |state, _| state.unbindable(text.clone(), now));
    }

    fn weigh(&mut self, binding: &BindingName, listed: &[Listing], now: Wall, out: &mut Vec<HealthChange>) {
        let sum: f64 = listed.iter().map(|l| l.weight).sum();
        let certain: f64 = listed.iter().filter(|l| l.certain).map(|l| l.weight).sum();
        let (throttle, suspend) = (self.throttle_weight, self.suspend_weight);
        let zones: Vec<String> = listed.iter().map(|l| format!("{} ({})", l.zone, l.codes)).collect();
        let text = match zones.is_empty() {
            true => "not listed".to_owned(),
            false => format!("listed by {}, weight {sum}", zones.join(", ")),
        };
        self.change(&Subject::Binding(binding.clone()), &text, out, |state, rules| {
            state.listed = listed.to_vec();
            let out = sum >= suspend;
            if !out {
                state.lift(Reason::Listed, rules, now);
            }
            if out || sum >= throttle {
                let effect = if out { Effect::Suspend } else { Effect::Throttle };
                state.hold(Reason::Listed, until_cleared(effect, certain >= suspend, &text), now);
            }
        });
    }

    fn resume(&mut self, binding: &BindingName, now: Wall, out: &mut Vec<HealthChange>) {
        let Some(watched) = self.bindings.get_mut(binding) else { return };
        let mut subjects = vec![Subject::Binding(binding.clone())];
        subjects.extend(watched.routes.iter_mut().filter(|(_, cell)| !cell.state.is_blank()).map(|(to, cell)| {
            cell.blames.clear();
            Subject::Route(binding.clone(), to.clone())
        }));
        for subject in subjects {
            self.change(&subject, "resumed by the operator", out, |state, _| state.resume(now));
        }
    }

    /// Changes a state and shows the result.
    fn change(
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

/// Names of one attempt.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    binding: &'a BindingName,
    destination: &'a DestinationName,
    tenant: &'a TenantName,
    domain: &'a Domain,
}

impl Attempt<'_> {
    fn of_binding(self) -> Subject {
        Subject::Binding(self.binding.clone())
    }

    fn of_route(self) -> Subject {
        Subject::Route(self.binding.clone(), self.destination.clone())
    }
}

/// The cell of a subject; routes of known bindings are made as they appear.
fn find<'a>(
    bindings: &'a mut HashMap<BindingName, Watched>,
    subject: &Subject,
    window: Duration,
) -> Option<&'a mut Cell> {
    let watched = bindings.get_mut(subject.binding())?;
    Some(match subject {
        Subject::Binding(_) => &mut watched.own,
        Subject::Route(_, destination) => {
            watched.routes.entry(destination.clone()).or_insert_with(|| Cell::new(window))
        }
    })
}

/// What automation wants a binding out for; the longest.
fn wanted(state: &State) -> Reason {
    let automatic = state.causes.iter().filter(|(r, c)| **r != Reason::Operator && c.effect == Effect::Suspend);
    automatic.max_by_key(|(_, c)| c.until).map_or(Reason::Operator, |(reason, _)| *reason)
}

fn until_cleared(effect: Effect, certain: bool, evidence: &str) -> Cause {
    Cause { effect, until: UNTIL_CLEARED, certain, evidence: evidence.to_owned() }
}

fn clipped(text: &str) -> String {
    text.chars().take(EVIDENCE_CHARS).collect()
}

fn joined(names: &[DestinationName]) -> String {
    names.iter().map(DestinationName::as_str).collect::<Vec<_>>().join(", ")
}
