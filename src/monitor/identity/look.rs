//! A single look at everything, for the command line: the same questions and judgements as those of the running monitor,
//! without its memory. What it sees is not confirmed by a second look.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::names::{self, Checked};
use super::resolver;
use super::selfcheck::{Report, Resolvers};
use crate::clock::Clock;
use crate::config::{Config, Zone, ZoneKind};
use crate::monitor::answer::AnswerClass;
use crate::monitor::dns::{Asker, Liars};
use crate::monitor::dnsbl::{Dnsbl, Question, Shared};
use crate::monitor::reverse::{Found, Seen};
use crate::monitor::rounds::{SetupError, random_label};
use crate::monitor::spf::ask;
use crate::monitor::subject::{self, Subject};
use crate::monitor::{fcrdns, zone};

/// Questions to lists in flight.
const IN_FLIGHT: usize = 64;

/// What a list says.
#[derive(Clone, Debug)]
pub struct ListLook {
    /// Whether it is to be believed; otherwise nothing was asked about anybody.
    pub fit: Fit,
    /// One answer for each that was asked about.
    pub answers: Vec<(Subject, AnswerClass)>,
}

/// Whether a list is to be believed.
#[derive(Clone, Debug)]
pub enum Fit {
    /// It is.
    Good,
    /// It is not: its state and why.
    Bad(zone::ZoneHealth, String),
    /// A day's questions (`queries_per_day`) are not enough for its probes and one of ours.
    NoBudget,
}

/// Asks.
pub struct Look {
    asker: Asker,
    lists: Vec<(Zone, Dnsbl)>,
    resolvers: Resolvers,
    liars: Liars,
    spf: ask::Asker,
}

impl Look {
    /// Sets up the resolvers of a configuration. Asks nothing yet; needs a tokio runtime.
    ///
    /// # Errors
    /// A resolver cannot be set up, or the system's servers cannot be read where none are configured.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let monitor = &config.monitor;
        let servers = if monitor.servers.is_empty() { &config.dns.servers } else { &monitor.servers };
        let (gate, liars) = (Arc::new(Semaphore::new(IN_FLIGHT)), Liars::default());
        let shared = Shared {
            servers,
            second: &[],
            timeout: monitor.timeout,
            gate,
            clock: Arc::clone(&clock),
            liars: liars.clone(),
        };
        // The PTR names are not known yet.
        let domains = subject::domains(config, []).len() + config.bindings.len() * subject::LEVELS_MAX;
        let list = |zone: &Zone| {
            let subjects = if zone.kind == ZoneKind::Address { config.bindings.len() } else { domains };
            Dnsbl::new(zone, &shared, subjects).map(|list| (zone.clone(), list))
        };
        Ok(Self {
            asker: Asker::new("names", servers, monitor.timeout, &clock)?.heeding(&liars),
            lists: monitor.zones.iter().map(list).collect::<Result<_, _>>()?,
            resolvers: Resolvers::new(config, clock).0,
            liars,
            spf: ask::Asker::new(config)?,
        })
    }

    /// The names of one address, in the order of [`NameCheck::ALL`](names::NameCheck::ALL), and those PTR names that lead
    /// back. `ehlo` is `None` where it varies with the message.
    pub async fn names(&self, address: IpAddr, ehlo: Option<&str>) -> (Vec<Checked>, Vec<String>) {
        let observed = fcrdns::check(&self.asker, address, ehlo).await;
        let confirmed = match observed.reverse(address) {
            Seen::Confirmed(names) => names,
            _ => Vec::new(),
        };
        (names::checks(address, ehlo, &observed), confirmed)
    }

    /// SPF of `domain` for `address` (RFC 7208).
    pub async fn spf(&self, domain: &str, address: IpAddr, ehlo: &str) -> ask::Answer {
        self.spf.verify(domain, address, ehlo).await
    }

    /// TXT records of `name`.
    pub async fn texts(&self, name: &str) -> Found<String> {
        self.asker.texts(name).await
    }

    /// Addresses of `name` of the family of `like`.
    pub async fn addresses(&self, name: &str, like: IpAddr) -> Found<IpAddr> {
        self.asker.addresses(name, like).await
    }

    /// The resolvers themselves. A server that is proven to lie is not asked afterwards while there is another.
    pub async fn resolvers(&self) -> Vec<Report> {
        let checkup = self.resolvers.check(&random_label(), &BTreeSet::new()).await;
        let lies = checkup.servers.iter().filter(|(_, checks)| resolver::belief(None, checks).is_some());
        self.liars.set(lies.map(|(server, _)| *server).collect());
        checkup.reports
    }

    /// The lists, in the order of the configuration. Their names in DNS may hold a key and are not to be shown.
    pub fn lists(&self) -> impl Iterator<Item = &Zone> {
        self.lists.iter().map(|(zone, _)| zone)
    }

    /// Asks the list of this number about those of `subjects` that it knows (addresses of its families, or domains): its
    /// probes first, then one question each. `None` where there is no such list.
    pub async fn list(&self, number: usize, subjects: &[(Subject, Option<IpAddr>)]) -> Option<ListLook> {
        let (zone, list) = self.lists.get(number)?;
        let is_asked = |address: Option<IpAddr>| match zone.kind {
            ZoneKind::Address => address.is_some_and(|address| zone.families.hold(address)),
            ZoneKind::Domain => address.is_none(),
        };
        let question = |(subject, address): &(Subject, Option<IpAddr>)| Question {
            subject: subject.clone(),
            address: *address,
            is_new: false,
            wants_text: false,
        };
        let subjects = subjects.iter().map(|(subject, address)| (subject.clone(), address.map(|a| a.to_canonical())));
        let subjects: Vec<_> = subjects.filter(|(_, address)| is_asked(*address)).collect();
        let questions: Vec<Question> = subjects.iter().map(question).collect();
        // A round without questions still shows what the list is worth.
        let whole = questions.is_empty();
        let Some(seen) = list.look(questions, &[], &random_label(), whole).await else {
            return Some(ListLook { fit: Fit::NoBudget, answers: Vec::new() });
        };
        let fit = match zone::judge(&seen.probes) {
            Ok(()) => Fit::Good,
            Err((health, why)) => return Some(ListLook { fit: Fit::Bad(health, why), answers: Vec::new() }),
        };
        let left_out = |subject: &Subject| seen.answers.iter().all(|(answered, _)| answered != subject);
        let left_out: Vec<(Subject, AnswerClass)> = subjects
            .iter()
            .filter(|(subject, _)| left_out(subject))
            .map(|(subject, address)| {
                let no_v6 = address.is_some_and(|a| a.is_ipv6()) && !seen.probes.ipv6_counts();
                let why =
                    if no_v6 { "its test entry for IPv6 is missing" } else { "its queries_per_day do not suffice" };
                (subject.clone(), AnswerClass::NoAnswer(why))
            })
            .collect();
        Some(ListLook { fit, answers: seen.answers.into_iter().chain(left_out).collect() })
    }
}
