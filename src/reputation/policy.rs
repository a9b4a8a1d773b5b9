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
//! | what feeds report | the route to the feed's receiver, or the binding, is throttled while that is fresh; never suspended |
//! | the operator's word | the binding or one route, before everything else; brought back for a span, automation does not suspend it meanwhile |
//!
//! Nothing else touches a binding as a whole: one receiver's refusal stays that receiver's.
//!
//! A binding on probation is suspended again when [`PROBATION_BLAMERS`] providers blame its IP; one of them only
//! spoils the period (its own route is suspended by the rule above). Otherwise a single receiver that never liked the
//! network would keep the binding out for good.
//!
//! A receiver that asks for less and blames the IP in one breath is answered by less: of such replies only those count
//! as blame that begin or clearly prolong the throttle, so that a burst of them counts once, and a try after each pause
//! (see [`crate::scheduler::window`]) counts again.
//!
//! Where automation only watches, all this is judged, kept and told in the same way, and acts on nothing (`State::acts`).
//!
//! Every evidence first lets time pass up to its `now`, so that the order of `tick` and `observe` does not matter.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::attempts::{Attempt, Sender};
use super::cells::Watched;
use super::complaints::Complaints;
use super::drift::Drifts;
use super::evidence::{Evidence, Listing, clipped};
use super::fuse::Kept;
use super::guard::Guard;
use super::health::{Health, HealthChange, Reason, Subject};
use super::holds::{Freed, HoldChange, Holds, Mail};
use super::kept::Orphan;
use super::late::Late;
use super::lists::Lists;
use super::moves::Moves;
use super::notes::Note;
use super::state::is_ahead;
use super::tally::{Steps, Tally};
use crate::clock::Wall;
use crate::config::{self, Automation, Config};
use crate::message::{BindingName, DestinationName};

/// Configured providers that must blame a binding on probation before it is suspended again as a whole.
pub const PROBATION_BLAMERS: usize = 2;

/// All healths and the tallies behind them.
#[derive(Debug)]
pub struct Reputation {
    pub(super) rules: config::Reputation,
    pub(super) throttle_weight: f64,
    pub(super) suspend_weight: f64,
    pub(super) guard: Guard,
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
    pub(super) drifts: Drifts,
    pub(super) timers: BTreeSet<(Wall, Subject)>,
    pub(super) dirty: BTreeSet<Subject>,
    /// What is remembered of bindings that are not configured (any more).
    pub(super) orphans: BTreeMap<Subject, Orphan>,
    /// For whom something around has changed: to be looked at.
    pub(super) stale: BTreeSet<Subject>,
    /// Whom the guard holds back.
    pub(super) withheld: BTreeSet<Subject>,
    /// Subjects on probation.
    pub(super) recovering: usize,
    /// Whose complaints or listings have changed.
    pub(super) signalled: BTreeSet<Subject>,
    pub(super) notes: Vec<Note>,
    /// A binding or a route came back since the held-back ones were looked at.
    pub(super) usable_again: BTreeSet<Subject>,
    /// Those that the guard held back are being looked at again.
    pub(super) relooking: bool,
    /// Reverse DNS is asked for: else nothing could clear what it once said.
    pub(super) asks_reverse_dns: bool,
    next_sweep: Wall,
    /// The moment of the last call.
    pub(super) now: Wall,
    /// The latest moment that was seen here, or before a restart.
    pub(super) latest: Wall,
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
            orphans: BTreeMap::new(),
            stale: BTreeSet::new(),
            withheld: BTreeSet::new(),
            recovering: 0,
            signalled: BTreeSet::new(),
            notes: Vec::new(),
            holds: Holds::default(),
            moves: Moves::default(),
            lists: Lists::new(config.reputation.window),
            complaints: Complaints::new(now),
            fuse_marks: Kept::default(),
            destinations_blamed: HashMap::new(),
            drifts: Drifts::default(),
            usable_again: BTreeSet::new(),
            relooking: false,
            asks_reverse_dns: config.monitor.fcrdns,
            next_sweep: now.plus(config.reputation.window),
            now,
            latest: now,
        };
        new.reconfigure(config);
        new
    }

    /// Takes over a changed configuration. Bindings that stay keep their health, as the new rules see it from the next
    /// [`tick`](Self::tick) on; those that come back continue what is remembered of them. Counts start again when the window
    /// changed. What the guard now thinks of a suspension shows at the next change of its subject.
    pub fn reconfigure(&mut self, config: &Config) {
        let window_changed = self.rules.window != config.reputation.window;
        self.rules = config.reputation.clone();
        self.throttle_weight = config.monitor.throttle_weight;
        self.suspend_weight = config.monitor.suspend_weight;
        self.guard = Guard::new(config);
        self.asks_reverse_dns = config.monitor.fcrdns;
        self.providers = config.providers.iter().map(|p| DestinationName::new(p.name.as_str())).collect();
        let window = self.rules.window;
        self.holds.keep_inert(self.rules.automation == Automation::Watch);
        let removed = self.bindings.extract_if(|name, _| config.bindings.iter().all(|b| b.name != *name));
        let removed: Vec<_> = removed.collect();
        removed.into_iter().for_each(|(name, watched)| self.orphan(&name, watched));
        for binding in &config.bindings {
            self.bindings.entry(binding.name.clone()).or_insert_with(|| Watched::new(window));
        }
        if !self.asks_reverse_dns {
            for watched in self.bindings.values_mut() {
                watched.own.state.lift(Reason::ReverseDns, &self.rules, self.now);
            }
        }
        self.adopt();
        if window_changed {
            self.lists = Lists::new(window);
            for watched in self.bindings.values_mut() {
                watched.own.tally = Tally::new(window);
                watched.routes.values_mut().for_each(|cell| cell.tally = Tally::new(window));
            }
        }
        let known = &self.bindings;
        self.complaints.retain(|name| known.contains_key(name));
        self.signalled.retain(|subject| known.contains_key(subject.binding()));
    }

    /// Concludes from one piece of evidence. Evidence about bindings that are not configured is ignored: it is the last
    /// word of an attempt that outlived its binding.
    pub fn observe(&mut self, evidence: &Evidence, now: Wall) -> Vec<HealthChange> {
        let mut changes = self.tick(now);
        let out = &mut changes;
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
                self.remember(binding, Some(destination), result);
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
                self.remember(binding, destination.as_ref(), result);
            }
            Evidence::Complaint { binding, destination, tenant, at, incidents } => {
                let about = Late { binding, destination: destination.as_ref(), tenant, at: (*at).min(now) };
                self.complaint(about, *incidents, now, out);
            }
            Evidence::OperatorRelease { tenant, destination } => {
                self.holds.operator_release(tenant, destination.as_ref());
            }
            Evidence::Unbindable { binding, detail } => self.unbindable(binding, detail, now, out),
            Evidence::Bindable { binding } => {
                self.change(&Subject::Binding(binding.clone()), "address can be bound", out, |s, _| s.bindable());
            }
            Evidence::Listings { binding, listed, .. } => self.weigh(binding, listed, now, out),
            Evidence::ReverseDns { binding, confirmed, detail } => {
                self.reverse_dns(binding, *confirmed, detail, now, out);
            }
            Evidence::Reported { binding, destination, until, detail } => {
                self.reported(binding, destination.as_ref(), *until, detail, now, out);
            }
            Evidence::OperatorSuspend { binding, destination, reason, span } => {
                self.operator_suspend(binding, destination.as_ref(), reason, *span, now, out);
            }
            Evidence::OperatorResume { binding, destination, span } => {
                self.resume(binding, destination.as_ref(), *span, now, out);
            }
        }
        self.relook(out);
        changes
    }

    /// Lets time pass: suspensions end in probation, periods of probation end, throttles end, penalties are forgiven.
    pub fn tick(&mut self, now: Wall) -> Vec<HealthChange> {
        let mut changes = Vec::new();
        self.now = now;
        self.latest = self.latest.max(now);
        if is_ahead(self.latest, now) {
            self.set_back();
            self.latest = now;
        }
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
        // A sweep further away than a window is a clock that was set back.
        if now >= self.next_sweep || self.next_sweep.since(now) > self.rules.window {
            self.holds.sweep(self.rules.hold_window, now);
            self.moves.sweep(self.rules.ip_block_window, now);
            self.drifts.sweep(&self.rules, now);
            self.next_sweep = now.plus(self.rules.window);
            self.forget_orphans();
            let (steps, blame_window) = (Steps::new(&self.rules), self.rules.ip_block_window);
            self.lists.sweep(steps, now);
            self.bindings.values_mut().for_each(|watched| watched.sweep(steps, now, blame_window));
        }
        changes
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn next_wakeup(&self) -> Option<Wall> {
        let own = self.timers.first().map(|(at, _)| *at);
        let at_once = (!self.stale.is_empty()).then_some(self.now);
        own.into_iter().chain(at_once).chain(self.holds.next_wakeup()).min()
    }

    /// Health of a subject; Active where nothing is known.
    pub fn health(&self, subject: &Subject) -> &Health {
        self.cell(subject).map_or(&Health::Active, |cell| &cell.state.health)
    }

    /// Health of every binding, and of the routes that are not active or have something held against them.
    pub fn all(&self) -> impl Iterator<Item = (Subject, &Health)> {
        self.bindings.iter().flat_map(|(name, watched)| {
            let own = (Subject::Binding(name.clone()), &watched.own.state.health);
            let routes = watched
                .routes
                .iter()
                .filter(|(_, cell)| cell.state.health != Health::Active || !cell.state.causes.is_empty());
            std::iter::once(own)
                .chain(routes.map(|(to, cell)| (Subject::Route(name.clone(), to.clone()), &cell.state.health)))
        })
    }

    /// Destinations that a binding has sent mail to lately.
    pub fn destinations(&self, binding: &BindingName) -> impl Iterator<Item = &DestinationName> {
        self.bindings.get(binding).into_iter().flat_map(|watched| watched.routes.keys())
    }

    /// Everything held against a subject, in words; empty where there is nothing. What does not act (automation only
    /// watches, the operator's shield) is told as what it would do, and until when.
    pub fn evidence(&self, subject: &Subject) -> String {
        self.cell(subject).map(|cell| cell.state.evidence(&self.rules)).unwrap_or_default()
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
}
