//! A report on a terminal: a line per binding, domain, list and resolver, then everything that is not as it should be, with
//! what to do about it.

use std::fmt::Write as _;

use super::super::columns::{Columns, Side, paragraph};
use super::report::{Finding, Report, State};

/// Columns of the table of bindings and the checks that go into each.
const BINDING: [(&str, &[&str]); 8] = [
    ("bind", &["bind"]),
    ("route", &["route"]),
    ("port", &["port"]),
    ("reverse", &["ptr", "fcrdns", "single_ptr"]),
    ("own name", &["own_name"]),
    ("ehlo", &["ehlo_form", "ehlo"]),
    ("spf", &["spf"]),
    ("lists", &["listed"]),
];

pub(super) fn text(report: &Report, width: Option<usize>) -> String {
    let mut parts = Vec::new();
    let named = ["binding", "address"].into_iter().chain(BINDING.iter().map(|(head, _)| *head));
    let mut bindings = Columns::of(named.map(|head| (head.to_owned(), Side::Left)).collect());
    for binding in &report.bindings {
        let mut cells = vec![binding.binding.clone(), binding.public_address.to_string()];
        cells.extend(BINDING.iter().map(|(_, checks)| cell(&binding.findings, checks)));
        bindings.cells(&cells);
    }
    parts.push(bindings);

    let heads = ["domain", "tenants", "dmarc", "dkim", "lists"];
    let mut domains = Columns::new(heads.map(|head| (head, Side::Left)));
    for domain in &report.domains {
        let of = |check| cell(&domain.findings, &[check]);
        domains.row([&domain.domain, &domain.tenants.join(", "), &of("dmarc"), &of("dkim"), &of("listed")]);
    }
    parts.push(domains);

    let mut lists = Columns::new([("list", Side::Left), ("state", Side::Left)]);
    for zone in &report.zones {
        let state = zone.findings.iter().map(|finding| finding.detail.as_str()).collect::<Vec<_>>().join("; ");
        lists.row([&zone.zone, &state]);
    }
    parts.push(lists);

    let mut resolvers = Columns::new([
        ("resolver", Side::Left),
        ("answers", Side::Left),
        ("speed", Side::Left),
        ("nxdomain", Side::Left),
        ("loopback", Side::Left),
        ("public", Side::Left),
    ]);
    for resolver in &report.resolvers {
        let of = |check| cell(&resolver.findings, &[check]);
        resolvers.row([
            &resolver.purpose,
            &of("answers"),
            &of("speed"),
            &of("nxdomain"),
            &of("loopback"),
            &of("public"),
        ]);
    }
    parts.push(resolvers);

    let mut out = String::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        out.push_str(&part.text(width));
        out.push('\n');
    }
    out.push_str(&findings(report, width));
    let counts = report.counts;
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{} faults, {} warnings, {} unknown, {} good",
        counts.fault, counts.warning, counts.unknown, counts.good
    );
    out
}

/// The worst of these checks; `-` where none was made.
fn cell(findings: &[Finding], checks: &[&str]) -> String {
    let worst = findings.iter().filter(|finding| checks.contains(&finding.check)).map(|finding| finding.state).max();
    word(worst).to_owned()
}

fn word(state: Option<State>) -> &'static str {
    match state {
        None => "-",
        Some(State::Good) => "ok",
        Some(State::Unknown) => "?",
        Some(State::Warning) => "warning",
        Some(State::Fault) => "FAULT",
    }
}

fn findings(report: &Report, width: Option<usize>) -> String {
    let mut all: Vec<(String, &Finding)> =
        report.findings().filter(|(_, finding)| finding.state != State::Good).collect();
    // Stable: within one state in the order of the tables.
    all.sort_by_key(|(_, finding)| std::cmp::Reverse(finding.state));
    let mut out = String::new();
    for (whose, finding) in &all {
        let about = finding.about.as_ref().map(|about| format!(" {about}")).unwrap_or_default();
        let line = format!("{}: {whose}: {}{about}: {}", word(Some(finding.state)), finding.check, finding.detail);
        out.push_str(&paragraph(&line, width));
        if let Some(remedy) = &finding.remedy {
            out.push_str(&paragraph(&format!("  {remedy}"), width));
        }
    }
    if !all.is_empty() {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::report::BindingReport;
    use super::*;

    #[test]
    fn each_cell_is_the_worst_of_its_checks_and_each_fault_has_its_remedy() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let findings = vec![
            Finding::good("bind", "can be bound"),
            Finding::good("ptr", "x"),
            Finding::new("fcrdns", State::Fault, "leads\u{1b}[2J nowhere").remedy("mend it"),
            Finding::new("spf", State::Warning, "softfail").about("example.com").remedy("add ip4"),
            Finding::new("listed", State::Unknown, "timeout").about("bl"),
        ];
        let binding =
            BindingReport { binding: "a".into(), bind_address: address, public_address: address, ehlo: None, findings };
        let shown = text(&Report::new(Vec::new(), Vec::new(), vec![binding], Default::default()), None);
        assert_eq!(
            shown,
            "binding  address    bind  route  port  reverse  own name  ehlo  spf      lists\n\
             a        192.0.2.1  ok    -      -     FAULT    -         -     warning  ?\n\
             \n\
             FAULT: a: fcrdns: leads\\u{1b}[2J nowhere\n\
             \x20 mend it\n\
             warning: a: spf example.com: softfail\n\
             \x20 add ip4\n\
             ?: a: listed bl: timeout\n\
             \n\
             1 faults, 1 warnings, 1 unknown, 2 good\n"
        );
    }
}
