//! How long a reload keeps the queue's lock while a million entries wait, in the pure core.
//!
//! 200 tenants, one of which has a fifth of the mail, in 10 pools of 10 bindings, to 2,000 destinations; every fourth entry
//! waits for its next try, the others stand in lanes since no binding can be used. Each reload is made anew on a queue of
//! its own: what the operator would be told is asked twice, the configuration is taken over, and then the loop goes on as
//! the dispatcher has it, until it has nothing to do. Printed are the longest time for which the lock was held at each of
//! these, and for how long in all.
//!
//! `walk` is what asking cost when all entries were walked for it: the same sums, made over [`Core::index`].

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use remuda::clock::{Mono, Now, Wall};
use remuda::config::*;
use remuda::delivery::plan::MxPlan;
use remuda::message::{BindingName, DestinationName, Entry, EntryId, EntryState, Mailbox, MessageId, Wishes};
use remuda::queue::core::{Action, Core};
use remuda::reputation::Evidence;

const ENTRIES: u64 = 1_000_000;
const POOLS: usize = 10;
const BINDINGS: usize = 100;
const TENANTS: usize = 200;
const DOMAINS: u64 = 2_000;
/// As many actions as the dispatcher takes before it gives the lock back.
const STARTS_MAX: usize = 512;
const NOW: Now = Now { mono: Mono::from_nanos(1), wall: Wall::from_millis(1_779_278_400_000) };

fn binding(n: usize) -> BindingName {
    BindingName::new(format!("mta{n}"))
}

fn config() -> Config {
    let members = |pool: usize| {
        (0..BINDINGS).filter(move |n| n % POOLS == pool).map(|n| Member { binding: binding(n), weight: 1 })
    };
    let pool = |n: usize| Pool::new(format!("pool{n}").as_str(), vec![members(n).collect()]);
    Config {
        bindings: (0..BINDINGS).map(|n| Arc::new(Binding::new(binding(n), [127, 0, 0, 1].into()))).collect(),
        pools: (0..POOLS).map(pool).collect(),
        tenants: (0..TENANTS).map(|n| Tenant::new(format!("tenant{n}").as_str())).collect(),
        ..Config::bare("relay.example.net".parse().expect("a domain"))
    }
}

fn entry(id: u64) -> Entry {
    let tenant = if id.is_multiple_of(5) { 0 } else { 1 + id as usize % (TENANTS - 1) };
    let domain = format!("d{}.example", id % DOMAINS);
    let tried = id.is_multiple_of(4);
    let next_at = if tried { NOW.wall.plus(Duration::from_secs(3_600)) } else { NOW.wall };
    Entry {
        id: EntryId(id),
        message: MessageId(id),
        tenant: format!("tenant{tenant}").as_str().into(),
        stream: "default".into(),
        pool: format!("pool{}", id as usize / 7 % POOLS).as_str().into(),
        domain: domain.parse().expect("a domain"),
        reverse_path: Some(format!("x@tenant{tenant}.example").parse().expect("a mailbox")),
        recipients: vec![format!("u@{domain}").parse::<Mailbox>().expect("a mailbox").into()],
        arrived: NOW.wall,
        expires: NOW.wall.plus(Duration::from_secs(5 * 86_400)),
        size: 2048,
        eight_bit: false,
        wishes: Wishes::NONE,
        state: EntryState { next_at, ..EntryState::default() },
    }
}

/// The longest and the sum.
#[derive(Default)]
struct Held {
    most: Duration,
    all: Duration,
    times: u64,
}

impl Held {
    fn hold<T>(&mut self, what: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = black_box(what());
        let took = began.elapsed();
        self.most = self.most.max(took);
        self.all += took;
        self.times += 1;
        result
    }
}

/// What the dispatcher does between two waits, with the lock held; the lookups that it would make.
fn turn(core: &mut Core) -> (bool, Vec<remuda::message::Domain>) {
    let mut asked = Vec::new();
    core.tick(NOW);
    for _ in 0..STARTS_MAX {
        match core.next(NOW) {
            None => return (core.next_wakeup().is_some_and(|at| at <= NOW.wall), asked),
            Some(Action::Resolve(domain)) => asked.push(domain),
            Some(Action::WriteGrants(grants)) => core.grants_written(&grants, true, NOW),
            Some(_) => {}
        }
    }
    (true, asked)
}

/// Until there is nothing to do.
fn run(core: &mut Core, held: &mut Held) {
    loop {
        let (has_more, asked) = held.hold(|| turn(core));
        for domain in &asked {
            let plan = MxPlan::pinned_to(DestinationName::new(format!("site:{domain}")));
            core.resolved(domain, Ok(Arc::new(plan)), NOW);
        }
        if !has_more && asked.is_empty() {
            return;
        }
    }
}

fn full(config: &Config) -> Core {
    let (mut core, _) = Core::new(config, &[], &[], 1, NOW);
    for n in 0..BINDINGS {
        core.observe(&Evidence::Unbindable { binding: binding(n), detail: "not there".into() }, NOW);
    }
    for id in 1..=ENTRIES {
        assert!(core.enqueue(&entry(id), NOW));
    }
    run(&mut core, &mut Held::default());
    assert_eq!(core.index().depth().0 as u64, ENTRIES);
    core
}

fn walk(core: &Core) -> usize {
    let mut counts: HashMap<_, (u64, u64)> = HashMap::new();
    for (_, waiting) in core.index().iter() {
        if waiting.tenant.index() == 0 {
            let count = counts.entry((waiting.pool, waiting.tenant)).or_default();
            *count = (count.0 + 1, count.1 + u64::from(waiting.recipients));
        }
    }
    counts.len()
}

fn main() {
    let before = config();
    let mut added = before.clone();
    added.bindings.push(Arc::new(Binding::new(binding(BINDINGS), [127, 0, 0, 1].into())));
    added.pools[0].tiers[0].push(Member { binding: binding(BINDINGS), weight: 1 });
    let mut tiers = before.clone();
    let backup = tiers.pools[0].tiers[0].split_off(5);
    tiers.pools[0].tiers.push(backup);
    let mut removed = before.clone();
    removed.tenants.retain(|tenant| tenant.name.as_str() != "tenant0");
    let mut capped = before.clone();
    Arc::make_mut(&mut capped.bindings[0]).limits.daily_cap = Some(1_000);
    let cases =
        [("a binding more", added), ("other tiers", tiers), ("a tenant less", removed), ("a cap, by an order", capped)];
    println!(
        "{:<20} {:>10} {:>10} {:>12} {:>12} {:>14}",
        "", "walk", "asked", "taken over", "longest turn", "all turns"
    );
    for (what, after) in cases {
        let mut core = full(&before);
        let (mut walked, mut asked, mut taken, mut turns) =
            (Held::default(), Held::default(), Held::default(), Held::default());
        walked.hold(|| walk(&core));
        for _ in 0..2 {
            asked.hold(|| core.would_strand(&after));
        }
        taken.hold(|| core.reconfigure(&before, &after, NOW));
        run(&mut core, &mut turns);
        let stranded = core.stranded_len().0;
        assert_eq!(stranded as u64, if what == "a tenant less" { ENTRIES / 5 } else { 0 });
        println!(
            "{what:<20} {:>10.2?} {:>10.2?} {:>12.2?} {:>12.2?} {:>9.2?} ({})",
            walked.most, asked.most, taken.most, turns.most, turns.all, turns.times
        );
    }
}
