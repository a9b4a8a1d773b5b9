//! `[truth]`: what only the scenario knows.

use std::time::Duration;

use super::raw::{File, TruthTable};
use crate::config::mistake::Findings;
use crate::message::{BindingName, ProviderName, TenantName};

/// `[truth]`: who is really at fault and when, so that what the program concluded can be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Bindings that are really bad (blocked, declining, listed); empty where no binding is.
    pub bindings: Vec<BindingName>,
    /// Where they are bad; empty: everywhere.
    pub receivers: Vec<ProviderName>,
    /// Bindings that are not bad and of which it is asked whether they are burnt: named, and excused of nothing.
    pub at_risk: Vec<BindingName>,
    /// Tenants whose mail is really bad.
    pub tenants: Vec<TenantName>,
    /// When it begins, from the start of the scenario.
    pub from: Duration,
    /// When it is over; `None`: not within the scenario.
    pub until: Option<Duration>,
}

/// The truth of a scenario of so many days, where its file tells one.
pub(super) fn truth(file: &File, days: u32, out: &mut Findings) -> Option<Truth> {
    let table: &TruthTable = &file.truth.given()?.value;
    let from = table.from.value().map_or(Duration::ZERO, |moment| moment.0);
    if let Some(at) = table.from.given().filter(|_| from >= Duration::from_secs(u64::from(days) * 86_400)) {
        out.mistake(&at.place, format!("the scenario lasts {days} days"), "");
    }
    if let Some(at) = table.until.given().filter(|at| at.value.0 <= from) {
        out.mistake(&at.place, "it would be over before it begins", "leave it out where it does not end");
    }
    if let Some(at) = table.receivers.given().filter(|_| table.bindings.values().is_empty()) {
        out.mistake(&at.place, "no bindings are named that are bad there", "write bindings = [\"mta1\"]");
    }
    let bindings = table.bindings.values();
    for both in table.at_risk.items().iter().filter(|name| bindings.contains(&name.value)) {
        out.mistake(&both.place, "it is among the bindings that are bad", "leave it out here");
    }
    Some(Truth {
        bindings: table.bindings.values().iter().map(BindingName::new).collect(),
        receivers: table.receivers.values().iter().map(ProviderName::new).collect(),
        at_risk: table.at_risk.values().iter().map(BindingName::new).collect(),
        tenants: table.tenants.values().iter().map(TenantName::new).collect(),
        from,
        until: table.until.value().map(|moment| moment.0),
    })
}
