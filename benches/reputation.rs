//! What one piece of evidence costs the reputation of 32 bindings at six providers, with 20 and with 1,000 tenants.
//!
//! | name | what |
//! |---|---|
//! | `accepted` | an accepted recipient: what nearly all evidence is |
//! | `one_in_fifty` | the same, one in fifty is a hard bounce, as on a list that is well |
//! | `one_in_five` | one in five is: detectors, attribution and holds are at work all the time |
//! | `deferred` | every tenth is put off for pace |
//! | `others` | accepted, at a thousand destinations that are no configured provider |
//! | `complaints` | reports about mail of the last days |
//!
//! Time goes on as with 100 recipients a second. Facts are taken after each, as the dispatcher does.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use remuda::clock::Wall;
use remuda::config::{Binding, Config, Member, Pool, Provider, Tenant};
use remuda::message::{BindingName, DestinationName, Domain, MessageId, StreamName, TenantName};
use remuda::outcome::{Action, Cause, Scope};
use remuda::reputation::evidence::AttemptResult;
use remuda::reputation::{Evidence, Reputation};

const BINDINGS: usize = 32;
const PROVIDERS: usize = 6;
/// What comes of the recipient of this number.
type Answer = Box<dyn Fn(u64) -> AttemptResult>;

const STEP: Duration = Duration::from_millis(10);

struct Run {
    reputation: Reputation,
    now: Wall,
    n: u64,
    bindings: Vec<BindingName>,
    tenants: Vec<TenantName>,
    destinations: Vec<DestinationName>,
    domains: Vec<Domain>,
    stream: StreamName,
}

fn named<T>(count: usize, name: &str, make: impl Fn(String) -> T) -> Vec<T> {
    (0..count).map(|n| make(format!("{name}{n}"))).collect()
}

impl Run {
    fn new(tenants: usize, strangers: usize) -> Self {
        let bindings = named(BINDINGS, "mta", BindingName::new);
        let members = bindings.iter().map(|name| Member { binding: name.clone(), weight: 1 }).collect();
        let own = |name: &BindingName| Arc::new(Binding::new(name.clone(), [127, 0, 0, 1].into()));
        let config = Config {
            bindings: bindings.iter().map(own).collect(),
            pools: vec![Pool::new("pool", vec![members])],
            tenants: named(tenants, "tenant", |name| Tenant::new(name.as_str())),
            providers: named(PROVIDERS, "provider", |name| Provider::new(name.as_str(), Vec::new())),
            ..Config::bare("relay.example.net".parse().expect("a domain"))
        };
        let now = Wall::from_millis(1_779_278_400_000);
        let destinations = match strangers {
            0 => named(PROVIDERS, "provider", DestinationName::new),
            count => named(count, "mx.stranger", DestinationName::new),
        };
        Self {
            reputation: Reputation::new(&config, now),
            now,
            n: 0,
            bindings,
            tenants: named(tenants, "tenant", TenantName::new),
            destinations,
            domains: named(40, "list", |name| format!("{name}.example").parse().expect("a domain")),
            stream: StreamName::new("default"),
        }
    }

    /// One recipient; what comes of it is told by its number.
    fn attempt(&mut self, result: AttemptResult) {
        self.n += 1;
        let mixed = self.n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let pick = |count: usize, salt: u64| ((mixed >> salt) % count as u64) as usize;
        let evidence = Evidence::Attempt {
            binding: self.bindings[pick(BINDINGS, 0)].clone(),
            destination: self.destinations[pick(self.destinations.len(), 5)].clone(),
            tenant: self.tenants[pick(self.tenants.len(), 9)].clone(),
            domain: self.domains[pick(self.domains.len(), 14)].clone(),
            message: MessageId(self.n),
            stream: self.stream.clone(),
            sender_domain: Some(self.domains[pick(4, 17)].clone()),
            took: Some(Duration::from_millis(300 + mixed % 400)),
            result,
        };
        self.observe(&evidence);
    }

    fn complaint(&mut self) {
        self.n += 1;
        let binding = self.bindings[(self.n % BINDINGS as u64) as usize].clone();
        let evidence = Evidence::Complaint {
            binding,
            destination: self.destinations.first().cloned(),
            tenant: self.tenants[(self.n % self.tenants.len() as u64) as usize].clone(),
            at: Wall::from_millis(self.now.as_millis() - 3_600_000),
            incidents: 1,
        };
        self.observe(&evidence);
    }

    fn observe(&mut self, evidence: &Evidence) {
        self.now = self.now.plus(STEP);
        black_box(self.reputation.observe(evidence, self.now));
        black_box(self.reputation.take_facts());
        black_box(self.reputation.take_notes());
        black_box(self.reputation.take_hold_changes());
        black_box(self.reputation.take_freed());
    }
}

fn refused(cause: Cause, scope: Scope, hard: bool, text: &str) -> AttemptResult {
    AttemptResult::Refused {
        cause,
        scope,
        hard,
        counts_against_ip: false,
        action: Action::None,
        rule: "bench".into(),
        text: text.to_owned(),
    }
}

fn updates(c: &mut Criterion) {
    let bounce = || refused(Cause::InvalidRecipient, Scope::Recipient, true, "550 5.1.1 user unknown");
    let wish = || refused(Cause::RateLimited, Scope::Destination, false, "451 4.7.1 slow down");
    for tenants in [20, 1_000] {
        let mut group = c.benchmark_group(format!("reputation/{tenants}_tenants"));
        let every = |n: u64, of: u64| n.is_multiple_of(of);
        let cases: [(&str, usize, Answer); 5] = [
            ("accepted", 0, Box::new(|_| AttemptResult::Accepted)),
            ("one_in_fifty", 0, Box::new(move |n| if every(n, 50) { bounce() } else { AttemptResult::Accepted })),
            ("one_in_five", 0, Box::new(move |n| if every(n, 5) { bounce() } else { AttemptResult::Accepted })),
            ("deferred", 0, Box::new(move |n| if every(n, 10) { wish() } else { AttemptResult::Accepted })),
            ("others", 1_000, Box::new(|_| AttemptResult::Accepted)),
        ];
        for (name, strangers, result) in cases {
            let mut run = Run::new(tenants, strangers);
            // The windows are full before anything is measured.
            (0..200_000).for_each(|n| run.attempt(result(n)));
            group.bench_function(name, |b| b.iter(|| run.attempt(result(run.n))));
        }
        let mut run = Run::new(tenants, 0);
        (0..200_000).for_each(|_| run.attempt(AttemptResult::Accepted));
        group.bench_function("complaints", |b| b.iter(|| run.complaint()));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2));
    targets = updates
}
criterion_main!(benches);
