//! A single look at everything, for the command line: the same questions and judgements as those of the running monitor,
//! without its memory. What it sees is not confirmed by a second look.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::names::{self, Checked};
use super::selfcheck::{Report, Resolvers};
use crate::clock::Clock;
use crate::config::{Config, ZoneKind};
use crate::message::{BindingName, ZoneName};
use crate::monitor::answer::AnswerClass;
use crate::monitor::dns::Asker;
use crate::monitor::dnsbl::{Dnsbl, Question, Shared};
use crate::monitor::reverse::Found;
use crate::monitor::rounds::{SetupError, random_label};
use crate::monitor::spf::ask;
use crate::monitor::subject::Subject;
use crate::monitor::{fcrdns, zone};

/// Questions to lists in flight.
const IN_FLIGHT: usize = 64;

/// What a list says.
#[derive(Clone, Debug)]
pub struct ListLook {
    /// Which.
    pub zone: ZoneName,
    /// Whether it is to be believed; otherwise its state and why, and nothing was asked about addresses.
    pub fit: Result<(), (zone::ZoneHealth, String)>,
    /// One answer for each address.
    pub answers: Vec<(BindingName, AnswerClass)>,
}

/// Asks.
pub struct Look {
    asker: Asker,
    lists: Vec<(ZoneName, Dnsbl)>,
    resolvers: Resolvers,
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
        let gate = Arc::new(Semaphore::new(IN_FLIGHT));
        let shared = Shared { servers, second: &[], timeout: monitor.timeout, gate, clock: Arc::clone(&clock) };
        let list = |zone: &crate::config::Zone| {
            Dnsbl::new(zone, &shared, config.bindings.len()).map(|list| (zone.name.clone(), list))
        };
        Ok(Self {
            asker: Asker::new("names", servers, monitor.timeout)?,
            lists: monitor
                .zones
                .iter()
                .filter(|zone| zone.kind == ZoneKind::Address)
                .map(list)
                .collect::<Result<_, _>>()?,
            resolvers: Resolvers::new(config, clock).0,
            spf: ask::Asker::new(config)?,
        })
    }

    /// The names of one address, in the order of [`NameCheck::ALL`](names::NameCheck::ALL). `ehlo` is `None` where it
    /// varies with the message.
    pub async fn names(&self, address: IpAddr, ehlo: Option<&str>) -> Vec<Checked> {
        names::checks(address, ehlo, &fcrdns::check(&self.asker, address, ehlo).await)
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

    /// The resolvers themselves.
    pub async fn resolvers(&self) -> Vec<Report> {
        self.resolvers.check(&random_label()).await
    }

    /// Each list about each address: its probes first, then one question each.
    pub async fn lists(&self, targets: &[(BindingName, IpAddr)]) -> Vec<ListLook> {
        let mut looks = Vec::new();
        for (zone, list) in &self.lists {
            let question = |(binding, address): &(BindingName, IpAddr)| Question {
                subject: Subject::Binding(binding.clone()),
                address: Some(address.to_canonical()),
                is_new: false,
                wants_text: false,
            };
            let questions = targets.iter().map(question).collect();
            let Some(seen) = list.look(questions, &[], &random_label(), false).await else { continue };
            let fit = zone::judge(&seen.probes);
            let answers = seen.answers.into_iter().filter_map(|(subject, answer)| match subject {
                Subject::Binding(binding) => Some((binding, answer)),
                Subject::Domain(_) => None,
            });
            looks.push(ListLook { zone: zone.clone(), fit, answers: answers.collect() });
        }
        looks
    }
}
