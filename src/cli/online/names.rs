//! PTR, its way back and the EHLO name of each binding.

use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Sleep;

use crate::config::Binding;
use crate::monitor::identity::look::Look;
use crate::monitor::identity::names::{Checked, Grade, NameCheck};

use super::report::{BindingReport, Finding, State, state_of};
use super::{TOO_LATE, family, gather};

/// Also returns the PTR names of each binding that lead back to it.
pub(super) async fn look(
    look: &Arc<Look>,
    bindings: &[Arc<Binding>],
    reports: &mut [BindingReport],
    limit: Pin<&mut Sleep>,
) -> Vec<Vec<String>> {
    let questions = bindings.iter().zip(reports.iter()).map(|(binding, report)| {
        let (look, ehlo, address) = (Arc::clone(look), report.ehlo.clone(), binding.public_address);
        async move { look.names(address, ehlo.as_deref()).await }
    });
    let answers = gather(questions.collect(), limit).await;
    let mut names = Vec::new();
    for (report, answer) in reports.iter_mut().zip(answers) {
        let Some((checked, confirmed)) = answer else {
            report.findings.push(Finding::new(NameCheck::Ptr.as_str(), State::Unknown, TOO_LATE));
            names.push(Vec::new());
            continue;
        };
        let findings: Vec<Finding> = checked.into_iter().filter_map(|checked| finding(checked, report)).collect();
        report.findings.extend(findings);
        names.push(confirmed);
    }
    names
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
