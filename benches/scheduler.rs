//! What one decision costs: pick, caps, limiters, window, lease and settlement, in pools of 10, 100 and 1,000 bindings.
//!
//! `all_free`: every binding is eligible. `half_out`: half of the pool is suspended, and so not in the order at all.
//! `ledger`: reserve and commit alone.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use remuda::clock::{Mono, Now, Wall};
use remuda::config::*;
use remuda::message::{BindingName, DestinationName};
use remuda::reputation::{Health, Reason, Subject};
use remuda::scheduler::cap::{Calendar, Ledger, Owner};
use remuda::scheduler::{Families, Request, Scheduler, Selection, Settlement};

fn config(bindings: usize) -> Config {
    let name = |n: usize| BindingName::new(format!("mta{n}"));
    let limits = Limits {
        daily_cap: Some(1 << 40),
        max_outbound_connections: Some(50),
        rate_limit: Some(Rate {
            count: NonZeroU32::new(1_000_000).unwrap_or(NonZeroU32::MIN),
            per: Duration::from_secs(1),
        }),
        ..Limits::default()
    };
    let binding =
        |n: usize| Arc::new(Binding { limits: limits.clone(), ..Binding::new(name(n), [127, 0, 0, 1].into()) });
    let member = |n: usize| Member { binding: name(n), weight: 1 + (n as u32 * 7) % 13 };
    let tenant = Tenant { daily_cap: Some(1 << 40), ..Tenant::new("acme") };
    Config {
        bindings: (0..bindings).map(binding).collect(),
        pools: vec![Pool::new("pool", vec![(0..bindings).map(member).collect()])],
        tenants: vec![tenant],
        providers: vec![Provider { binding_limits: limits.clone(), ..Provider::new("gmail", Vec::new()) }],
        ..Config::bare("relay.example.net".parse().expect("a domain"))
    }
}

const NOON: Wall = Wall::from_millis(1_779_278_400_000);

struct Run {
    scheduler: Scheduler,
    request: Request<'static>,
    nanos: u64,
}

impl Run {
    fn new(bindings: usize, destination: &str, suspended: usize) -> Self {
        let config = config(bindings);
        let now = Now { mono: Mono::from_nanos(1), wall: NOON };
        let mut scheduler = Scheduler::new(&config, &[], 1, now);
        for binding in config.bindings.iter().take(suspended) {
            let health = Health::Suspended { until: Wall::from_millis(i64::MAX), reason: Reason::Listed };
            scheduler.set_health(&Subject::Binding(binding.name.clone()), &health, now);
        }
        let request = Request {
            pool: scheduler.pool_id(&"pool".into()).expect("the pool"),
            destination: scheduler.destination(&DestinationName::new(destination), None),
            tenant: scheduler.tenant_id(&"acme".into()).expect("the tenant"),
            recipients: 1,
            families: Families { v4: true, v6: false },
            sticky: None,
            excluded: &[],
            engaged: false,
            region: None,
        };
        let mut run = Self { scheduler, request, nanos: 1 };
        // First grants, so that the measured picks find all of the pool in play.
        (0..20 * bindings).for_each(|_| run.round());
        run
    }

    /// One message: select, settle, and grants as they are asked for. 2 µs pass.
    fn round(&mut self) {
        self.nanos += 2_000;
        let now = Now { mono: Mono::from_nanos(self.nanos), wall: NOON.plus(Duration::from_nanos(self.nanos)) };
        if let Selection::Assigned(lease) = black_box(self.scheduler.select(&self.request, now)) {
            self.scheduler.settle(lease, Settlement::Accepted(1), now);
        }
        for grant in self.scheduler.take_grant_requests() {
            self.scheduler.grant_durable(&grant, now);
        }
    }
}

fn decisions(c: &mut Criterion) {
    for bindings in [10, 100, 1_000] {
        let mut free = Run::new(bindings, "site:example", 0);
        c.bench_function(&format!("select_settle/all_free/{bindings}"), |b| b.iter(|| free.round()));
        let mut gmail = Run::new(bindings, "gmail", 0);
        c.bench_function(&format!("select_settle/provider_limits/{bindings}"), |b| b.iter(|| gmail.round()));
        let mut half = Run::new(bindings, "site:example", bindings / 2);
        c.bench_function(&format!("select_settle/half_out/{bindings}"), |b| b.iter(|| half.round()));
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

criterion_group!(benches, decisions, ledger);
criterion_main!(benches);
