//! The questions to one server by which it is tested.
//!
//! A few lists are enough to see that all is well. Before a server is convicted of taking answers away, all others are
//! asked, also those that can only speak for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::names::Grade;
use super::resolver::{self, Checked, ResolverCheck, Said, TestPoint};
use crate::clock::Clock;
use crate::config::{Probe, Zone, ZoneKind};
use crate::monitor::answer::{DnsOutcome, domain_query_name, likely_keys, query_name};
use crate::monitor::dns::Asker;
use crate::monitor::keys;

/// Lists by which one server is tested at first: enough to tell a broken list from a broken resolver.
const LISTS: usize = 4;

/// Names that do not exist, by which a server is tested: one alone would take a lost packet for slowness. Some rewrite only
/// what looks like the name of a web site.
const NOWHERE: [&str; 3] = ["www.", "", "mx."];

/// One server and what it is tested by.
pub(super) struct Subject {
    pub(super) server: SocketAddr,
    pub(super) asker: Arc<Asker>,
    /// Lists that bear witness.
    pub(super) zones: Vec<Tested>,
    /// Lists that can only speak for it.
    pub(super) others: Vec<Zone>,
    /// All lists of `zones` are asked through it and no other server.
    pub(super) is_alone: bool,
}

/// A list, and its own servers where these are others.
#[derive(Clone)]
pub(super) struct Tested {
    pub(super) zone: Zone,
    pub(super) own: Option<Arc<Asker>>,
}

impl Subject {
    /// Those that are asked through it.
    pub(super) fn lists(&self) -> impl Iterator<Item = &Zone> {
        let witnesses = self.zones.iter().filter(|tested| tested.own.is_none()).map(|tested| &tested.zone);
        witnesses.chain(&self.others)
    }

    /// Takes a list in as one that bears witness or can speak for the server.
    pub(super) fn tests_by(&mut self, zone: &Zone) {
        if bears_witness(zone) {
            if self.zones.iter().all(|tested| tested.zone.name != zone.name) {
                self.zones.push(Tested { zone: zone.clone(), own: None });
            }
        } else if zone.positive_probe.is_some()
            && self.others.iter().all(|other| other.name != zone.name)
            // A key that cannot be read is complained of where the list is asked.
            && let Ok((zone, _)) = keys::unlocked_again(zone)
        {
            self.others.push(zone);
        }
    }
}

/// One server being asked.
pub(super) struct Interview {
    pub(super) subject: Arc<Subject>,
    pub(super) has_well_list: bool,
    pub(super) random: String,
    pub(super) slow: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

type Answer = (Part, DnsOutcome, Duration);

impl Interview {
    /// Asks everything that is needed for a judgement.
    pub(super) async fn hold(self) -> Said {
        let zones = self.subject.zones.len();
        let mut answers = self.ask(self.first_questions()).await;
        let said = self.said(&answers);
        let convicted = |checked: &Checked| checked.check == ResolverCheck::Loopback && checked.grade == Grade::Bad;
        if !resolver::judge(&said, self.slow).iter().any(convicted)
            || (zones <= LISTS && self.subject.others.is_empty())
        {
            return said;
        }
        answers.extend(self.ask(self.last_questions()).await);
        self.said(&answers)
    }

    fn first_questions(&self) -> Vec<(Part, Arc<Asker>, String)> {
        let asker = || Arc::clone(&self.subject.asker);
        let (random, mut questions) = (&self.random, Vec::new());
        // A top-level name that nobody was given. Not below `.invalid`: the resolver library answers that by itself.
        questions.extend(NOWHERE.iter().map(|host| (Part::Nowhere, asker(), format!("{host}{random}."))));
        for (at, Tested { zone, own }) in self.subject.zones.iter().enumerate().take(LISTS) {
            if own.is_none() {
                questions.push((Part::Random, asker(), format!("{random}.{}.", zone.zone.trim_end_matches('.'))));
            }
            if let Some(name) = test_entry(zone) {
                questions.push((Part::Here(at), asker(), name.clone()));
                questions.extend(own.iter().map(|own| (Part::There(at), Arc::clone(own), name.clone())));
            }
        }
        questions
    }

    fn last_questions(&self) -> Vec<(Part, Arc<Asker>, String)> {
        let asker = || Arc::clone(&self.subject.asker);
        let rest = self.subject.zones.iter().enumerate().skip(LISTS);
        let rest = rest.filter_map(|(at, tested)| Some((Part::Here(at), asker(), test_entry(&tested.zone)?)));
        rest.chain(self.subject.others.iter().filter_map(|zone| Some((Part::Other, asker(), test_entry(zone)?))))
            .collect()
    }

    async fn ask(&self, questions: Vec<(Part, Arc<Asker>, String)>) -> Vec<Answer> {
        let mut asked = JoinSet::new();
        for (part, asker, name) in questions {
            let clock = Arc::clone(&self.clock);
            asked.spawn(async move {
                let begun = clock.now().mono;
                let outcome = asker.a(&name).await;
                (part, outcome, clock.now().mono.since(begun))
            });
        }
        let mut answers = Vec::new();
        while let Some(answer) = asked.join_next().await {
            // A question whose task failed is one that was not answered.
            answers.extend(answer.ok());
        }
        answers
    }

    fn said(&self, answers: &[Answer]) -> Said {
        let subject = &self.subject;
        let every = |wanted: Part| answers.iter().filter(move |(part, ..)| *part == wanted);
        let of = |wanted: Part| every(wanted).map(|(_, outcome, _)| outcome.clone()).next();
        let answered = |outcome: &DnsOutcome| !matches!(outcome, DnsOutcome::Timeout | DnsOutcome::Other(_));
        let mut paces: Vec<Duration> =
            every(Part::Nowhere).filter(|(_, outcome, _)| answered(outcome)).map(|(.., took)| *took).collect();
        paces.sort_unstable();
        // One that was answered with an address weighs more than one that was not answered.
        let worst = every(Part::Nowhere).min_by_key(|(_, outcome, _)| match outcome {
            DnsOutcome::Addresses(_) => 0,
            outcome if answered(outcome) => 1,
            _ => 2,
        });
        Said {
            servers: vec![subject.server.ip()],
            for_lists: !subject.zones.is_empty() || !subject.others.is_empty(),
            nowhere: worst.map(|(_, outcome, _)| outcome.clone()),
            random: every(Part::Random).map(|(_, outcome, _)| outcome.clone()).collect(),
            test_points: (0..subject.zones.len())
                .map_while(|at| {
                    Some(TestPoint { here: of(Part::Here(at))?, there: of(Part::There(at)), elsewhere: false })
                })
                .collect(),
            others: every(Part::Other).map(|(_, outcome, _)| outcome.clone()).collect(),
            has_well_list: self.has_well_list,
            pace: paces.get(paces.len() / 2).copied(),
            // Not those of a list's own servers: they are another resolver's.
            slowest: answers
                .iter()
                .filter(|(part, outcome, _)| !matches!(part, Part::There(_)) && answered(outcome))
                .map(|(.., took)| *took)
                .max(),
        }
    }
}

/// Which question an answer belongs to; lists are numbered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Nowhere,
    Random,
    Here(usize),
    There(usize),
    Other,
}

fn test_entry(zone: &Zone) -> Option<String> {
    zone.positive_probe.as_ref().map(|probe| match probe {
        Probe::Address(address) => query_name(*address, &zone.zone),
        Probe::Name(name) => domain_query_name(name, &zone.zone),
    })
}

/// Whether the list's answers say something about the resolver: that of domains may have wildcards, and one with a key
/// answers by the state of the key. That they have no test entry proves nothing.
fn bears_witness(zone: &Zone) -> bool {
    matches!(zone.positive_probe, Some(Probe::Address(_)))
        && zone.kind == ZoneKind::Address
        && zone.random_probe
        && zone.key_file.is_none()
        && !is_keyed(zone)
}

/// Whether a key of the operator's is likely to stand in the zone's name. For names written with their key instead of with
/// `key_file`.
fn is_keyed(zone: &Zone) -> bool {
    !likely_keys(&zone.zone).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::zone::tests::zone;

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
