//! (shell) Asks DNS and has the answers proven by DNSSEC, for DANE.
//!
//! A resolver of its own beside the one for MX and addresses: with name servers that pass no signatures on, every answer of
//! a validating resolver is in doubt, and mail that knows nothing of DANE must not suffer from that. The chain is followed
//! from the root's keys, which are built in, or from the keys in `[dns] trust_anchor`; what name servers say of their own
//! proving (the AD bit) is not believed. The cache of hickory keeps the answers as long as their records allow.

use std::path::Path;
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolveHosts;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::tlsa::{Addressed, Answer, RawTlsa};
use crate::clock::{Clock, SystemClock};
use crate::config::Dns;
use crate::delivery::breaker::Breaker;
use crate::delivery::mx::{ResolverError, builder, built};
use crate::message::Domain;

/// Aliases in a row that are followed.
const LINKS_MAX: usize = 8;

/// Proves what name servers say.
pub struct Validator {
    dns: TokioResolver,
    in_flight: Semaphore,
    breaker: Mutex<Breaker>,
    clock: SystemClock,
}

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validator").finish_non_exhaustive()
    }
}

/// The keys in a file of DNSKEY records.
///
/// # Errors
/// In words, where it cannot be read or holds none.
pub fn anchors(path: &Path) -> Result<TrustAnchors, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let anchors: TrustAnchors = text.parse().map_err(|error| format!("no DNSKEY records: {error}"))?;
    let holds_any = text.lines().any(|line| line.split_whitespace().any(|word| word.eq_ignore_ascii_case("DNSKEY")));
    if holds_any { Ok(anchors) } else { Err("it holds no DNSKEY record".to_owned()) }
}

impl Validator {
    /// Asks the name servers of `dns`. Reads the file of its trust anchor, if one is named.
    ///
    /// # Errors
    /// The file cannot be used, or the system's configuration cannot.
    pub fn new(dns: &Dns) -> Result<Self, ResolverError> {
        let anchors = match &dns.trust_anchor {
            Some(path) => anchors(path)
                .map_err(|why| ResolverError::new(format!("dns.trust_anchor {}: {why}", path.display())))?,
            None => TrustAnchors::default(),
        };
        let failed = |error: NetError| ResolverError::new(error.to_string());
        let mut builder = builder(dns).map_err(failed)?.with_trust_anchor(Arc::new(anchors));
        // A line in /etc/hosts proves nothing.
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        Ok(Self {
            dns: built(builder).map_err(failed)?,
            in_flight: Semaphore::new(dns.max_in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            breaker: Mutex::default(),
            clock: SystemClock::default(),
        })
    }

    /// Hosts in the MX records of `domain`, in lower case without final dot.
    pub async fn mx(&self, domain: &Domain) -> Answer<Vec<String>> {
        self.proven(domain.as_str(), RecordType::MX, |record| match &record.data {
            RData::MX(mx) => Some(text(&mx.exchange)),
            _ => None,
        })
        .await
    }

    /// TLSA records of the service at `port` of `host` (RFC 6698 §3).
    pub async fn tlsa(&self, host: &str, port: u16) -> Answer<Vec<RawTlsa>> {
        self.proven(&format!("_{port}._tcp.{host}"), RecordType::TLSA, |record| match &record.data {
            RData::TLSA(tlsa) => Some(RawTlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            }),
            _ => None,
        })
        .await
    }

    /// Whether the addresses of `host` are proven, and behind which alias they are.
    pub async fn addressed(&self, host: &str) -> Answer<Addressed> {
        match self.addressed_by(host, RecordType::A).await {
            Answer::Absent => self.addressed_by(host, RecordType::AAAA).await,
            answer => answer,
        }
    }

    async fn addressed_by(&self, host: &str, kind: RecordType) -> Answer<Addressed> {
        let records = match self.ask(host, kind).await {
            Asked::Records(records) => records,
            Asked::None => return Answer::Absent,
            Asked::Failed(why) => return Answer::Failed(why),
        };
        let addresses = || records.iter().filter(|record| record.record_type() == kind);
        let is_proven = match proof(addresses()) {
            Proof::Secure => true,
            Proof::Insecure => false,
            _ => return Answer::Failed("the chain of signatures is broken".to_owned()),
        };
        let holder = addresses().next().map(|record| text(&record.name));
        match holder {
            Some(holder) if holder != host.to_ascii_lowercase() => self.behind_alias(host, is_proven).await,
            _ if is_proven => Answer::Secure(Addressed { alias_of: None }),
            _ => Answer::Insecure,
        }
    }

    /// Follows the aliases of `host` link by link: of an answer that came in parts, the cache gives the last part alone. Where
    /// the chain leads out of what is proven, the name it begins with still counts (RFC 7672 §2.2.2).
    async fn behind_alias(&self, host: &str, is_proven: bool) -> Answer<Addressed> {
        let mut name = host.to_ascii_lowercase();
        for link in 0..LINKS_MAX {
            let records = match self.ask(&name, RecordType::CNAME).await {
                Asked::Records(records) => records,
                Asked::None => return Answer::Secure(Addressed { alias_of: is_proven.then_some(name) }),
                Asked::Failed(why) => return Answer::Failed(why),
            };
            match proof(records.iter()) {
                Proof::Secure => {}
                Proof::Insecure if link == 0 => return Answer::Insecure,
                Proof::Insecure => return Answer::Secure(Addressed { alias_of: None }),
                _ => return Answer::Failed("the chain of signatures is broken".to_owned()),
            }
            let target = records.iter().find_map(|record| match &record.data {
                RData::CNAME(of) => Some(text(&of.0)),
                _ => None,
            });
            let Some(target) = target else { return Answer::Secure(Addressed { alias_of: None }) };
            name = target;
        }
        Answer::Failed("the chain of aliases is too long".to_owned())
    }

    async fn proven<T>(&self, name: &str, kind: RecordType, read: impl Fn(&Record) -> Option<T>) -> Answer<Vec<T>> {
        let records = match self.ask(name, kind).await {
            Asked::Records(records) => records,
            Asked::None => return Answer::Absent,
            Asked::Failed(why) => return Answer::Failed(why),
        };
        match proof(records.iter()) {
            Proof::Secure => {
                let read: Vec<T> = records.iter().filter_map(read).collect();
                if read.is_empty() { Answer::Absent } else { Answer::Secure(read) }
            }
            Proof::Insecure => Answer::Insecure,
            _ => Answer::Failed("the chain of signatures is broken".to_owned()),
        }
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Asked {
        let Ok(name) = Name::from_ascii(format!("{name}.")) else {
            return Asked::Failed("not a DNS name".to_owned());
        };
        let Ok(_permit) = self.in_flight.acquire().await else {
            return Asked::Failed("resolver closed".to_owned());
        };
        if !self.breaker.lock().allows(self.clock.now().mono) {
            return Asked::Failed("name servers do not answer".to_owned());
        }
        let answer = self.dns.lookup(name, kind).await;
        if matches!(answer, Err(NetError::Timeout | NetError::NoConnections | NetError::Io(_))) {
            self.breaker.lock().timed_out(self.clock.now().mono);
        } else {
            self.breaker.lock().answered();
        }
        match answer {
            Ok(lookup) => {
                let is_signature = |record: &&Record| record.record_type() == RecordType::RRSIG;
                Asked::Records(lookup.answers().iter().filter(|record| !is_signature(record)).cloned().collect())
            }
            // It comes only where the denial was proven, or the zone proven to be unsigned.
            Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Asked::None,
            Err(NetError::Dns(DnsError::Nsec { proof: Proof::Insecure, .. })) => Asked::None,
            Err(NetError::Dns(DnsError::Nsec { .. } | DnsError::DnssecBogus)) => {
                Asked::Failed("DNSSEC validation failed".to_owned())
            }
            Err(error) => Asked::Failed(error.to_string()),
        }
    }
}

enum Asked {
    Records(Vec<Record>),
    None,
    Failed(String),
}

/// The weakest of all; nothing is as good as unknown.
fn proof<'a>(records: impl Iterator<Item = &'a Record>) -> Proof {
    // Bogus and Indeterminate stand below Insecure, which stands below Secure.
    records.map(|record| record.proof).min().unwrap_or(Proof::Indeterminate)
}

fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}
