//! The real core in a world of its own: virtual clock, seeded chance, modelled receivers. Days pass in seconds.
//!
//! Only the world is modelled; scheduler, reputation, queue index and the life of an entry are the program's own. The
//! invariants of the design hold after every step, whatever the seed. A failure prints the seed that replays it:
//! `REMUDA_SIM_SEED=n cargo test --test simulation`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use remuda::clock::{Clock, ManualClock, Wall};
use remuda::config::Config;
use remuda::delivery::plan::{MxPlan, NoPlan};
use remuda::message::{BindingName, DestinationName, Domain, Entry, EntryId, EntryState, MessageId, Recipient};
use remuda::outcome::classify::{Classifier, Context};
use remuda::outcome::{Disposition, EnhancedCode, Reply, Stage};
use remuda::queue::core::{Action, Core, Start};
use remuda::queue::state::Answered;
use remuda::reputation::{Health, Subject};
use remuda::scheduler::Settlement;
use remuda::scheduler::cap::GrantRequest;

/// What a modelled receiver says to one recipient.
type Receiver = Box<dyn Fn(&BindingName, &Domain, Wall, &mut SmallRng) -> &'static str>;

const ACCEPT: &str = "250 2.0.0 ok";
const BLOCKED: &str = "550 5.7.1 Service unavailable, client host [192.0.2.1] blocked using local reputation list";

enum Event {
    Arrive(Box<Entry>),
    Done(Box<Start>),
    Resolved(Domain),
    Written(Vec<GrantRequest>),
}

struct World {
    config: Config,
    clock: ManualClock,
    core: Core,
    events: BinaryHeap<Reverse<(Wall, u64)>>,
    pending: HashMap<u64, Event>,
    next_event: u64,
    disk: BTreeMap<EntryId, Entry>,
    grants: BTreeMap<String, GrantRequest>,
    receiver: Receiver,
    random: SmallRng,
    classifier: Arc<Classifier>,
    accepted: u64,
    delivered: u64,
    bounced: u64,
    expired: u64,
    /// (binding, destination domain, day) → accepted recipients.
    carried: BTreeMap<(BindingName, String, i64), u64>,
    trace: Vec<(Wall, BindingName, Domain, Disposition)>,
}

impl World {
    fn new(config: &str, seed: u64, receiver: Receiver) -> Self {
        let config = Config::from_toml(config).expect("the configuration is good");
        let clock =
            ManualClock::at(Wall::from("2026-11-22T00:00:00Z".parse::<jiff::Timestamp>().expect("a timestamp")));
        let (core, _) = Core::new(&config, &[], &[], seed, clock.now());
        Self {
            config,
            clock,
            core,
            events: BinaryHeap::new(),
            pending: HashMap::new(),
            next_event: 0,
            disk: BTreeMap::new(),
            grants: BTreeMap::new(),
            receiver,
            random: SmallRng::seed_from_u64(seed),
            classifier: Arc::new(Classifier::shipped()),
            accepted: 0,
            delivered: 0,
            bounced: 0,
            expired: 0,
            carried: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    fn at(&mut self, at: Wall, event: Event) {
        self.next_event += 1;
        self.events.push(Reverse((at, self.next_event)));
        self.pending.insert(self.next_event, event);
    }

    /// One message to `domain`, arriving `after` the start of the world's present.
    fn send(&mut self, after: Duration, tenant: &str, domain: &str) {
        let at = self.clock.now().wall.plus(after);
        self.accepted += 1;
        let id = self.accepted;
        let entry = Entry {
            id: EntryId(id),
            message: MessageId(id),
            tenant: tenant.into(),
            stream: "default".into(),
            pool: "main".into(),
            domain: domain.parse().expect("a domain"),
            reverse_path: Some(format!("s@{tenant}.example").parse().expect("a mailbox")),
            recipients: vec![Recipient {
                address: format!("u{id}@{domain}").parse().expect("a mailbox"),
                state: Default::default(),
            }],
            arrived: at,
            expires: at.plus(self.config.queue.lifetime),
            size: 2048,
            eight_bit: false,
            state: EntryState::default(),
        };
        self.at(at, Event::Arrive(Box::new(entry)));
    }

    /// Lets the world run until `end`.
    fn run_until(&mut self, end: Wall) {
        loop {
            let now = self.clock.now();
            self.core.tick(now);
            while let Some(action) = self.core.next(now) {
                self.act(action);
            }
            let event = self.events.peek().map(|Reverse((at, _))| *at);
            let next = [event, self.core.next_wakeup()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.clock.advance_to(end);
                return;
            };
            // A wake-up that lies in the past and changes nothing would stop the world.
            self.clock.advance_to(next.max(now.wall.plus(Duration::from_millis(u64::from(event != Some(next))))));
            while let Some(Reverse((at, id))) = self.events.peek().copied() {
                if at > self.clock.now().wall {
                    break;
                }
                self.events.pop();
                if let Some(event) = self.pending.remove(&id) {
                    self.happen(event);
                }
            }
        }
    }

    fn run_for(&mut self, span: Duration) {
        let end = self.clock.now().wall.plus(span);
        self.run_until(end);
    }

    fn act(&mut self, action: Action) {
        let now = self.clock.now();
        match action {
            Action::Attempt(start) => {
                self.check_permitted(&start, now.wall);
                let took = Duration::from_millis(self.random.random_range(5..200));
                self.at(now.wall.plus(took), Event::Done(Box::new(start)));
            }
            Action::Resolve(domain) => self.at(now.wall.plus(Duration::from_millis(3)), Event::Resolved(domain)),
            Action::WriteGrants(grants) => self.at(now.wall.plus(Duration::from_millis(1)), Event::Written(grants)),
            Action::Expire(id) => {
                if let Some(entry) = self.disk.remove(&id) {
                    assert!(now.wall >= entry.expires, "nothing expires before its time");
                    self.expired += entry.recipients.len() as u64;
                }
                self.core.forget(id);
            }
            Action::Refuse { entry, .. } => {
                let gone = self.disk.remove(&entry);
                self.bounced += gone.map_or(0, |e| e.recipients.len() as u64);
                self.core.forget(entry);
            }
        }
    }

    /// Invariant 4: a suspended binding or route receives nothing.
    fn check_permitted(&self, start: &Start, now: Wall) {
        let binding = start.binding.name.clone();
        let route = Subject::Route(binding.clone(), start.plan.destination.clone());
        for subject in [Subject::Binding(binding), route] {
            let health = self.core.reputation().health(&subject);
            let suspended = matches!(health, Health::Suspended { until, .. } if *until > now);
            assert!(!suspended, "{subject:?} is suspended and was given an attempt at {now}");
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Arrive(entry) => {
                assert!(self.core.enqueue(&entry, now), "pool and tenant are known");
                self.disk.insert(entry.id, *entry);
            }
            Event::Resolved(domain) => {
                let planned = if domain.as_str() == "gone.example" {
                    let enhanced = EnhancedCode { class: 5, subject: 1, detail: 10 };
                    Err(NoPlan::Permanent { enhanced, text: "null MX".into() })
                } else {
                    Ok(Arc::new(plan(&domain)))
                };
                self.core.resolved(&domain, planned, now);
            }
            Event::Written(grants) => {
                for grant in &grants {
                    self.grants.insert(grant.fact_key(), grant.clone());
                }
                self.core.grants_written(&grants, true, now);
            }
            Event::Done(start) => self.conclude(*start),
        }
    }

    fn conclude(&mut self, start: Start) {
        let now = self.clock.now();
        let mut entry = self.disk.get(&start.entry).cloned().expect("an attempt's entry is on disk");
        let text = (self.receiver)(&start.binding.name, &entry.domain, now.wall, &mut self.random);
        let reply = reply(text);
        let context = Context { stage: Stage::EndOfData, provider: None, own: &[] };
        let outcome = self.classifier.reply(&reply, context);
        let accepted = outcome.disposition == Disposition::Delivered;
        self.trace.push((now.wall, start.binding.name.clone(), entry.domain.clone(), outcome.disposition));
        let answers = [Answered { recipient: 0, outcome, text: text.into(), host: None }];
        let took = Some(Duration::from_millis(100));
        let random = self.random.random();
        let (_, settled) = self.core.concluded(&start.lease, &mut entry, &answers, took, random, now);
        for decided in &settled.decided {
            match decided.disposition {
                Disposition::Delivered => self.delivered += 1,
                Disposition::Expired => self.expired += 1,
                _ => self.bounced += 1,
            }
        }
        if accepted {
            let day = now.wall.as_millis().div_euclid(86_400_000);
            let key = (start.binding.name.clone(), entry.domain.to_string(), day);
            *self.carried.entry(key).or_default() += 1;
        }
        if settled.waits {
            self.disk.insert(entry.id, entry.clone());
        } else {
            self.disk.remove(&entry.id);
        }
        let settlement = Settlement::Accepted(u32::from(accepted));
        self.core.settled(entry.id, start.lease, settlement, settled.waits.then_some(&entry), now);
    }

    /// Invariant 1: everyone accepted is delivered, bounced, expired or still waiting; once.
    fn check_sum(&self) {
        let waiting: u64 = self.disk.values().map(|e| e.recipients.len() as u64).sum();
        let arrivals = self.pending.values().filter(|e| matches!(e, Event::Arrive(_))).count() as u64;
        assert_eq!(self.accepted, self.delivered + self.bounced + self.expired + waiting + arrivals);
    }

    fn carried_by(&self, binding: &str) -> u64 {
        self.carried.iter().filter(|((b, ..), _)| b.as_str() == binding).map(|(_, n)| n).sum()
    }

    /// Kill -9: memory is gone; entries and durable grants are what is left. Attempts on the wire never report.
    fn crash(&mut self) {
        let grants: Vec<_> = self.grants.values().cloned().collect();
        let now = self.clock.now();
        self.core = Core::new(&self.config, &grants, &[], self.random.random(), now).0;
        self.pending.retain(|_, event| matches!(event, Event::Arrive(_)));
        let entries: Vec<_> = self.disk.values().cloned().collect();
        for entry in entries {
            assert!(self.core.enqueue(&entry, now));
        }
    }
}

fn plan(domain: &Domain) -> MxPlan {
    MxPlan::pinned_to(DestinationName::new(format!("site:{domain}")))
}

fn reply(text: &str) -> Reply {
    let mut words = text.splitn(3, ' ');
    let code = words.next().and_then(|w| w.parse().ok()).expect("a code");
    let enhanced = words.next().and_then(|w| {
        let numbers: Vec<u16> = w.split('.').filter_map(|n| n.parse().ok()).collect();
        let [class, subject, detail] = numbers[..] else { return None };
        Some(EnhancedCode { class: u8::try_from(class).ok()?, subject, detail })
    });
    Reply { code, enhanced, text: words.next().unwrap_or_default().to_owned() }
}

fn config(extra: &str) -> String {
    let mut text = String::from(
        "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
         [tenant.acme]\nmatch = { sender_domain = [\"acme.example\"] }\npools = { default = \"main\" }\n\
         [tenant.bolt]\nmatch = { sender_domain = [\"bolt.example\"] }\npools = { default = \"main\" }\n",
    );
    text.push_str(extra);
    text
}

fn bindings(caps: &[Option<u64>]) -> String {
    let mut text = String::new();
    for (n, cap) in caps.iter().enumerate() {
        let n = n + 1;
        text.push_str(&format!(
            "[binding.m{n}]\nbind_address = \"192.0.2.{n}\"\nehlo_hostname = \"m{n}.example.net\"\n"
        ));
        if let Some(cap) = cap {
            text.push_str(&format!("daily_cap = {cap}\n"));
        }
    }
    text
}

fn seeds() -> Vec<u64> {
    match std::env::var("REMUDA_SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("REMUDA_SIM_SEED is a number")],
        Err(_) => (1..=3).collect(),
    }
}

/// Runs `story` for every seed and names the one that fails.
fn for_seeds(story: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds() {
        if let Err(panic) = std::panic::catch_unwind(|| story(seed)) {
            eprintln!("replay with REMUDA_SIM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_blocked_binding_comes_back_by_a_trickle_and_then_fully() {
    for_seeds(|seed| {
        let text = config(&(bindings(&[None, None]) + "[pool.main]\nactive = [\"m1\", \"m2\"]\n"));
        let blocked_until = Wall::from("2026-11-22T00:30:00Z".parse::<jiff::Timestamp>().expect("a timestamp"));
        let mut world = World::new(
            &text,
            seed,
            Box::new(move |binding, domain, now, _| {
                let hit = binding.as_str() == "m1" && domain.as_str() == "alpha.example" && now < blocked_until;
                if hit { BLOCKED } else { ACCEPT }
            }),
        );
        for n in 0..40_000u64 {
            let domain = if n % 2 == 0 { "alpha.example" } else { "beta.example" };
            world.send(Duration::from_millis(n * 1_000), "acme", domain);
        }
        world.run_for(12 * HOUR);
        world.check_sum();
        assert_eq!((world.delivered, world.bounced), (40_000, 0), "nothing bounces because of a blocked IP");

        let route: Vec<_> = world
            .trace
            .iter()
            .filter(|(_, b, d, _)| b.as_str() == "m1" && d.as_str() == "alpha.example")
            .map(|(at, .., disposition)| (*at, *disposition))
            .collect();
        let refused = route.iter().filter(|(_, d)| *d == Disposition::Deferred).count();
        assert!((1..=60).contains(&refused), "refusals seen before the route was taken out: {refused}");
        let last = route.iter().filter(|(_, d)| *d == Disposition::Deferred).map(|(at, _)| *at).max().expect("one");
        let back = route.iter().map(|(at, _)| *at).filter(|at| *at > last).min().expect("it comes back");
        assert!(back.since(last) >= Duration::from_secs(14 * 60), "out for {:?}", back.since(last));
        let carried = |from: Duration, to: Duration| {
            route.iter().filter(|(at, _)| (back.plus(from)..back.plus(to)).contains(at)).count()
        };
        let period = world.config.reputation.probation_period;
        // Half a period, because mail may begin to flow some time after the period did.
        let first = carried(Duration::ZERO, period / 2);
        assert!(
            (1..=world.config.reputation.probation_start as usize).contains(&first),
            "the first period is a trickle: {first}"
        );
        // 0.5 messages a second to alpha, half of them to m1 once it is active again.
        let later = carried(period * 8, period * 8 + HOUR);
        assert!((800..=1_000).contains(&later), "fully back: {later} of about 900 an hour");

        let beta = world.trace.iter().filter(|(_, b, d, _)| b.as_str() == "m1" && d.as_str() == "beta.example").count();
        // What the other carried alone to alpha is set off: m1 may carry more of beta for it, never more than half of all.
        assert!(beta >= 9_000, "other destinations kept using it: {beta}");
        assert!(beta + route.len() <= 20_100, "{beta} to beta and {} to alpha of 40,000", route.len());
    });
}

#[test]
fn caps_hold_on_every_day_through_crashes_and_the_rest_waits_for_the_next_day() {
    for_seeds(|seed| {
        let text = config(&(bindings(&[Some(100), Some(50)]) + "[pool.main]\nactive = [\"m1\", \"m2\"]\n"));
        let mut world = World::new(&text, seed, Box::new(|_, _, _, _| ACCEPT));
        for _ in 0..500 {
            let after = Duration::from_millis(world.random.random_range(0..86_400_000));
            world.send(after, "acme", "alpha.example");
        }
        for _ in 0..9 {
            let span = Duration::from_secs(world.random.random_range(3_600..80_000));
            world.run_for(span);
            world.crash();
            world.check_sum_at_most();
        }
        world.run_for(6 * 24 * HOUR);
        for ((binding, _, day), n) in &world.carried {
            let cap = if binding.as_str() == "m1" { 100 } else { 50 };
            assert!(*n <= cap, "{binding} carried {n} on day {day}");
        }
        let attempts = world.disk.values().map(|e| e.state.attempts).max().unwrap_or(0);
        assert_eq!(attempts, 0, "waiting for a cap costs no attempt");
        assert!(world.delivered >= 450, "four days carry nearly all: {}", world.delivered);
    });
}

impl World {
    /// After a crash what was on the wire may be delivered again: at least everything is accounted for.
    fn check_sum_at_most(&self) {
        let waiting: u64 = self.disk.values().map(|e| e.recipients.len() as u64).sum();
        let arrivals = self.pending.values().filter(|e| matches!(e, Event::Arrive(_))).count() as u64;
        assert_eq!(self.accepted, self.delivered + self.bounced + self.expired + waiting + arrivals, "nothing is lost");
    }
}

#[test]
fn backups_carry_only_while_every_active_binding_is_out() {
    for_seeds(|seed| {
        let text =
            config(&(bindings(&[None, None, None]) + "[pool.main]\nactive = [\"m1\", \"m2\"]\nbackup = [[\"m3\"]]\n"));
        let from = Wall::from("2026-11-22T02:00:00Z".parse::<jiff::Timestamp>().expect("a timestamp"));
        let to = from.plus(HOUR);
        let mut world = World::new(
            &text,
            seed,
            Box::new(
                move |binding, _, now, _| {
                    if binding.as_str() != "m3" && now >= from && now < to { BLOCKED } else { ACCEPT }
                },
            ),
        );
        for n in 0..36_000u64 {
            world.send(Duration::from_secs(n), "acme", "alpha.example");
        }
        world.run_for(30 * HOUR);
        world.check_sum();
        assert_eq!((world.delivered, world.bounced, world.expired), (36_000, 0, 0));
        let backup: Vec<Wall> =
            world.trace.iter().filter(|(_, b, ..)| b.as_str() == "m3").map(|(at, ..)| *at).collect();
        let first = *backup.first().expect("the backup took over");
        assert!(first >= from, "and not before: {first}");
        assert!(world.carried_by("m3") > 1_000, "carried {}", world.carried_by("m3"));
        let last = *backup.last().expect("one");
        assert!(last < to.plus(12 * HOUR), "drained back: last at {last}");
    });
}

#[test]
fn one_tenants_burst_does_not_starve_another() {
    for_seeds(|seed| {
        let text = config(
            &(bindings(&[None])
                + "[binding.m1.provider.none]\n[pool.main]\nactive = [\"m1\"]\n[provider.none]\nmx = [\"mx.none.example\"]\n")
            .replace("[binding.m1.provider.none]\n", "rate_limit = \"10/s\"\n"),
        );
        let mut world = World::new(&text, seed, Box::new(|_, _, _, _| ACCEPT));
        for _ in 0..20_000 {
            world.send(Duration::ZERO, "acme", "alpha.example");
        }
        for n in 0..100u64 {
            world.send(Duration::from_secs(10 + n), "bolt", "alpha.example");
        }
        world.run_for(Duration::from_secs(300));
        let waits: Vec<_> = world.disk.values().filter(|e| e.tenant.as_str() == "bolt").collect();
        assert!(waits.is_empty(), "{} of the small tenant's messages wait behind the burst", waits.len());
        world.check_sum();
    });
}

#[test]
fn a_domain_that_takes_no_mail_bounces_at_once_and_blames_nobody() {
    for_seeds(|seed| {
        let text = config(&(bindings(&[None]) + "[pool.main]\nactive = [\"m1\"]\n"));
        let mut world = World::new(&text, seed, Box::new(|_, _, _, _| ACCEPT));
        for _ in 0..200 {
            world.send(Duration::ZERO, "acme", "gone.example");
        }
        world.run_for(HOUR);
        assert_eq!((world.bounced, world.trace.len()), (200, 0));
        assert_eq!(*world.core.reputation().health(&Subject::Binding("m1".into())), Health::Active);
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let text = config(&(bindings(&[Some(300), None, None]) + "[pool.main]\nactive = [\"m1\", \"m2\", \"m3\"]\n"));
        let mut world = World::new(
            &text,
            seed,
            Box::new(|_, _, _, random| match random.random_range(0..20) {
                0 => "451 4.7.1 greylisted, try again later",
                1 => "550 5.1.1 user unknown",
                2 => BLOCKED,
                _ => ACCEPT,
            }),
        );
        for n in 0..3_000u64 {
            world.send(
                Duration::from_millis(n * 700),
                "acme",
                if n % 3 == 0 { "alpha.example" } else { "beta.example" },
            );
        }
        world.run_for(24 * HOUR);
        world.check_sum();
        world.trace
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8), "and another seed another");
}
