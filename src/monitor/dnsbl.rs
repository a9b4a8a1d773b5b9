//! One zone's questions of one round: the probes first, our own addresses only when they were good.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::config::Zone;
use crate::message::BindingName;

use super::answer::{AnswerClass, DnsOutcome, classify, query_name};
use super::dns::{Asker, SetupError};
use super::zone::{Probes, judge};

/// What a zone said in one round.
pub(super) struct ZoneRound {
    /// Answers to the probes.
    pub(super) probes: Probes,
    /// Answers about our addresses; empty when the probes were bad.
    pub(super) answers: Vec<(BindingName, AnswerClass)>,
}

/// One zone and its resolver.
pub(super) struct Dnsbl {
    zone: Zone,
    asker: Arc<Asker>,
}

impl Dnsbl {
    /// Asks the zone's own servers where it has some, else `servers`.
    pub(super) fn new(zone: &Zone, servers: &[SocketAddr], timeout: Duration) -> Result<Self, SetupError> {
        let servers = if zone.servers.is_empty() { servers } else { &zone.servers };
        let asker = Asker::new(&format!("zone {}", zone.name), servers, timeout)?;
        Ok(Self { zone: zone.clone(), asker: Arc::new(asker) })
    }

    /// Asks about `targets`. `random` is a label that cannot exist in the zone.
    pub(super) async fn round(&self, targets: &[(BindingName, IpAddr)], random: &str) -> ZoneRound {
        let probe = |address: Option<IpAddr>| async move {
            match address {
                Some(address) => Some(self.address(address).await),
                None => None,
            }
        };
        let nowhere = format!("{random}.{}.", self.zone.zone.trim_end_matches('.'));
        let (positive, negative, random) =
            tokio::join!(probe(self.zone.positive_probe), probe(self.zone.negative_probe), self.asker.a(&nowhere));
        let probes = Probes { positive, negative, random: classify(&random, &self.zone) };
        let answers = match judge(&probes) {
            Ok(()) => self.addresses(targets).await,
            Err(_) => Vec::new(),
        };
        ZoneRound { probes, answers }
    }

    async fn address(&self, address: IpAddr) -> AnswerClass {
        classify(&self.asker.a(&query_name(address, &self.zone.zone)).await, &self.zone)
    }

    async fn addresses(&self, targets: &[(BindingName, IpAddr)]) -> Vec<(BindingName, AnswerClass)> {
        let mut questions = JoinSet::new();
        for (binding, address) in targets {
            let (asker, binding) = (Arc::clone(&self.asker), binding.clone());
            let name = query_name(*address, &self.zone.zone);
            questions.spawn(async move { (binding, asker.a(&name).await) });
        }
        let mut answers: Vec<(BindingName, DnsOutcome)> = Vec::with_capacity(targets.len());
        while let Some(answer) = questions.join_next().await {
            // A question that panicked or was cancelled is one that was not answered.
            answers.extend(answer.ok());
        }
        answers.into_iter().map(|(binding, outcome)| (binding, classify(&outcome, &self.zone))).collect()
    }
}
