//! What a look came to. Serialised as it is, this is the document of `--json`:
//!
//! ```json
//! {
//!   "verdict": "fault",
//!   "counts": { "good": 17, "warning": 1, "fault": 1, "unknown": 0 },
//!   "resolvers": [ { "purpose": "monitor", "findings": [ … ] } ],
//!   "zones": [ { "zone": "bl", "findings": [ … ] } ],
//!   "bindings": [
//!     {
//!       "binding": "mta1", "bind_address": "192.0.2.1", "public_address": "192.0.2.1", "ehlo": "mta1.example.org",
//!       "findings": [
//!         { "check": "spf", "about": "example.com", "state": "fault",
//!           "detail": "fail: the record does not allow 192.0.2.1",
//!           "remedy": "add ip4:192.0.2.1 to the SPF record of example.com" }
//!       ]
//!     }
//!   ],
//!   "domains": [ { "domain": "example.com", "tenants": ["acme"], "findings": [ … ] } ],
//!   "tenants": [ { "tenant": "guests", "findings": [ … ] } ]
//! }
//! ```
//!
//! `state` is one of `good`, `warning`, `fault`, `unknown`; `verdict` is the worst of them all. `about` (a domain, a list, a
//! host) and `remedy` are left out where there is none. Keys may be added, none is taken away.

use std::net::IpAddr;

use serde::Serialize;

use crate::monitor::identity::names::Grade;
use crate::monitor::identity::resolver::{Checked, NO_LISTS, ResolverCheck};
use crate::monitor::identity::selfcheck;

/// How a check ended, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Good,
    /// Not found out.
    Unknown,
    /// Works, but receivers may mind.
    Warning,
    /// Mail will be refused, or does not leave.
    Fault,
}

/// One check of one thing.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// Which check; see the columns of the table.
    pub(super) check: &'static str,
    /// A domain, a list, a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) about: Option<String>,
    pub(super) state: State,
    /// What was seen.
    pub(super) detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn new(check: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self { check, about: None, state, detail: detail.into(), remedy: None }
    }

    pub(super) fn good(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, State::Good, detail)
    }

    pub(super) fn about(mut self, what: impl Into<String>) -> Self {
        self.about = Some(what.into());
        self
    }

    /// What to do; only where something is wrong.
    pub(super) fn remedy(mut self, text: impl Into<String>) -> Self {
        if self.state != State::Good {
            self.remedy = Some(text.into());
        }
        self
    }
}

/// A grade of the monitor, where bad is as bad as `bad`.
pub(super) fn state_of(grade: Grade, bad: State) -> State {
    match grade {
        Grade::Good => State::Good,
        Grade::Bad => bad,
        Grade::Unknown => State::Unknown,
    }
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ResolverReport {
    /// `monitor`, `second`, `delivery`, `zone:NAME`; with `@SERVER` behind it one of several servers.
    pub(super) purpose: String,
    pub(super) findings: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ZoneReport {
    pub(super) zone: String,
    pub(super) findings: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct BindingReport {
    pub(super) binding: String,
    pub(super) bind_address: IpAddr,
    pub(super) public_address: IpAddr,
    /// `null` where it varies with the message.
    pub(super) ehlo: Option<String>,
    pub(super) findings: Vec<Finding>,
}

impl BindingReport {
    /// Whether the address can be bound, where that was tried.
    pub(super) fn is_bindable(&self) -> bool {
        self.findings.iter().any(|finding| finding.check == "bind" && finding.state == State::Good)
    }
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct DomainReport {
    pub(super) domain: String,
    pub(super) tenants: Vec<String>,
    pub(super) findings: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct TenantReport {
    pub(super) tenant: String,
    pub(super) findings: Vec<Finding>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) good: usize,
    pub(super) warning: usize,
    pub(super) fault: usize,
    pub(super) unknown: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) verdict: State,
    pub(super) counts: Counts,
    pub(super) resolvers: Vec<ResolverReport>,
    pub(super) zones: Vec<ZoneReport>,
    pub(super) bindings: Vec<BindingReport>,
    pub(super) domains: Vec<DomainReport>,
    /// Those of which something is to be said.
    pub(super) tenants: Vec<TenantReport>,
}

impl Report {
    /// Sums up.
    pub(super) fn new(
        resolvers: Vec<selfcheck::Report>,
        zones: Vec<ZoneReport>,
        bindings: Vec<BindingReport>,
        (domains, tenants): (Vec<DomainReport>, Vec<TenantReport>),
    ) -> Self {
        let resolvers = resolvers.into_iter().map(resolver).collect();
        let (mut counts, mut verdict) = (Counts::default(), State::Good);
        let mut report = Self { verdict, counts, resolvers, zones, bindings, domains, tenants };
        for (_, finding) in report.findings() {
            verdict = verdict.max(finding.state);
            *match finding.state {
                State::Good => &mut counts.good,
                State::Warning => &mut counts.warning,
                State::Fault => &mut counts.fault,
                State::Unknown => &mut counts.unknown,
            } += 1;
        }
        (report.verdict, report.counts) = (verdict, counts);
        report
    }

    /// All findings, each with what it belongs to.
    pub(super) fn findings(&self) -> impl Iterator<Item = (String, &Finding)> {
        let resolvers = self.resolvers.iter().map(|r| (format!("resolver {}", r.purpose), &r.findings));
        let zones = self.zones.iter().map(|z| (format!("list {}", z.zone), &z.findings));
        let bindings = self.bindings.iter().map(|b| (b.binding.clone(), &b.findings));
        let domains = self.domains.iter().map(|d| (d.domain.clone(), &d.findings));
        let tenants = self.tenants.iter().map(|t| (format!("tenant {}", t.tenant), &t.findings));
        let all = resolvers.chain(zones).chain(bindings).chain(domains).chain(tenants);
        all.flat_map(|(whose, findings)| findings.iter().map(move |finding| (whose.clone(), finding)))
    }
}

fn resolver(report: selfcheck::Report) -> ResolverReport {
    // A list's own servers may know nothing but the list, and without lists there is nothing to test some things by: no
    // answer is to be expected then, and nothing is missing.
    let of_zone = report.purpose.starts_with("zone:");
    let expected = |checked: &Checked| checked.grade == Grade::Unknown && (of_zone || checked.detail == NO_LISTS);
    let finding = |checked: Checked| {
        let bad = match checked.check {
            ResolverCheck::Public | ResolverCheck::Speed => State::Warning,
            ResolverCheck::Answers | ResolverCheck::Nxdomain | ResolverCheck::Loopback => State::Fault,
        };
        let state = state_of(checked.grade, bad);
        let found = Finding::new(checked.check.as_str(), state, checked.detail);
        if state == State::Unknown { found } else { found.remedy(checked.check.remedy()) }
    };
    let findings = report.checks.into_iter().filter(|checked| !expected(checked)).map(finding).collect();
    ResolverReport { purpose: report.purpose, findings }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_worst_and_everything_is_counted() {
        let binding = |findings| BindingReport {
            binding: "a".into(),
            bind_address: [192, 0, 2, 1].into(),
            public_address: [192, 0, 2, 1].into(),
            ehlo: None,
            findings,
        };
        let of = |states: &[State]| {
            let findings = states.iter().map(|state| Finding::new("spf", *state, "")).collect();
            Report::new(Vec::new(), Vec::new(), vec![binding(findings)], Default::default())
        };
        assert_eq!(of(&[]).verdict, State::Good);
        assert_eq!(of(&[State::Good, State::Unknown]).verdict, State::Unknown);
        assert_eq!(of(&[State::Warning, State::Unknown]).verdict, State::Warning);
        let all = of(&[State::Warning, State::Fault, State::Unknown, State::Good, State::Good]);
        assert_eq!(all.verdict, State::Fault);
        assert_eq!(all.counts, Counts { good: 2, warning: 1, fault: 1, unknown: 1 });
    }

    #[test]
    fn a_good_finding_needs_no_remedy() {
        assert_eq!(Finding::good("bind", "").remedy("x").remedy, None);
        assert_eq!(Finding::new("bind", State::Fault, "").remedy("x").remedy.as_deref(), Some("x"));
    }
}
