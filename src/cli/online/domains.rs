//! The domains of the tenants: SPF for each binding they may leave from, DMARC, DKIM keys.
//!
//! A tenant's domains are those by which it or a stream of it is recognised (`sender_domain`, exact names) and its
//! `return_path_domain`. Where return paths are rewritten, SPF is asked of that domain, since receivers do the same; DMARC
//! and DKIM belong to the sender's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Binding, Config, DomainPattern, Tenant};
use crate::message::BindingName;
use crate::monitor::identity::look::Look;
use crate::monitor::reverse::Found;
use crate::monitor::spf::ask::Outcome;

use super::family;
use super::records::{self, Dmarc};
use super::report::{BindingReport, DomainReport, Finding, State};

/// Labels of a name that are walked up for a DMARC record (RFC 9989 §4.10).
const WALK: usize = 8;

/// One domain and who uses it.
#[derive(Default)]
struct Used {
    tenants: BTreeSet<String>,
    /// As the domain of the reverse path, from these bindings.
    from: BTreeSet<BindingName>,
    /// As the domain of the author.
    author: bool,
}

pub(super) async fn look(
    look: &Look,
    config: &Config,
    bindings: &[Arc<Binding>],
    reports: &mut [BindingReport],
    selectors: &[String],
) -> Vec<DomainReport> {
    let mut domains = Vec::new();
    for (domain, used) in used(config) {
        for (binding, report) in bindings.iter().zip(reports.iter_mut()) {
            if used.from.contains(&binding.name) {
                let ehlo = report.ehlo.clone().unwrap_or_else(|| domain.clone());
                let answer = look.spf(&domain, binding.public_address, &ehlo).await;
                report.findings.push(spf(&domain, binding, answer.outcome, answer.words()));
            }
        }
        let mut findings = Vec::new();
        if used.author {
            findings.push(dmarc(look, &domain).await);
            for selector in selectors {
                findings.push(dkim(look, &domain, selector).await);
            }
        }
        if !findings.is_empty() {
            domains.push(DomainReport { domain, tenants: used.tenants.into_iter().collect(), findings });
        }
    }
    domains
}

fn used(config: &Config) -> BTreeMap<String, Used> {
    let mut domains: BTreeMap<String, Used> = BTreeMap::new();
    for tenant in &config.tenants {
        let rules = tenant.streams.iter().filter_map(|rule| rule.sender_domain.as_ref());
        let patterns = tenant.matches.sender_domain.iter().chain(rules);
        let own: BTreeSet<&str> = patterns
            .filter_map(|pattern| if let DomainPattern::Exact(domain) = pattern { Some(domain.as_str()) } else { None })
            .collect();
        let rewritten = tenant.sends_as(config).map(crate::message::Domain::as_str);
        for domain in own.iter().copied().chain(rewritten) {
            let used = domains.entry(domain.to_owned()).or_default();
            used.tenants.insert(tenant.name.to_string());
            used.author |= own.contains(domain);
            if rewritten.is_none_or(|rewritten| rewritten == domain) {
                used.from.extend(leaves_from(config, tenant));
            }
        }
    }
    domains
}

/// Bindings of all pools a tenant's mail may go to, backups included.
fn leaves_from(config: &Config, tenant: &Tenant) -> BTreeSet<BindingName> {
    let split = tenant.split.values().flatten().map(|(pool, _)| pool);
    let pools: BTreeSet<_> = tenant.pools.values().chain(split).collect();
    let members =
        config.pools.iter().filter(|pool| pools.contains(&pool.name)).flat_map(|pool| pool.tiers.iter().flatten());
    members.map(|member| member.binding.clone()).collect()
}

fn spf(domain: &str, binding: &Binding, outcome: Outcome, reason: Option<String>) -> Finding {
    let state = match outcome {
        Outcome::Pass => State::Good,
        Outcome::Fail | Outcome::PermError => State::Fault,
        Outcome::SoftFail | Outcome::Neutral | Outcome::None => State::Warning,
        Outcome::TempError => State::Unknown,
    };
    let detail = match reason {
        Some(reason) => format!("{}: {reason}", outcome.as_str()),
        None => outcome.as_str().to_owned(),
    };
    let address = binding.public_address.to_canonical();
    let mechanism = format!("ip{}:{address}", family(address));
    let remedy = match outcome {
        Outcome::None => format!("publish TXT \"v=spf1 {mechanism} ~all\" at {domain}"),
        Outcome::PermError => format!("mend the SPF record of {domain}: one record, at most ten look-ups, no mistake"),
        Outcome::TempError => "ask again; if it stays, see the domain's name servers".to_owned(),
        _ => format!("add {mechanism} to the SPF record of {domain}"),
    };
    Finding::new("spf", state, detail).about(domain).remedy(remedy)
}

async fn dmarc(look: &Look, domain: &str) -> Finding {
    let absent = || {
        Finding::new("dmarc", State::Warning, "there is no DMARC record").remedy(format!(
            "publish TXT \"v=DMARC1; p=none; rua=mailto:…\" at _dmarc.{domain}: large receivers ask for it"
        ))
    };
    let mut labels: Vec<&str> = domain.split('.').collect();
    for step in 0..WALK {
        let at = labels.join(".");
        let name = format!("_dmarc.{at}");
        match look.texts(&name).await {
            Found::Failed(why) => return Finding::new("dmarc", State::Unknown, format!("{name}: {why}")),
            Found::Absent => {}
            Found::Records(texts) => match records::dmarc(&texts) {
                Dmarc::Absent => {}
                Dmarc::Many => {
                    return Finding::new("dmarc", State::Fault, format!("{name} has more than one DMARC record"))
                        .remedy("keep one: receivers ignore all where there are several");
                }
                Dmarc::Wrong(what) => {
                    return Finding::new("dmarc", State::Fault, format!("{name}: {what}"))
                        .remedy("write \"v=DMARC1; p=none\", p=quarantine or p=reject");
                }
                Dmarc::Policy { own, below } => {
                    let policy = if step == 0 { own } else { below };
                    let from = if step == 0 { String::new() } else { format!(", from {name}") };
                    return Finding::good("dmarc", format!("policy {policy}{from}"));
                }
            },
        }
        // The top level has no policy for others.
        if labels.len() <= 2 {
            break;
        }
        labels.remove(0);
    }
    absent()
}

async fn dkim(look: &Look, domain: &str, selector: &str) -> Finding {
    let name = format!("{selector}._domainkey.{domain}");
    let about = format!("{selector}._domainkey");
    let finding = match look.texts(&name).await {
        Found::Failed(why) => Finding::new("dkim", State::Unknown, why),
        Found::Absent => Finding::new("dkim", State::Fault, "there is no key")
            .remedy(format!("publish the public key as TXT at {name}, or sign with a selector that has one")),
        Found::Records(texts) => match records::dkim(&texts) {
            Ok(key) if key.testing => Finding::new("dkim", State::Warning, format!("{key}, marked as a test (t=y)"))
                .remedy("take t=y out: receivers may treat the mail as unsigned"),
            Ok(key) => Finding::good("dkim", key.to_string()),
            Err(what) => Finding::new("dkim", State::Fault, what)
                .remedy(format!("publish an RSA key of 2048 bit (1024 at least) or an Ed25519 key at {name}")),
        },
    };
    finding.about(about)
}
