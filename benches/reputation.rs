//! What one update of reputation costs: the answer about one recipient, observed.
//!
//! | name | what |
//! |---|---|
//! | `accepted/N` | over N bindings, ten destinations, 20 tenants of two campaigns, 1,000 recipients' domains |
//! | `mixed/N` | the same with 2 % hard bounces |
//! | `bounce/N` | hard bounces alone, among mail that keeps the fuse from tripping |

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use remuda::clock::Wall;
use remuda::config::*;
use remuda::message::MessageId;
use remuda::outcome::{Action, Cause, Scope};
use remuda::reputation::evidence::AttemptResult;
use remuda::reputation::{Evidence, Reputation};

const START: Wall = Wall::from_millis(1_800_000_000_000);

fn config(bindings: usize) -> Config {
    let binding = |n: usize| {
        let address = std::net::IpAddr::V4(std::net::Ipv4Addr::from(0x7f00_0001 + n as u32));
        std::sync::Arc::new(Binding::new(format!("mta{n}").as_str(), address))
    };
    Config {
        bindings: (0..bindings).map(binding).collect(),
        ..Config::bare("relay.example.net".parse().expect("a name"))
    }
}

fn evidence(bindings: usize, n: usize, bounces: bool) -> Evidence {
    let result = if bounces {
        AttemptResult::Refused {
            cause: Cause::InvalidRecipient,
            scope: Scope::Recipient,
            hard: true,
            counts_against_ip: false,
            action: Action::None,
            rule: "bench".into(),
            text: "550 5.1.1 no such user".into(),
        }
    } else {
        AttemptResult::Accepted
    };
    // Steps that are prime to each other, so that all meet all.
    Evidence::Attempt {
        binding: format!("mta{}", n % bindings).as_str().into(),
        destination: format!("site:{}", n * 7 % 10).as_str().into(),
        tenant: format!("tenant{}", n * 11 % 20).as_str().into(),
        domain: format!("d{}.example", n * 13 % 1_000).parse().expect("a domain"),
        message: MessageId(n as u64),
        stream: ["news", "bills"][n / 3 % 2].into(),
        sender_domain: Some("sender.example".parse().expect("a domain")),
        took: Some(Duration::from_millis(700)),
        result,
    }
}

fn update(c: &mut Criterion) {
    for bindings in [32, 1_000] {
        let config = config(bindings);
        let rows = |share: usize| -> Vec<Evidence> {
            (0..20_000).map(|n| evidence(bindings, n, share > 0 && n % share == 0)).collect()
        };
        for (name, rows) in [("accepted", rows(0)), ("mixed", rows(51))] {
            let mut reputation = Reputation::new(&config, START);
            let (mut n, mut now) = (0, START);
            c.bench_function(&format!("{name}/{bindings}"), |b| {
                b.iter(|| {
                    now = now.plus(Duration::from_millis(5));
                    n = (n + 1) % rows.len();
                    reputation.observe(&rows[n], now).len()
                });
            });
        }
        let (well, bad) = (rows(0), rows(1));
        let mut reputation = Reputation::new(&config, START);
        let (mut n, mut now) = (0, START);
        c.bench_function(&format!("bounce/{bindings}"), |b| {
            b.iter_custom(|rounds| {
                let mut took = Duration::ZERO;
                for _ in 0..rounds {
                    for _ in 0..51 {
                        now = now.plus(Duration::from_millis(5));
                        n = (n + 1) % well.len();
                        reputation.observe(&well[n], now);
                    }
                    let begun = std::time::Instant::now();
                    reputation.observe(&bad[n], now);
                    took += begun.elapsed();
                }
                took
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2));
    targets = update
}
criterion_main!(benches);
