//! What the configured lists say of each binding, in one look.

use std::sync::Arc;

use crate::config::{Binding, Config};
use crate::message::BindingName;
use crate::monitor::answer::AnswerClass;
use crate::monitor::identity::look::Look;

use super::report::{BindingReport, Finding, State, ZoneReport};

/// Asks all lists about all bindings. Returns what the lists themselves are worth.
pub(super) async fn look(
    look: &Look,
    config: &Config,
    bindings: &[Arc<Binding>],
    reports: &mut [BindingReport],
) -> Vec<ZoneReport> {
    let targets: Vec<(BindingName, std::net::IpAddr)> =
        bindings.iter().map(|binding| (binding.name.clone(), binding.public_address)).collect();
    let looks = look.lists(&targets).await;
    let mut zones = Vec::new();
    for list in &looks {
        let findings = match &list.fit {
            Ok(()) => {
                for (binding, answer) in &list.answers {
                    let report = reports.iter_mut().find(|report| report.binding == *binding.as_str());
                    if let Some(report) = report {
                        report.findings.push(finding(answer, config).about(list.zone.as_str()));
                    }
                }
                vec![Finding::good("list", "healthy")]
            }
            Err((health, why)) => vec![
                Finding::new("list", State::Warning, format!("{}: {why}", health.as_str()))
                    .remedy("see its terms of use, its key and the resolver; nothing is concluded from it until then"),
            ],
        };
        zones.push(ZoneReport { zone: list.zone.to_string(), findings });
    }
    zones
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
