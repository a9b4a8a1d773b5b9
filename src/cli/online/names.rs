//! PTR, its way back and the EHLO name of each binding.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::config::Binding;
use crate::monitor::identity::look::Look;
use crate::monitor::identity::names::{Checked, Grade, NameCheck};

use super::family;
use super::report::{BindingReport, Finding, State, state_of};

/// Bindings looked at at the same time.
const AT_ONCE: usize = 16;

pub(super) async fn look(look: &Arc<Look>, bindings: &[Arc<Binding>], reports: &mut [BindingReport]) {
    for (bindings, reports) in bindings.chunks(AT_ONCE).zip(reports.chunks_mut(AT_ONCE)) {
        let mut questions = JoinSet::new();
        for (at, (binding, report)) in bindings.iter().zip(reports.iter()).enumerate() {
            let (look, ehlo, address) = (Arc::clone(look), report.ehlo.clone(), binding.public_address);
            questions.spawn(async move { (at, look.names(address, ehlo.as_deref()).await) });
        }
        while let Some(answer) = questions.join_next().await {
            if let Ok((at, checked)) = answer
                && let Some(report) = reports.get_mut(at)
            {
                let findings = checked.into_iter().map(|checked| finding(checked, report));
                let findings: Vec<Finding> = findings.flatten().collect();
                report.findings.extend(findings);
            }
        }
    }
}

/// `None` where there is nothing to judge: what follows from a missing PTR is said once.
fn finding(checked: Checked, report: &BindingReport) -> Option<Finding> {
    let Checked { check, grade, detail } = checked;
    let varies = report.ehlo.is_none() && matches!(check, NameCheck::Ehlo | NameCheck::EhloForm);
    let follows = matches!(check, NameCheck::SinglePtr | NameCheck::OwnName) && grade == Grade::Unknown;
    if varies || follows {
        return None;
    }
    let v6 = family(report.public_address) == 6;
    let bad = match check {
        NameCheck::Ptr | NameCheck::Fcrdns => State::Fault,
        NameCheck::EhloForm => State::Fault,
        // Receivers that are lenient about IPv4 are not about IPv6.
        NameCheck::Ehlo | NameCheck::OwnName if v6 => State::Fault,
        NameCheck::Ehlo | NameCheck::OwnName | NameCheck::SinglePtr => State::Warning,
    };
    let found = Finding::new(check.as_str(), state_of(grade, bad), detail);
    // What to do about a question that nobody answered is not known.
    Some(if grade == Grade::Unknown { found } else { found.remedy(check.remedy()) })
}
