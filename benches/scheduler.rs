//! What one decision costs — pick, caps, limiters, window, lease and settlement — in pools of 10, 100, 1,000 and 10,000
//! bindings, and what the scheduler remembers costs in bytes.
//!
//! | name | what |
//! |---|---|
//! | `all_free` | every binding is eligible; caps, limiter and window of binding and tenant |
//! | `provider_limits` | the same at a provider with caps, limiter and window per route |
//! | `half_out` | half of the pool is suspended |
//! | `half_shut` | half of the pool is suspended at this one destination |
//! | `backup` | all actives are suspended at this one destination, the backups carry it |
//! | `regions` | a quarter of the pool is in the region of the mail |
//! | `cover/…` | the sender's SPF record bars one binding, half of the pool, all but one |
//! | `cover/half_backup` | it bars half of the actives and of the backups, and the actives it leaves are suspended |
//! | `reputation` | weights are bent at a provider; every tenth binding does badly |
//! | `headroom`, `sticky` | the other order; a preferred binding that may carry it |
//! | `refusal/…` | nobody may: all suspended, all suspended there, all windows full |
//!
//! `experienced`: what an attempt teaches, with weights that follow reputation and without. `ledger`: reserve and commit alone. Bytes are counted by the allocator and printed first.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use remuda::clock::{Mono, Now, Wall};
use remuda::config::*;
use remuda::message::{BindingName, DestinationName, ProviderName, TenantName};
use remuda::reputation::{Health, Reason, Subject};
use remuda::scheduler::cap::{Calendar, Ledger, Owner};
use remuda::scheduler::{BindingId, CoverId, Experience, Families, Lease, Request, Scheduler, Selection, Settlement};

struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);

// Passes every call on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_add(size as isize - layout.size() as isize, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn held() -> isize {
    HELD.load(Ordering::Relaxed)
}

fn limits() -> Limits {
    Limits {
        daily_cap: Some(1 << 40),
        max_outbound_connections: Some(50),
        rate_limit: Some(Rate {
            count: NonZeroU32::new(1_000_000).unwrap_or(NonZeroU32::MIN),
            per: Duration::from_secs(1),
        }),
        ..Limits::default()
    }
}

fn name(n: usize) -> BindingName {
    BindingName::new(format!("mta{n}"))
}

fn config(bindings: usize) -> Config {
    let binding = |n: usize| {
        let region = Some(["eu", "us", "br", "jp"][n % 4].to_owned());
        Arc::new(Binding { limits: limits(), region, ..Binding::new(name(n), [127, 0, 0, 1].into()) })
    };
    let member = |n: usize| Member { binding: name(n), weight: 1 + (n as u32 * 7) % 13 };
    let tenant = Tenant { daily_cap: Some(1 << 40), ..Tenant::new("acme") };
    Config {
        bindings: (0..bindings).map(binding).collect(),
        pools: vec![Pool::new("pool", vec![(0..bindings).map(member).collect()])],
        tenants: vec![tenant],
        providers: vec![Provider { binding_limits: limits(), ..Provider::new("gmail", Vec::new()) }],
        ..Config::bare("relay.example.net".parse().expect("a domain"))
    }
}

const NOON: Wall = Wall::from_millis(1_779_278_400_000);

fn suspended() -> Health {
    Health::Suspended { until: Wall::from_millis(i64::MAX), reason: Reason::Listed }
}

struct Run {
    scheduler: Scheduler,
    request: Request<'static>,
    nanos: u64,
    held: Vec<Lease>,
}

impl Run {
    fn new(config: &Config, destination: &str) -> Self {
        let now = Now { mono: Mono::from_nanos(1), wall: NOON };
        let mut scheduler = Scheduler::new(config, &[], 1, now);
        let provider = ProviderName::new(destination);
        let request = Request {
            pool: scheduler.pool_id(&"pool".into()).expect("the pool"),
            destination: scheduler.destination(&DestinationName::new(destination), Some(&provider)),
            tenant: scheduler.tenant_id(&"acme".into()).expect("the tenant"),
            recipients: 1,
            families: Families { v4: true, v6: false },
            sticky: None,
            excluded: &[],
            engaged: false,
            region: None,
            cover: CoverId::NONE,
        };
        Self { scheduler, request, nanos: 1, held: Vec::new() }
    }

    /// First grants, first views, so that what is measured goes on and does not begin.
    fn warm(mut self) -> Self {
        let bindings = self.scheduler.in_use(self.now()).len();
        (0..20 * bindings).for_each(|_| self.round());
        self
    }

    /// Mail of a sender whose record bars these and allows the others.
    fn barring(mut self, bindings: usize, is_barred: impl Fn(usize) -> bool) -> Self {
        let (barred, allowed): (Vec<usize>, Vec<usize>) = (0..bindings).partition(|&n| is_barred(n));
        let [allowed, barred] = [allowed, barred].map(|which| which.into_iter().map(name).collect::<Vec<_>>());
        let domain = "acme.example".parse().expect("a domain");
        self.request.cover = self.scheduler.set_cover(&domain, &allowed, &barred).1;
        self
    }

    fn set(mut self, subject: impl Fn(BindingName) -> Subject, which: impl Iterator<Item = usize>) -> Self {
        for n in which {
            self.scheduler.set_health(&subject(name(n)), &suspended(), self.now());
        }
        self
    }

    fn now(&self) -> Now {
        Now { mono: Mono::from_nanos(self.nanos), wall: NOON.plus(Duration::from_nanos(self.nanos)) }
    }

    fn select(&mut self) -> Option<Lease> {
        self.nanos += 2_000;
        let now = self.now();
        let selection = black_box(self.scheduler.select(&self.request, now));
        for grant in self.scheduler.take_grant_requests() {
            self.scheduler.grant_durable(&grant, now);
        }
        match selection {
            Selection::Assigned(lease) => Some(lease),
            _ => None,
        }
    }

    /// One message: select, settle, and grants as they are asked for. 2 µs pass.
    fn round(&mut self) {
        if let Some(lease) = self.select() {
            let now = self.now();
            self.scheduler.settle(lease, Settlement::Accepted(1), now);
        }
    }

    fn refused(&mut self) {
        assert!(self.select().is_none());
    }
}

fn half(bindings: usize) -> impl Iterator<Item = usize> {
    (0..bindings).step_by(2)
}

fn at(destination: &'static str) -> impl Fn(BindingName) -> Subject {
    move |binding| Subject::Route(binding, DestinationName::new(destination))
}

/// Every tenth binding is deferred half of the time.
fn learnt(mut run: Run, bindings: usize) -> Run {
    for minute in 0..30 {
        run.nanos += 60_000_000_000;
        let now = run.now();
        for n in 0..bindings {
            let bad = if n % 10 == 0 { 5 } else { 0 };
            let seen = Experience { accepted: 10 - bad, deferred: bad, ..Experience::default() };
            run.scheduler.experienced(BindingId(n as u32), run.request.destination, &seen, now);
        }
        black_box(minute);
    }
    run
}

fn decisions(c: &mut Criterion) {
    for n in [10, 100, 1_000, 10_000] {
        let plain = config(n);
        let mut measure = |what: &str, mut run: Run| {
            c.bench_function(&format!("select_settle/{what}/{n}"), |b| b.iter(|| run.round()));
        };
        measure("all_free", Run::new(&plain, "site:example").warm());
        measure("provider_limits", Run::new(&plain, "gmail").warm());
        measure("half_out", Run::new(&plain, "site:example").set(Subject::Binding, half(n)).warm());
        measure("half_shut", Run::new(&plain, "site:example").set(at("site:example"), half(n)).warm());
        let mut tiers = config(n);
        let all = std::mem::take(&mut tiers.pools[0].tiers[0]);
        let (actives, backups) = all.split_at(n / 2);
        tiers.pools[0].tiers = vec![actives.to_vec(), backups.to_vec()];
        measure("backup", Run::new(&tiers, "site:example").set(at("site:example"), 0..n / 2).warm());
        let mut regional = Run::new(&plain, "site:example");
        regional.request.region = regional.scheduler.region_id("eu");
        measure("regions", regional.warm());
        measure("cover/one_barred", Run::new(&plain, "site:example").barring(n, |n| n == 3).warm());
        measure("cover/half_barred", Run::new(&plain, "site:example").barring(n, |n| n % 2 == 0).warm());
        measure("cover/one_left", Run::new(&plain, "site:example").barring(n, |at| at != n / 2).warm());
        let covered = Run::new(&tiers, "site:example").barring(n, |n| n % 2 == 0);
        measure("cover/half_backup", covered.set(Subject::Binding, (0..n / 2).filter(|n| n % 2 == 1)).warm());
        let mut bent = config(n);
        bent.pools[0].spread = Spread::Reputation;
        measure("reputation", learnt(Run::new(&bent, "gmail").warm(), n));
        let mut headroom = config(n);
        headroom.pools[0].spread = Spread::Headroom;
        measure("headroom", Run::new(&headroom, "site:example").warm());
        let mut sticky = Run::new(&plain, "site:example");
        sticky.request.sticky = Some(BindingId(n as u32 / 2));
        measure("sticky", sticky.warm());

        let mut measure = |what: &str, mut run: Run| {
            c.bench_function(&format!("refusal/{what}/{n}"), |b| b.iter(|| run.refused()));
        };
        measure("all_out", Run::new(&plain, "site:example").set(Subject::Binding, 0..n));
        measure("all_shut", Run::new(&plain, "site:example").set(at("site:example"), 0..n));
        let mut narrow = config(n);
        for binding in &mut narrow.bindings {
            Arc::make_mut(binding).limits.max_outbound_connections = Some(1);
        }
        let mut full = Run::new(&narrow, "site:example").warm();
        while let Some(lease) = full.select() {
            full.held.push(lease);
        }
        measure("windows_full", full);
    }
}

/// What an attempt teaches, one of fifty deferred: with a pool that follows reputation, and without.
fn learning(c: &mut Criterion) {
    for (what, spread) in [("weighted", Spread::Weighted), ("reputation", Spread::Reputation)] {
        for n in [10, 1_000] {
            let mut config = config(n);
            config.pools[0].spread = spread;
            let mut run = learnt(Run::new(&config, "gmail").warm(), n);
            let mut count = 0u32;
            c.bench_function(&format!("experienced/{what}/{n}"), |b| {
                b.iter(|| {
                    run.nanos += 1_000_000;
                    count += 1;
                    let deferred = u32::from(count.is_multiple_of(50));
                    let took = Some(Duration::from_millis(u64::from(100 + count % 7)));
                    let seen = Experience { accepted: 1 - deferred, deferred, took, ..Experience::default() };
                    let now = run.now();
                    run.scheduler.experienced(BindingId(count % n as u32), run.request.destination, &seen, now);
                });
            });
            black_box(run.scheduler.take_facts());
        }
    }
}

fn ledger(c: &mut Criterion) {
    let day = Day { timezone: jiff::tz::TimeZone::UTC, starts: jiff::civil::Time::midnight() };
    let mut ledger = Ledger::new(Calendar::new(&day), &[], NOON);
    let account = ledger.open(Owner::Binding("mta1".into()), 1 << 40);
    ledger.want(account, 1);
    for grant in ledger.take_requests() {
        ledger.granted(&grant);
    }
    c.bench_function("ledger/reserve_commit", |b| {
        b.iter(|| {
            if let Some(reservation) = ledger.reserve(black_box(account), 1) {
                ledger.settle(reservation, black_box(1));
            }
        });
    });
}

/// Bytes, each as the difference between two schedulers.
fn memory(_: &mut Criterion) {
    let made = |config: &Config| {
        let before = held();
        let run = Run::new(config, "site:example");
        (held() - before, run)
    };
    let per = |what: &str, bytes: isize, count: isize| println!("memory/{what}: {} bytes", bytes / count);
    let (small, big) = (config(1_000), config(11_000));
    let bare = |mut config: Config| {
        config.providers.clear();
        config
    };
    let of_bindings = made(&bare(big.clone())).0 - made(&bare(small.clone())).0;
    per("binding in a pool, with cap, limiter and window", of_bindings, 10_000);
    per("route to a provider, with cap, limiter and window", made(&big).0 - made(&bare(big.clone())).0, 11_000);

    let mut run = made(&bare(small.clone())).1.warm();
    let before = held();
    let first = run.scheduler.destination(&DestinationName::new("site:0"), None);
    for n in 1..10_000 {
        run.scheduler.destination(&DestinationName::new(format!("site:{n}")), None);
    }
    per("destination", held() - before, 10_000);
    let before = held();
    for n in 0..10_000 {
        run.request.destination.0 = first.0 + n;
        let lease = run.select().expect("a lease");
        run.held.push(lease);
    }
    let leases = (run.held.capacity() * size_of::<Lease>()) as isize;
    per("route to another destination, while there is something to remember", held() - before - leases, 10_000);
    for lease in run.held.drain(..) {
        run.scheduler.settle(lease, Settlement::Accepted(1), Now { mono: Mono::from_nanos(run.nanos), wall: NOON });
    }

    let tenants = |count: usize, providers: usize| {
        let mut config = config(1);
        let tenant = |n| Tenant { daily_cap: Some(1 << 40), ..Tenant::new(TenantName::new(format!("tenant{n}"))) };
        config.tenants.extend((1..count).map(tenant));
        config.providers =
            (0..providers).map(|n| Provider::new(ProviderName::new(format!("provider{n}")), Vec::new())).collect();
        made(&config).0
    };
    per("tenant × provider", tenants(1_000, 11) - tenants(1_000, 1), 10_000);

    let mut bent = small.clone();
    bent.pools[0].spread = Spread::Reputation;
    let used = |config: &Config| {
        let run = Run::new(config, "gmail");
        let before = held();
        let mut run = learnt(run, 1_000);
        drop(run.scheduler.take_facts());
        let after = held();
        drop(run);
        after - before
    };
    per("what is expected of a route that was used", used(&bent) - used(&small), 1_000);

    let view = |region: Option<&str>| {
        let mut run = made(&bare(big.clone())).1.warm();
        let before = held();
        run.request.region = region.and_then(|region| run.scheduler.region_id(region));
        run.round();
        held() - before
    };
    per(
        "binding in a view (a region, a provider's bent weights, a destination with shut routes)",
        view(Some("eu")) - view(None),
        11_000 / 4,
    );
}

criterion_group!(benches, memory, decisions, learning, ledger);
criterion_main!(benches);
