//! The questions by which resolvers are tested; [`resolver`](super::resolver) judges the answers.
//!
//! Resolvers are told apart by their servers: that of the monitor (`monitor.servers`, else those of `[dns]`), that of
//! delivery (`[dns]`) where it is another, and that of each zone with servers of its own. Where two of these are the same
//! servers, they are asked once and reported under both names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::resolver::{self, Checked, Said, TestPoint};
use crate::clock::Clock;
use crate::config::{Config, Probe, Zone, ZoneKind};
use crate::monitor::answer::{DnsOutcome, query_name};
use crate::monitor::dns::{self, Asker};

/// Lists by which one resolver is tested: enough to tell a broken list from a broken resolver.
const LISTS: usize = 4;

/// What the monitor asks through: lists without servers of their own, reverse DNS, SPF.
pub const MONITOR: &str = "monitor";
/// What finds where mail goes.
pub const DELIVERY: &str = "delivery";

/// What came of testing one resolver.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whose it is: `monitor`, `delivery`, `zone:NAME`.
    pub purpose: String,
    /// Each check.
    pub checks: Vec<Checked>,
    /// How long the slowest answer took, in seconds; `None` where nothing was answered.
    pub slowest_seconds: Option<f64>,
}

/// One resolver and what it is tested by.
struct Subject {
    purposes: Vec<String>,
    servers: Vec<SocketAddr>,
    asker: Arc<Asker>,
    zones: Vec<Tested>,
}

/// A list, and its own servers where these are others.
struct Tested {
    zone: Zone,
    own: Option<Arc<Asker>>,
}

/// All resolvers of a configuration.
pub(super) struct Resolvers {
    subjects: Vec<Subject>,
    slow: Duration,
    clock: Arc<dyn Clock>,
}

impl Resolvers {
    /// Sets them up; asks nothing yet. Also returns in words which could not be set up.
    pub(super) fn new(config: &Config, clock: Arc<dyn Clock>) -> (Self, Vec<String>) {
        let timeout = config.monitor.timeout;
        let mut wanted: Vec<(String, &[SocketAddr], Vec<&Zone>)> = Vec::new();
        let shared: &[SocketAddr] =
            if config.monitor.servers.is_empty() { &config.dns.servers } else { &config.monitor.servers };
        let plain = || config.monitor.zones.iter().filter(|zone| zone.servers.is_empty());
        wanted.push((MONITOR.to_owned(), shared, plain().collect()));
        wanted.push((DELIVERY.to_owned(), &config.dns.servers, Vec::new()));
        for zone in config.monitor.zones.iter().filter(|zone| !zone.servers.is_empty()) {
            wanted.push((format!("zone:{}", zone.name), &zone.servers, vec![zone]));
        }
        let (mut subjects, mut failed) = (Vec::<Subject>::new(), Vec::new());
        for (purpose, servers, zones) in wanted {
            let zones = zones
                .into_iter()
                .filter(|zone| bears_witness(zone))
                .map(|zone| Tested { zone: zone.clone(), own: None });
            if let Some(same) = subjects.iter_mut().find(|subject| subject.servers == servers) {
                same.purposes.push(purpose);
                same.zones.extend(zones);
                continue;
            }
            match Asker::new(&purpose, servers, timeout) {
                Ok(asker) => subjects.push(Subject {
                    purposes: vec![purpose],
                    servers: servers.to_vec(),
                    asker: Arc::new(asker),
                    zones: zones.collect(),
                }),
                Err(error) => failed.push(error.to_string()),
            }
        }
        cross_examine(&mut subjects);
        subjects.iter_mut().for_each(|subject| subject.zones.truncate(LISTS));
        (Self { subjects, slow: timeout / 2, clock }, failed)
    }

    /// Tests them all, each purpose a report. `random` is a label that cannot exist.
    pub(super) async fn check(&self, random: &str) -> Vec<Report> {
        let mut reports = Vec::new();
        // One after the other: their sum is what a start waits for, and there are one or two.
        for subject in &self.subjects {
            let said = self.interrogate(subject, random).await;
            let checks = resolver::judge(&said, self.slow);
            let slowest_seconds = said.slowest.map(|took| took.as_secs_f64());
            for purpose in &subject.purposes {
                reports.push(Report { purpose: purpose.clone(), checks: checks.clone(), slowest_seconds });
            }
        }
        reports
    }

    async fn interrogate(&self, subject: &Subject, random: &str) -> Said {
        let mut questions = JoinSet::new();
        let mut put = |part: Part, asker: &Arc<Asker>, name: String| {
            let (asker, clock) = (Arc::clone(asker), Arc::clone(&self.clock));
            questions.spawn(async move {
                let begun = clock.now().mono;
                let outcome = asker.a(&name).await;
                (part, outcome, clock.now().mono.since(begun))
            });
        };
        // A top-level name that nobody was given. Not below `.invalid`: the resolver library answers that by itself.
        // Some rewrite only what looks like the name of a web site.
        put(Part::Nowhere, &subject.asker, format!("www.{random}."));
        for (at, Tested { zone, own }) in subject.zones.iter().enumerate() {
            if own.is_none() {
                put(Part::Random, &subject.asker, format!("{random}.{}.", zone.zone.trim_end_matches('.')));
            }
            if let Some(Probe::Address(probe)) = zone.positive_probe {
                put(Part::Here(at), &subject.asker, query_name(probe, &zone.zone));
                if let Some(own) = own {
                    put(Part::There(at), own, query_name(probe, &zone.zone));
                }
            }
        }
        let mut answers = Vec::new();
        while let Some(answer) = questions.join_next().await {
            // A question whose task failed is one that was not answered.
            answers.extend(answer.ok());
        }
        said(subject, answers)
    }
}

/// Which question an answer belongs to; lists are numbered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Nowhere,
    Random,
    Here(usize),
    There(usize),
}

fn said(subject: &Subject, answers: Vec<(Part, DnsOutcome, Duration)>) -> Said {
    let of = |wanted: Part| answers.iter().find(|(part, ..)| *part == wanted).map(|(_, outcome, _)| outcome.clone());
    let answered = |outcome: &DnsOutcome| !matches!(outcome, DnsOutcome::Timeout | DnsOutcome::Other(_));
    let servers = match subject.servers.is_empty() {
        true => dns::system_servers(),
        false => subject.servers.iter().map(SocketAddr::ip).collect(),
    };
    Said {
        servers,
        for_lists: !subject.zones.is_empty(),
        nowhere: of(Part::Nowhere),
        random: answers.iter().filter(|(part, ..)| *part == Part::Random).map(|(_, o, _)| o.clone()).collect(),
        test_points: (0..subject.zones.len())
            .filter_map(|at| Some(TestPoint { here: of(Part::Here(at))?, there: of(Part::There(at)) }))
            .collect(),
        // Not those of a list's own servers: they are another resolver's.
        slowest: answers
            .iter()
            .filter(|(part, outcome, _)| !matches!(part, Part::There(_)) && answered(outcome))
            .map(|(.., took)| *took)
            .max(),
    }
}

/// A single list cannot convict the monitor's resolver; a list whose own servers say otherwise can.
fn cross_examine(subjects: &mut [Subject]) {
    let witnesses: Vec<(Zone, Arc<Asker>)> = subjects
        .iter()
        .filter(|subject| subject.purposes.iter().all(|purpose| purpose != MONITOR))
        .flat_map(|subject| subject.zones.iter().map(|tested| (tested.zone.clone(), Arc::clone(&subject.asker))))
        .collect();
    let Some(monitor) = subjects.iter_mut().find(|s| s.purposes.iter().any(|purpose| purpose == MONITOR)) else {
        return;
    };
    let missing = 2usize.saturating_sub(monitor.zones.len());
    let own = witnesses.into_iter().take(missing).map(|(zone, own)| Tested { zone, own: Some(own) });
    monitor.zones.extend(own);
}

/// Whether the list's answers say something about the resolver: that of domains may have wildcards, and one with a key
/// answers by the state of the key.
fn bears_witness(zone: &Zone) -> bool {
    zone.kind == ZoneKind::Address && zone.random_probe && zone.key_file.is_none() && !is_keyed(zone)
}

/// Whether a key of the operator's is likely to stand in the zone's name: one long label of letters and digits. For names
/// written with their key instead of with `key_file`.
fn is_keyed(zone: &Zone) -> bool {
    zone.zone.split('.').any(|label| {
        let has = |what: fn(&u8) -> bool| label.bytes().any(|b| what(&b));
        label.len() >= 16 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
    })
}

#[cfg(test)]
mod tests {
    use super::super::names::Grade;
    use super::*;
    use crate::clock::{ManualClock, Wall};
    use crate::demo::zone::{Mood, Zone as Server};
    use crate::monitor::zone::tests::zone;
    use crate::reputation::fixtures;

    async fn server() -> Server {
        Server::start("127.0.0.1:0".parse().unwrap()).await.unwrap()
    }

    fn config(server: &Server, lists: &[&str]) -> Config {
        let mut config = fixtures::config(&["a"], &[("p", &["a"])]);
        config.monitor.zones =
            lists.iter().map(|list| Zone { zone: format!("{list}.example.org"), ..zone(list) }).collect();
        config.monitor.servers = vec![server.addr()];
        config.dns.servers = vec![server.addr()];
        config.monitor.timeout = Duration::from_millis(300);
        config
    }

    async fn check(config: &Config) -> Vec<(String, String)> {
        let clock = ManualClock::at(Wall::from_millis(1_800_000_000_000));
        let (resolvers, failed) = Resolvers::new(config, Arc::new(clock));
        assert!(failed.is_empty(), "{failed:?}");
        let sign = |grade| match grade {
            Grade::Good => '+',
            Grade::Bad => '-',
            Grade::Unknown => '?',
        };
        let reports = resolvers.check("remuda-0123").await;
        reports.into_iter().map(|r| (r.purpose, r.checks.iter().map(|c| sign(c.grade)).collect())).collect()
    }

    #[tokio::test]
    async fn the_faults_of_a_resolver_are_seen_through_its_socket() {
        let server = server().await;
        for list in ["x", "y"] {
            server.mood(&format!("{list}.example.org"), Mood::Dnsbl);
        }
        let config = config(&server, &["x", "y"]);
        let both =
            |signs: &str| vec![("monitor".to_owned(), signs.to_owned()), ("delivery".to_owned(), signs.to_owned())];
        assert_eq!(check(&config).await, both("++++"));

        for list in ["x", "y"] {
            server.mood(&format!("{list}.example.org"), Mood::Records);
        }
        assert_eq!(check(&config).await, both("++-+"), "127/8 taken away");
        server.mood("y.example.org", Mood::Dnsbl);
        assert_eq!(check(&config).await, both("++++"), "one hollow list is a hollow list");
        server.mood(".", Mood::Always([203, 0, 113, 80].into()));
        server.mood("x.example.org", Mood::Dnsbl);
        assert_eq!(check(&config).await, both("+-++"), "rewritten");
        server.mood(".", Mood::Records);
        server.mood("x.example.org", Mood::refusing());
        assert_eq!(check(&config).await, both("+++-"), "refused as a public one");
        for mood in [Mood::Silent, Mood::Code(hickory_resolver::proto::op::ResponseCode::ServFail)] {
            for name in [".", "x.example.org", "y.example.org"] {
                server.mood(name, mood.clone());
            }
            assert_eq!(check(&config).await, both("-??+"), "{mood:?}");
        }
    }

    #[tokio::test]
    async fn a_lists_own_servers_bear_witness_against_the_resolver() {
        let (resolver, own) = (server().await, server().await);
        own.mood("x.example.org", Mood::Dnsbl);
        // The name exists for the resolver, its answer from 127/8 does not.
        resolver.txt("2.0.0.127.x.example.org", "test entry");
        let mut config = config(&resolver, &["x"]);
        config.monitor.zones[0].servers = vec![own.addr()];
        let found = check(&config).await;
        let of = |purpose: &str| found.iter().find(|(p, _)| p == purpose).map(|(_, signs)| signs.as_str());
        assert_eq!((of("monitor"), of("zone:x")), (Some("++-+"), Some("++++")));
    }

    #[test]
    fn lists_with_a_key_bear_no_witness() {
        for (name, keyed) in [
            ("zen.example.org", false),
            ("abcdefgh12345678ijklmnop90.zen.dq.example.net", true),
            ("a-rather-long-label.example.org", false),
        ] {
            assert_eq!(is_keyed(&Zone { zone: name.into(), ..zone("z") }), keyed, "{name}");
        }
    }
}
