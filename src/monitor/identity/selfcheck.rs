//! Which resolvers are tested, and what came of it; [`resolver`](super::resolver) judges the answers.
//!
//! Each server is tested for itself, all at the same time: of several, a question goes to the first that answers, and one
//! that lies must not hide behind another. They are told apart by what they are for: the monitor (`monitor.servers`, else
//! those of `[dns]`), its second opinion (`monitor.second_servers`), delivery (`[dns]`) and each zone with servers of its own.
//! A server that serves several purposes is asked once and reported under each. Where a purpose has several servers, its
//! report says what they are worth together, and each has one of its own, as `PURPOSE@SERVER`.
//!
//! [`interview`](super::interview) puts the questions to one server.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::interview::{Interview, Subject, Tested};
use super::resolver::{self, Checked, Said, TestPoint};
use crate::clock::Clock;
use crate::config::{Config, Zone};
use crate::message::ZoneName;
use crate::monitor::answer::DnsOutcome;
use crate::monitor::dns::{self, Asker};

/// What the monitor asks through: lists without servers of their own, reverse DNS, SPF.
pub const MONITOR: &str = "monitor";
/// Who must see a listing too.
pub const SECOND: &str = "second";
/// What finds where mail goes.
pub const DELIVERY: &str = "delivery";

/// What came of testing the resolvers of one purpose, or one of them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What they are for: `monitor`, `second`, `delivery`, `zone:NAME`; followed by `@SERVER` for one of several.
    pub purpose: String,
    /// Each check.
    pub checks: Vec<Checked>,
    /// How long the slowest answer took, in seconds; `None` where nothing was answered.
    pub slowest_seconds: Option<f64>,
}

/// What came of testing all.
#[derive(Clone, Debug, Default)]
pub(super) struct Checkup {
    pub(super) reports: Vec<Report>,
    /// Each server once.
    pub(super) servers: Vec<(SocketAddr, Vec<Checked>)>,
}

/// All resolvers of a configuration.
pub(super) struct Resolvers {
    subjects: Vec<Arc<Subject>>,
    /// What they are for.
    purposes: Vec<(String, Vec<SocketAddr>)>,
    slow: Duration,
    clock: Arc<dyn Clock>,
}

impl Resolvers {
    /// Sets them up; asks nothing yet. Also returns in words which could not be set up.
    pub(super) fn new(config: &Config, clock: Arc<dyn Clock>) -> (Self, Vec<String>) {
        let monitor = &config.monitor;
        let shared: &[SocketAddr] = if monitor.servers.is_empty() { &config.dns.servers } else { &monitor.servers };
        let plain: Vec<&Zone> = monitor.zones.iter().filter(|zone| zone.servers.is_empty()).collect();
        let mut wanted: Vec<(String, &[SocketAddr], Vec<&Zone>)> = vec![(MONITOR.to_owned(), shared, plain.clone())];
        if !monitor.second_servers.is_empty() {
            wanted.push((SECOND.to_owned(), &monitor.second_servers, plain));
        }
        wanted.push((DELIVERY.to_owned(), &config.dns.servers, Vec::new()));
        for zone in monitor.zones.iter().filter(|zone| !zone.servers.is_empty()) {
            wanted.push((format!("zone:{}", zone.name), &zone.servers, vec![zone]));
        }
        let (mut subjects, mut purposes, mut failed) = (Vec::<Subject>::new(), Vec::new(), Vec::new());
        for (purpose, configured, zones) in wanted {
            let servers = match dns::servers_of(configured) {
                Ok(servers) => servers,
                Err(why) => {
                    failed.push(format!("cannot set up a resolver for {purpose}: {why}"));
                    continue;
                }
            };
            let is_alone = servers.len() == 1;
            for &server in &servers {
                let at = match subjects.iter().position(|subject| subject.server == server) {
                    Some(at) => at,
                    None => match Asker::new(&purpose, &[server], monitor.timeout, &clock) {
                        Ok(asker) => {
                            let (asker, zones, others) = (Arc::new(asker), Vec::new(), Vec::new());
                            subjects.push(Subject { server, asker, zones, others, is_alone: true });
                            subjects.len() - 1
                        }
                        Err(error) => {
                            failed.push(error.to_string());
                            continue;
                        }
                    },
                };
                if let Some(subject) = subjects.get_mut(at) {
                    subject.is_alone &= is_alone || zones.is_empty();
                    zones.iter().for_each(|zone| subject.tests_by(zone));
                }
            }
            purposes.push((purpose, servers));
        }
        cross_examine(&mut subjects, &purposes);
        let subjects = subjects.into_iter().map(Arc::new).collect();
        (Self { subjects, purposes, slow: monitor.timeout / 2, clock }, failed)
    }

    /// The servers of a purpose; none where it has none or they cannot be asked.
    pub(super) fn servers(&self, purpose: &str) -> &[SocketAddr] {
        self.purposes.iter().find(|(name, _)| name == purpose).map_or(&[], |(_, servers)| servers)
    }

    /// All purposes, each with its servers.
    pub(super) fn purposes(&self) -> &[(String, Vec<SocketAddr>)] {
        &self.purposes
    }

    /// Tests them all. `random` is a label that cannot exist, `well` are lists that were well in their last round.
    pub(super) async fn check(&self, random: &str, well: &BTreeSet<ZoneName>) -> Checkup {
        let mut asked = JoinSet::new();
        for (at, subject) in self.subjects.iter().enumerate() {
            let interview = Interview {
                subject: Arc::clone(subject),
                has_well_list: subject.is_alone && subject.lists().any(|zone| well.contains(&zone.name)),
                random: random.to_owned(),
                slow: self.slow,
                clock: Arc::clone(&self.clock),
            };
            asked.spawn(async move { (at, interview.hold().await) });
        }
        let mut all = Vec::new();
        while let Some(said) = asked.join_next().await {
            // A server whose interview failed said nothing.
            all.extend(said.ok());
        }
        all.sort_by_key(|(at, _)| *at);
        let mut said: Vec<(SocketAddr, Vec<Zone>, Said)> = Vec::new();
        for (at, one) in all {
            let Some(subject) = self.subjects.get(at) else { continue };
            said.push((subject.server, subject.zones.iter().map(|tested| tested.zone.clone()).collect(), one));
        }
        confront(&mut said);
        let judged: Vec<(SocketAddr, Vec<Checked>, Option<Duration>)> = said
            .into_iter()
            .map(|(server, _, said)| (server, resolver::judge(&said, self.slow), said.slowest))
            .collect();
        let mut reports = Vec::new();
        for (purpose, servers) in &self.purposes {
            reports.extend(reports_of(purpose, servers, &judged));
        }
        Checkup { reports, servers: judged.into_iter().map(|(server, checks, _)| (server, checks)).collect() }
    }
}

/// The report of a purpose, and of each of its servers where there are several.
fn reports_of(
    purpose: &str,
    servers: &[SocketAddr],
    judged: &[(SocketAddr, Vec<Checked>, Option<Duration>)],
) -> Vec<Report> {
    let all: Vec<_> = judged.iter().filter(|(server, ..)| servers.contains(server)).collect();
    let report = |purpose: String, checks, slowest: Option<Duration>| Report {
        purpose,
        checks,
        slowest_seconds: slowest.map(|took| took.as_secs_f64()),
    };
    let checks: Vec<Vec<Checked>> = all.iter().map(|(_, checks, _)| checks.clone()).collect();
    let slowest = all.iter().filter_map(|(.., slowest)| *slowest).max();
    let mut reports = vec![report(purpose.to_owned(), resolver::together(&checks), slowest)];
    if all.len() > 1 {
        let each =
            all.iter().map(|(server, checks, slowest)| (format!("{purpose}@{server}"), checks.clone(), *slowest));
        reports.extend(each.map(|(purpose, checks, slowest)| report(purpose, checks, slowest)));
    }
    reports
}

/// A list whose test entry one server gives is alive: another that gives none takes it away.
fn confront(all: &mut [(SocketAddr, Vec<Zone>, Said)]) {
    let gives =
        |point: &TestPoint| matches!(&point.here, DnsOutcome::Addresses(all) if all.iter().any(|a| a.is_loopback()));
    let mut alive = BTreeSet::new();
    for (_, zones, said) in all.iter() {
        let given = zones.iter().zip(&said.test_points).filter(|(_, point)| gives(point));
        alive.extend(given.map(|(zone, _)| zone.name.clone()));
    }
    for (_, zones, said) in all {
        for (zone, point) in zones.iter().zip(&mut said.test_points) {
            // Servers of its own may be the only ones that know it.
            point.elsewhere = zone.servers.is_empty() && alive.contains(&zone.name);
        }
    }
}

/// A single list cannot convict the monitor's resolver; a list whose own servers say otherwise can.
fn cross_examine(subjects: &mut [Subject], purposes: &[(String, Vec<SocketAddr>)]) {
    let servers = purposes.iter().find(|(name, _)| name == MONITOR).map_or(&[][..], |(_, servers)| servers);
    let witnesses: Vec<Tested> = subjects
        .iter()
        .filter(|subject| !servers.contains(&subject.server))
        .flat_map(|subject| {
            let own = subject.zones.iter().filter(|tested| !tested.zone.servers.is_empty());
            own.map(|tested| Tested { zone: tested.zone.clone(), own: Some(Arc::clone(&subject.asker)) })
        })
        .collect();
    for monitor in subjects.iter_mut().filter(|subject| servers.contains(&subject.server)) {
        let missing = 2usize.saturating_sub(monitor.zones.len());
        monitor.zones.extend(witnesses.iter().take(missing).cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::Grade;
    use super::*;
    use crate::clock::{ManualClock, Wall};
    use crate::config::{Probe, ZoneKind};
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
        let well = BTreeSet::new();
        let sign = |grade| match grade {
            Grade::Good => '+',
            Grade::Bad => '-',
            Grade::Unknown => '?',
        };
        let reports = resolvers.check("remuda-0123", &well).await.reports;
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
        assert_eq!(check(&config).await, both("+++++"));

        for list in ["x", "y"] {
            server.mood(&format!("{list}.example.org"), Mood::Records);
        }
        assert_eq!(check(&config).await, both("+++?+"), "two dead lists are two dead lists");
        for list in ["x", "y"] {
            server.txt(&format!("2.0.0.127.{list}.example.org"), "test entry");
        }
        assert_eq!(check(&config).await, both("+++-+"), "127/8 taken away");
        server.mood("y.example.org", Mood::Dnsbl);
        assert_eq!(check(&config).await, both("+++++"), "one hollow list is a hollow list");
        server.mood(".", Mood::Always([203, 0, 113, 80].into()));
        server.mood("x.example.org", Mood::Dnsbl);
        assert_eq!(check(&config).await, both("++-++"), "rewritten");
        server.mood(".", Mood::Records);
        server.mood("x.example.org", Mood::refusing());
        assert_eq!(check(&config).await, both("++++-"), "refused as a public one");
        for mood in [Mood::Silent, Mood::Code(hickory_resolver::proto::op::ResponseCode::ServFail)] {
            for name in [".", "x.example.org", "y.example.org"] {
                server.mood(name, mood.clone());
            }
            let signs = if mood == Mood::Silent { "-???+" } else { "-+??+" };
            assert_eq!(check(&config).await, both(signs), "{mood:?}");
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
        assert_eq!((of("monitor"), of("zone:x")), (Some("+++-+"), Some("+++++")));
    }

    #[tokio::test]
    async fn all_other_lists_are_asked_before_a_resolver_is_convicted() {
        let server = server().await;
        let names = ["a", "b", "c", "d", "e"];
        for list in &names[..4] {
            server.txt(&format!("2.0.0.127.{list}.example.org"), "test entry");
        }
        let mut config = config(&server, &names);
        let monitor = async |config: &Config| check(config).await.swap_remove(0).1;
        assert_eq!(monitor(&config).await, "+++-+");
        server.mood("e.example.org", Mood::Dnsbl);
        assert_eq!(monitor(&config).await, "+++++", "the fifth is well");
        config.monitor.zones[4].zone = "0123456789abcdef01.e.example.org".to_owned();
        server.mood("0123456789abcdef01.e.example.org", Mood::Dnsbl);
        assert_eq!(monitor(&config).await, "+++++", "a key may speak for it");
        config.monitor.zones[4] = Zone { kind: ZoneKind::Domain, ..zone("e") };
        config.monitor.zones[4].zone = "e.example.org".to_owned();
        config.monitor.zones[4].positive_probe = Some(Probe::Name("test".to_owned()));
        server.listed_domain("e.example.org", "test", [127, 0, 0, 2].into());
        assert_eq!(monitor(&config).await, "+++++", "so may a list of domains");
    }

    #[tokio::test]
    async fn each_server_is_tested_for_itself_and_so_is_the_second_opinion() {
        let (first, fallback, second) = (server().await, server().await, server().await);
        for good in [&first, &fallback, &second] {
            good.mood("x.example.org", Mood::Dnsbl);
        }
        let mut config = config(&first, &["x"]);
        config.dns.servers = vec![first.addr()];
        config.monitor.servers.push(fallback.addr());
        config.monitor.second_servers = vec![second.addr()];
        let of = |found: &[(String, String)], purpose: &str| {
            found.iter().find(|(p, _)| p == purpose).map(|(_, signs)| signs.clone()).unwrap_or_default()
        };
        let own = |server: &Server| format!("monitor@{}", server.addr());
        let all_good = check(&config).await;
        assert!(all_good.iter().all(|(_, signs)| signs == "+++++"), "{all_good:?}");
        assert_eq!(all_good.len(), 5, "{all_good:?}");

        // One list is enough where another resolver gives its test entry.
        for bad in [&fallback, &second] {
            bad.mood("x.example.org", Mood::Records);
            bad.txt("2.0.0.127.x.example.org", "test entry");
        }
        let found = check(&config).await;
        assert_eq!((of(&found, "monitor"), of(&found, &own(&first))), ("+++++".to_owned(), "+++++".to_owned()));
        assert_eq!((of(&found, "second"), of(&found, &own(&fallback))), ("+++-+".to_owned(), "+++-+".to_owned()));
        let clock = ManualClock::at(Wall::from_millis(1_800_000_000_000));
        let (resolvers, _) = Resolvers::new(&config, Arc::new(clock));
        assert_eq!(resolvers.servers(MONITOR), [first.addr(), fallback.addr()]);
        let servers = resolvers.check("remuda-0123", &BTreeSet::new()).await.servers;
        let lies = |(_, checks): &&(SocketAddr, Vec<Checked>)| resolver::belief(None, checks).is_some();
        let liars: Vec<SocketAddr> = servers.iter().filter(lies).map(|(server, _)| *server).collect();
        assert_eq!(liars, [fallback.addr(), second.addr()]);
    }

    #[tokio::test]
    async fn a_list_that_was_well_in_its_last_round_speaks_for_the_only_server() {
        let server = server().await;
        for list in ["x", "y"] {
            server.txt(&format!("2.0.0.127.{list}.example.org"), "test entry");
        }
        let config = config(&server, &["x", "y", "z"]);
        let clock = ManualClock::at(Wall::from_millis(1_800_000_000_000));
        let (resolvers, _) = Resolvers::new(&config, Arc::new(clock));
        let loopback = async |well: &[&str]| {
            let well = well.iter().map(|zone| ZoneName::new(*zone)).collect();
            resolvers.check("remuda-0123", &well).await.reports[0].checks[3].grade
        };
        assert_eq!(loopback(&[]).await, Grade::Bad);
        assert_eq!(loopback(&["z"]).await, Grade::Unknown);
        assert_eq!(loopback(&["other"]).await, Grade::Bad);
    }
}
