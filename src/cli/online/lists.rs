//! What the configured lists say in one look: lists of addresses of each binding, lists of domains of the names that the
//! bindings go by and of the tenants' domains.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Sleep;

use crate::config::{Binding, Config};
use crate::message::{BindingName, Domain};
use crate::monitor::answer::AnswerClass;
use crate::monitor::identity::look::{Fit, ListLook, Look};
use crate::monitor::subject::{self, Domains, Subject};

use super::report::{BindingReport, DomainReport, Finding, State, ZoneReport};
use super::{TOO_LATE, gather};

/// Asks all lists. `names` are the PTR names of each of `bindings`, `more` domains that the configuration does not name.
/// Returns what the lists themselves are worth.
pub(super) async fn look(
    look: &Arc<Look>,
    config: &Config,
    (bindings, names): (&[Arc<Binding>], &[Vec<String>]),
    more: &[Domain],
    (reports, domains): (&mut [BindingReport], &mut Vec<DomainReport>),
    limit: Pin<&mut Sleep>,
) -> Vec<ZoneReport> {
    let users = users(config, bindings, names, more);
    let addresses: Vec<_> = bindings.iter().map(|binding| (binding.name.clone(), binding.public_address)).collect();
    let addresses = subject::addresses(&addresses);
    let asked = addresses.iter().map(|(subject, address)| (subject.clone(), Some(*address)));
    let subjects: Arc<Vec<_>> =
        Arc::new(asked.chain(users.keys().map(|domain| (Subject::Domain(domain.clone()), None))).collect());
    let questions = (0..look.lists().count()).map(|number| {
        let (look, subjects) = (Arc::clone(look), Arc::clone(&subjects));
        async move { look.list(number, &subjects).await }
    });
    let looks = gather(questions.collect(), limit).await;
    let mut zones = Vec::new();
    for (zone, seen) in look.lists().zip(looks) {
        let name = zone.name.as_str();
        let seen = seen.flatten();
        for (subject, answer) in seen.iter().flat_map(|seen| &seen.answers) {
            let found = finding(answer, config);
            match subject {
                Subject::Binding(binding) | Subject::Second(binding, _) => {
                    tell(reports, binding, addresses.get(subject).copied(), found.about(name));
                }
                Subject::Domain(domain) => {
                    let Some(used) = users.get(domain) else { continue };
                    let about = format!("{name} {domain}");
                    used.bindings
                        .iter()
                        .for_each(|binding| tell(reports, binding, None, found.clone().about(about.as_str())));
                    let tenants = used.tenants.iter().map(ToString::to_string).collect::<Vec<_>>();
                    if !tenants.is_empty() || used.bindings.is_empty() {
                        tell_domain(domains, domain, tenants, found.about(name));
                    }
                }
            }
        }
        zones.push(ZoneReport { zone: name.to_owned(), findings: vec![worth(seen.as_ref())] });
    }
    domains.sort_by(|a, b| a.domain.cmp(&b.domain));
    zones
}

/// The domains to ask about, with those who use them, as far as they are looked at.
fn users(config: &Config, bindings: &[Arc<Binding>], names: &[Vec<String>], more: &[Domain]) -> Domains {
    let reverse = bindings.iter().zip(names).map(|(binding, names)| (&binding.name, names.as_slice()));
    let mut users = subject::domains(config, reverse);
    let chosen: BTreeSet<&BindingName> = bindings.iter().map(|binding| &binding.name).collect();
    users.values_mut().for_each(|users| users.bindings.retain(|binding| chosen.contains(binding)));
    users.retain(|_, users| !users.bindings.is_empty() || !users.tenants.is_empty());
    for domain in more {
        users.entry(domain.as_str().to_owned()).or_default();
    }
    users
}

/// Of one of its addresses, or of the binding: that stands with the first.
fn tell(reports: &mut [BindingReport], binding: &BindingName, of: Option<IpAddr>, finding: Finding) {
    let is_meant = |report: &&mut BindingReport| {
        report.binding == *binding.as_str() && of.is_none_or(|address| report.public_address == address)
    };
    if let Some(report) = reports.iter_mut().find(is_meant) {
        report.findings.push(finding);
    }
}

/// A domain that is looked at for nothing else is shown where something is to be said of it.
fn tell_domain(domains: &mut Vec<DomainReport>, domain: &str, tenants: Vec<String>, finding: Finding) {
    match domains.iter_mut().find(|report| report.domain == domain) {
        Some(report) => report.findings.push(finding),
        None if finding.state == State::Good => {}
        None => domains.push(DomainReport { domain: domain.to_owned(), tenants, findings: vec![finding] }),
    }
}

/// What the list itself is worth.
fn worth(seen: Option<&ListLook>) -> Finding {
    match seen.map(|seen| &seen.fit) {
        Some(Fit::Good) => Finding::good("list", "healthy"),
        Some(Fit::Bad(health, why)) => Finding::new("list", State::Warning, format!("{}: {why}", health.as_str()))
            .remedy("see its terms of use, its key and the resolver; nothing is concluded from it until then"),
        Some(Fit::NoBudget) => Finding::new("list", State::Unknown, "not asked: its queries_per_day do not suffice"),
        None => Finding::new("list", State::Unknown, TOO_LATE),
    }
}

fn finding(answer: &AnswerClass, config: &Config) -> Finding {
    match answer {
        AnswerClass::Listed { codes, weight, certain } => {
            let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
            let heavy = *weight >= config.monitor.throttle_weight || *certain;
            let state = match (heavy, *weight > 0.0) {
                (true, _) => State::Fault,
                (false, true) => State::Warning,
                (false, false) => State::Good,
            };
            let detail = format!("listed with {}, weight {weight}; one answer, unconfirmed", codes.join(" "));
            Finding::new("listed", state, detail)
                .remedy("find out why (the list's page says it), stop that, then ask for delisting")
        }
        AnswerClass::Good { .. } => Finding::good("listed", "not listed; a good word"),
        AnswerClass::NotListed => Finding::good("listed", "not listed"),
        AnswerClass::Refused(code) => {
            Finding::new("listed", State::Unknown, format!("the list refuses us with {code}"))
        }
        AnswerClass::Unknown(code) => {
            Finding::new("listed", State::Unknown, format!("answered {code}, which the configuration does not know"))
                .remedy("say in codes what it means")
        }
        AnswerClass::Bogus(address) => {
            Finding::new("listed", State::Unknown, format!("answered {address}, which is no return code"))
        }
        AnswerClass::NoAnswer(why) => Finding::new("listed", State::Unknown, format!("no answer: {why}")),
    }
}
