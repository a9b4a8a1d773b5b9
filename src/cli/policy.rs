//! `remuda policy` and `remuda tlsrpt`: what receivers demand of TLS, and what came of it.

use std::process::ExitCode;

use super::columns::{Columns, Side::Left, Side::Right};
use super::fail;
use super::remote::Remote;
use super::terminal::{columns, visible, visible_json};
use crate::admin::tls::TlsReports;
use crate::clock::Wall;
use crate::delivery::policy::shown::PolicyShown;
use crate::message::Domain;
use crate::telemetry::tlsrpt::report::Report;

/// Of one domain.
#[derive(Debug, clap::Args)]
pub(super) struct PolicyArgs {
    /// Recipient domain.
    domain: Domain,
    #[command(flatten)]
    remote: Remote,
}

/// Of one day.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Only the report for this domain.
    domain: Option<Domain>,
    /// The day (UTC), as 2026-11-23; today where none is given. The last seven are kept.
    #[arg(long, value_name = "DAY")]
    day: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn policy(args: &PolicyArgs) -> ExitCode {
    let path = format!("/api/v1/policies/{}", args.domain);
    let text = match args.remote.get(&path, &[]) {
        Ok(text) => text,
        Err(error) => return fail(error),
    };
    if args.remote.json {
        println!("{}", visible_json(&text));
        return ExitCode::SUCCESS;
    }
    match serde_json::from_str(&text) {
        Ok(seen) => {
            print!("{}", shown(&seen, columns()));
            ExitCode::SUCCESS
        }
        Err(error) => fail(format_args!("{} answered something else than a policy: {error}", args.remote.admin)),
    }
}

fn shown(seen: &PolicyShown, width: Option<usize>) -> String {
    let mut out = format!("{}\n", visible(&seen.domain));
    if seen.is_pinned {
        out.push_str("a destination_route leads there: no policy of the receiver is asked for\n");
    }
    let mta_sts = match &seen.sts {
        Some(sts) => format!(
            "{} ({}), fetched {}, until {}",
            sts.mode,
            sts.mx.join(", "),
            moment(sts.fetched),
            moment(sts.until)
        ),
        None if !seen.mta_sts => "off".to_owned(),
        None => "no policy".to_owned(),
    };
    out.push_str(&format!("MTA-STS: {}\n", visible(&mta_sts)));
    if let Some(why) = &seen.sts_failure {
        out.push_str(&format!("last fetch: {}\n", visible(why)));
    }
    out.push_str(if seen.dane { "DANE: on\n" } else { "DANE: off\n" });
    if seen.hosts.is_empty() {
        out.push_str("no hosts are known\n");
        return out;
    }
    let mut table = Columns::new([("host", Left), ("demanded", Left), ("by", Left)]);
    for host in &seen.hosts {
        table.row([&host.host, &host.demand, &host.policy]);
        host.records.iter().for_each(|record| table.below(record));
        host.why.iter().for_each(|why| table.below(why));
    }
    out.push_str(&table.text(width));
    out
}

pub(super) fn tlsrpt(args: &ReportArgs) -> ExitCode {
    let mut query = Vec::new();
    query.extend(args.day.iter().map(|day| ("day", day.clone())));
    query.extend(args.domain.iter().map(|domain| ("domain", domain.to_string())));
    let seen: TlsReports = match args.remote.read("/api/v1/tls-reports", &query) {
        Ok(seen) => seen,
        Err(error) => return fail(error),
    };
    if args.remote.json {
        // One report a line: each is a document of its own.
        for report in &seen.reports {
            match serde_json::to_string(report) {
                Ok(json) => println!("{}", visible_json(&json)),
                Err(error) => return fail(error),
            }
        }
        return ExitCode::SUCCESS;
    }
    print!("{}", reports(&seen, columns()));
    ExitCode::SUCCESS
}

fn reports(seen: &TlsReports, width: Option<usize>) -> String {
    if seen.reports.is_empty() {
        let days = seen.days.join(", ");
        return format!(
            "nothing was counted on {}; days with counts: {}\n",
            seen.day,
            if days.is_empty() { "none" } else { &days }
        );
    }
    let mut table = Columns::new([("policy of", Left), ("type", Left), ("kept", Right), ("failed", Right)]);
    for policy in seen.reports.iter().flat_map(|report: &Report| &report.policies) {
        let (kept, failed) =
            (policy.summary.total_successful_session_count, policy.summary.total_failure_session_count);
        table.row([&policy.policy.policy_domain, &policy.policy.policy_type, &kept.to_string(), &failed.to_string()]);
        for failure in &policy.failure_details {
            let host = failure.receiving_mx_hostname.as_deref().unwrap_or("-");
            let (count, result) = (failure.failed_session_count, &failure.result_type);
            table.below(&format!("{count} × {result} at {host}: {}", failure.failure_reason_code));
        }
    }
    table.text(width)
}

fn moment(at: Wall) -> String {
    at.timestamp().strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::policy::shown::{HostShown, StsShown};

    #[test]
    fn a_policy_is_shown_with_the_reason_why_a_host_gets_no_mail() {
        let seen = PolicyShown {
            domain: "example.org".to_owned(),
            is_pinned: false,
            mta_sts: true,
            dane: false,
            sts: Some(StsShown {
                id: "1".to_owned(),
                mode: "enforce".to_owned(),
                mx: vec!["*.example.org".to_owned()],
                fetched: Wall::from_millis(0),
                until: Wall::from_millis(60_000),
            }),
            sts_failure: Some("sts-policy-fetch-error: \u{1b}[31m".to_owned()),
            hosts: vec![HostShown {
                host: "evil.test".to_owned(),
                demand: "no mail".to_owned(),
                policy: "sts".to_owned(),
                records: Vec::new(),
                why: Some("validation-failure: the MTA-STS policy does not name evil.test".to_owned()),
            }],
        };
        let text = shown(&seen, None);
        assert!(text.contains("enforce (*.example.org), fetched 1970-01-01 00:00:00Z"), "{text}");
        assert!(text.contains("does not name evil.test"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_day_without_counts_says_which_have_some() {
        let none = TlsReports { day: "2026-11-23".into(), reports: Vec::new(), days: vec!["2026-11-22".into()] };
        assert_eq!(reports(&none, None), "nothing was counted on 2026-11-23; days with counts: 2026-11-22\n");
    }
}
