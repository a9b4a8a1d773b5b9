//! The loop: what is due, what the core wants done, what the world answers.
//!
//! [`World`] holds the core as the dispatcher holds it, and everything the dispatcher would reach by wire or disk. A step
//! is: let time pass in the core, do what it asks, go on to the next moment at which anything happens. [`mail`] comes in,
//! [`attempt`] plays connections, [`happenings`] what the scenario brings about. Nothing here decides anything about mail.

mod attempt;
mod by_hand;
mod happenings;
mod mail;
mod measuring;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::attempt::Flight;
use self::by_hand::Handed;
pub use self::by_hand::Traced;
use super::agenda::{Agenda, Event};
use super::compare::Policy;
use super::compare::fuse::FixedFuse;
use super::disk::Disk;
use super::internet::Internet;
use super::invariants::Invariants;
use super::replies::Replies;
use super::report::{Meter, Recorder, Report};
use super::scenario::Scenario;
use super::traffic::Source;
use super::watcher::Watcher;
use crate::assignment::Assigner;
use crate::clock::{Clock, ManualClock, Now, Wall};
use crate::config::{Binding, Config};
use crate::delivery::plan::NoPlan;
use crate::message::{Domain, EntryId};
use crate::outcome::Classifier;
use crate::queue::core::{Action, Core, Observed};
use crate::reputation::Subject;
use crate::scheduler::CapUsage;
use crate::scheduler::cap::{Calendar, Day};

/// Time for a look-up of hosts.
const LOOK_UP: Duration = Duration::from_millis(5);
/// Time for a write to disk.
const WRITE: Duration = Duration::from_millis(4);
const HOUR: Duration = Duration::from_secs(3600);
/// Wake-ups for nothing within a second that are no circle.
const IDLE_MAX: u32 = 2_000;

/// A configuration, a scenario, and the core between them.
pub struct World {
    config: Config,
    scenario: Scenario,
    clock: ManualClock,
    end: Wall,
    calendar: Calendar,
    day: Day,
    core: Core,
    agenda: Agenda,
    disk: Disk,
    internet: Internet,
    watcher: Watcher,
    listed: Vec<(crate::message::ZoneName, std::net::IpAddr)>,
    assigner: Assigner,
    sources: Vec<Source>,
    handed: Vec<Handed>,
    flights: Vec<Option<Flight>>,
    free: Vec<usize>,
    random: SmallRng,
    next_id: u64,
    invariants: Invariants,
    recorder: Recorder,
    meter: Meter,
    policy: Policy,
    /// Of the baseline that has one.
    fuse: Option<FixedFuse>,
    usage: Vec<CapUsage>,
    idle: (i64, u32),
    /// Look everything over once the core has nothing to do.
    look: bool,
    trace: Option<Vec<Traced>>,
}

impl World {
    /// The world of a scenario that fits the configuration ([`Scenario::check_against`]); what names nothing in it is
    /// left out. It begins with the first day of the scenario, in the time zone of `[server] day`.
    pub fn new(config: Config, scenario: Scenario) -> Self {
        Self::with_rules(config, scenario, Arc::new(Classifier::shipped()))
    }

    /// The same where these rules read the replies: an operator's own over the shipped ones.
    pub fn with_rules(config: Config, scenario: Scenario, classifier: Arc<Classifier>) -> Self {
        Self::under(Policy::Remuda, config, scenario, classifier)
    }

    /// The same where a baseline decides.
    pub fn under(policy: Policy, config: Config, mut scenario: Scenario, classifier: Arc<Classifier>) -> Self {
        let config = policy.configured(config);
        scenario.settle();
        let calendar = Calendar::new(&config.server.day);
        let day = calendar.on(scenario.start);
        let days = jiff::Span::new().days(i64::from(scenario.days.min(36_500)));
        let last = scenario.start.checked_add(days).unwrap_or(scenario.start);
        let clock = ManualClock::at(day.start);
        let (now, seed) = (clock.now(), scenario.seed);
        let internet = Internet::new(&config, &scenario, Replies::read_by(classifier));
        let end = calendar.on(last).start;
        let mut this = Self {
            meter: Meter::new(&config, scenario.truth.as_ref(), now.wall, end),
            policy,
            fuse: (policy == Policy::FixedFuse).then(|| FixedFuse::new(config.bindings.len())),
            end,
            day,
            core: Core::new(&config, &[], &[], seed, now).0,
            agenda: Agenda::default(),
            disk: Disk::default(),
            watcher: Watcher::new(&config, &scenario, now.wall),
            listed: Vec::new(),
            assigner: Assigner::new(&config),
            sources: Vec::new(),
            handed: Vec::new(),
            flights: Vec::new(),
            free: Vec::new(),
            random: SmallRng::seed_from_u64(seed ^ 0x51_6d_75_6c_61_74_65),
            next_id: 0,
            invariants: Invariants::new(&config, internet.sites(), now.wall),
            recorder: Recorder::new(&config, &scenario.title, seed),
            usage: Vec::new(),
            idle: (0, 0),
            look: false,
            trace: None,
            calendar,
            clock,
            internet,
            config,
            scenario,
        };
        this.name_groups();
        let sources = this.scenario.traffic.iter();
        let sources = sources.filter_map(|model| Source::new(model, &this.config, |name| this.internet.by_name(name)));
        this.sources = sources.collect();
        this.plan_all();
        this
    }

    fn plan_all(&mut self) {
        let start = self.day.start;
        for (n, event) in self.scenario.events.iter().enumerate() {
            let at = start.plus(event.at);
            self.agenda.plan(at, Event::Begins(n));
            if let Some(lasts) = event.lasts {
                self.agenda.plan(at.plus(lasts), Event::Ends(n));
            }
        }
        self.agenda.plan(self.day.end, Event::Day);
        self.agenda.plan(start, Event::Hour);
        if !self.watcher.is_idle() {
            self.agenda.plan(start, Event::Round);
        }
    }

    /// The present.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// When the scenario ends.
    pub fn end(&self) -> Wall {
        self.end
    }

    /// The core, to look at.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// What is on disk, to look at.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What must not have happened so far.
    pub fn invariants(&self) -> &Invariants {
        &self.invariants
    }

    /// Everything so far.
    pub fn report(&self) -> Report {
        let waiting = self.disk.entries().map(|stored| (&stored.seen, stored.entry.recipients.len() as u64));
        self.recorder.report(self.invariants.fates(), self.meter.measures(waiting), self.invariants.violations())
    }

    /// Runs the whole scenario.
    pub fn run(&mut self) -> Report {
        while self.run_day() {}
        self.report()
    }

    /// Runs to the end of the present day; false when it was the last.
    pub fn run_day(&mut self) -> bool {
        let end = self.day.end.min(self.end);
        self.run_until(end);
        end < self.end
    }

    /// Runs for this long, also beyond the scenario's end.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now().wall.plus(span));
    }

    fn run_until(&mut self, end: Wall) {
        self.look = true;
        while self.step(end) {}
    }

    /// What is to be done now, and on to the next moment; false when that lies behind `end`.
    fn step(&mut self, end: Wall) -> bool {
        let now = self.now();
        let observed = self.core.tick(now);
        let mut acted = !observed.is_empty();
        self.observed(observed, now.wall);
        while let Some(action) = self.core.next(now) {
            acted = true;
            self.act(action, now);
        }
        if std::mem::take(&mut self.look) {
            self.invariants.look_over(&self.disk, &self.core, now.wall);
        }
        let (event, wakeup) = (self.agenda.next(), self.core.next_wakeup());
        let Some(next) = event.into_iter().chain(wakeup).min().filter(|next| *next <= end) else {
            // What happens at the very end is part of it.
            self.clock.advance_to(end);
            return false;
        };
        if event == Some(next) {
            self.clock.advance_to(next);
        } else {
            self.note_wakeup(acted, now.wall);
            // No clock of a machine would come back within the same moment.
            self.clock.advance_to(next.max(now.wall.plus(Duration::from_millis(1))));
        }
        let now = self.now();
        while let Some(event) = self.agenda.due(now.wall) {
            self.happen(event, now);
        }
        true
    }

    fn note_wakeup(&mut self, acted: bool, now: Wall) {
        let second = now.as_millis() / 1_000;
        if self.idle.0 != second || acted {
            self.idle = (second, 0);
        }
        self.idle.1 += 1;
        if self.idle.1 == IDLE_MAX {
            self.invariants.add("circle", now, || format!("{IDLE_MAX} wake-ups for nothing within a second"));
        }
    }

    fn act(&mut self, action: Action, now: Now) {
        match action {
            Action::Attempt(start) => self.attempt(start, now),
            Action::Resolve(domain) => self.agenda.plan(now.wall.plus(LOOK_UP), Event::Resolved(domain)),
            Action::WriteGrants(grants) => self.agenda.plan(now.wall.plus(WRITE), Event::Written(grants)),
            Action::Expire(id) => self.give_up(id, false, now),
            Action::Refuse { entry, .. } => self.give_up(entry, true, now),
            // Nobody acts by hand in here.
            Action::Act { .. } => {}
        }
    }

    fn give_up(&mut self, id: EntryId, refused: bool, now: Now) {
        self.core.forget(id);
        let Some(stored) = self.disk.remove(id) else {
            return self.invariants.add("once", now.wall, || format!("{id} was ended and is not on disk"));
        };
        let site = self.internet.site(stored.seen.site);
        self.invariants.ended_without(&stored, refused, site.planned.is_ok(), now.wall);
        let recipients = stored.entry.recipients.len() as u64;
        if refused {
            self.recorder.refused(&stored.seen, site.group, recipients);
            self.meter.unwanted(&stored.seen, self.wanted(&stored), stored.entry.arrived);
        } else {
            self.recorder.expired(recipients);
        }
        self.report_to_sender(&stored.entry, &stored.seen, now);
    }

    fn observed(&mut self, observed: Observed, now: Wall) {
        if observed.is_empty() {
            return;
        }
        for change in &observed.changes {
            self.invariants.changed(change, now);
            self.recorder.changed(change, now);
        }
        self.measure(&observed, now);
        self.disk.note(observed.facts);
    }

    fn happen(&mut self, event: Event, now: Now) {
        match event {
            Event::Day => self.day(now),
            Event::Hour => self.hour(now),
            Event::Begins(n) => self.begins(n, now),
            Event::Ends(n) => self.ends(n, now),
            Event::Arrival(source) => self.arrival(source, now),
            Event::Handed(n) => self.handed(n, now),
            Event::Answered(flight) => self.answered(flight, now),
            Event::Resolved(domain) => self.resolved(&domain, now),
            Event::Written(grants) => {
                grants.iter().for_each(|grant| self.disk.grant(grant));
                self.core.grants_written(&grants, true, now);
            }
            Event::Round => self.round(now),
            Event::Confirm => self.confirm(now),
        }
    }

    fn resolved(&mut self, domain: &Domain, now: Now) {
        let unknown = || Err(NoPlan::Temporary { text: format!("{domain} is nobody's") });
        let planned = self.internet.resolve(domain).unwrap_or_else(unknown);
        self.core.resolved(domain, planned, now);
    }

    fn day(&mut self, now: Now) {
        let (core, config, date) = (&self.core, &self.config, self.day.date);
        let state = |n: usize| {
            let binding = &config.bindings[n];
            let health = core.reputation().health(&Subject::Binding(binding.name.clone()));
            (health.as_str(), stage(core, binding))
        };
        self.recorder.day(date, &self.disk, &self.internet, &self.usage, state, now.wall);
        self.day = self.calendar.day(now.wall);
        self.agenda.plan(self.day.end, Event::Day);
    }

    fn hour(&mut self, now: Now) {
        self.look = true;
        let observed = self.core.tick(now);
        self.observed(observed, now.wall);
        self.usage = self.invariants.caps.sample(self.core.scheduler(), now);
        self.complaints(now);
        self.look_for_burnt(now.wall);
        let local = now.wall.timestamp().to_zoned(self.config.server.day.timezone.clone());
        let number = self.day.date.since(self.scenario.start).map_or(0, |span| span.get_days().max(0)) as u32;
        let weekday = self.day.date.weekday().to_monday_zero_offset() as u8;
        for (n, source) in self.sources.iter_mut().enumerate() {
            if let Some(first) = source.hour(now.wall, number, weekday, local.hour() as usize, &mut self.random) {
                self.agenda.plan(first, Event::Arrival(n));
            }
        }
        self.agenda.plan(now.wall.plus(HOUR), Event::Hour);
    }
}

/// The stage of a binding's warm-up, as long as it is on its ladder.
fn stage(core: &Core, binding: &Binding) -> Option<usize> {
    let mut ladders = core.scheduler().on_ladders();
    ladders.find(|on| on.binding == binding.name && on.provider.is_none()).map(|on| on.stage)
}
