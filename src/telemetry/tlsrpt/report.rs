//! A day's counts of one domain as the report of RFC 8460 §4.4. Pure.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::book::{Counted, Day, FailureCount, PolicyCount};
use crate::message::Domain;

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = TlsReport)]
pub struct Report {
    /// Who reports: our name.
    pub organization_name: String,
    /// The day.
    pub date_range: DateRange,
    /// Whom to ask.
    pub contact_info: String,
    /// Its own name.
    pub report_id: String,
    /// By policy.
    pub policies: Vec<PolicyReport>,
}

/// From the first second to the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = TlsReportRange)]
pub struct DateRange {
    /// The first.
    pub start_datetime: String,
    /// The last.
    pub end_datetime: String,
}

/// Of one policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = TlsReportPolicy)]
pub struct PolicyReport {
    /// Which.
    pub policy: PolicyNamed,
    /// How many sessions.
    pub summary: Summary,
    /// The failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure_details: Vec<Details>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = TlsReportPolicyNamed)]
pub struct PolicyNamed {
    /// `sts` or `tlsa`.
    pub policy_type: String,
    /// Its lines or records.
    pub policy_string: Vec<String>,
    /// Whose it is.
    pub policy_domain: String,
    /// Patterns of MX hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mx_host: Vec<String>,
}

/// Sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = TlsReportSummary)]
pub struct Summary {
    /// That kept to the policy.
    pub total_successful_session_count: u64,
    /// That did not.
    pub total_failure_session_count: u64,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = TlsReportFailure)]
pub struct Details {
    /// Result type (RFC 8460 §4.3).
    pub result_type: String,
    /// Our address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sending_mta_ip: Option<IpAddr>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_mx_hostname: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub receiving_ip: Option<IpAddr>,
    /// How many.
    pub failed_session_count: u64,
    /// In words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failure_reason_code: String,
}

impl Report {
    /// What was counted of `domain` on `day`, reported by the relay called `hostname`.
    pub fn of(day: Day, domain: &Domain, counted: &Counted, hostname: &Domain) -> Self {
        Self {
            organization_name: hostname.to_string(),
            date_range: DateRange {
                start_datetime: format!("{day}T00:00:00Z"),
                end_datetime: format!("{day}T23:59:59Z"),
            },
            contact_info: format!("postmaster@{hostname}"),
            report_id: format!("{day}.{domain}@{hostname}"),
            policies: counted.policies.iter().map(PolicyReport::from).collect(),
        }
    }
}

impl From<&PolicyCount> for PolicyReport {
    fn from(count: &PolicyCount) -> Self {
        Self {
            policy: PolicyNamed {
                policy_type: count.kind.clone(),
                policy_string: count.strings.clone(),
                policy_domain: count.domain.clone(),
                mx_host: count.mx.clone(),
            },
            summary: Summary {
                total_successful_session_count: count.successful,
                total_failure_session_count: count.failed,
            },
            failure_details: count.failures.iter().map(Details::from).collect(),
        }
    }
}

impl From<&FailureCount> for Details {
    fn from(count: &FailureCount) -> Self {
        Self {
            result_type: count.result.clone(),
            sending_mta_ip: count.local,
            receiving_mx_hostname: count.host.clone(),
            receiving_ip: count.remote,
            failed_session_count: count.count,
            failure_reason_code: count.detail.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_names_of_the_standard() {
        let failure = FailureCount {
            result: "certificate-expired".to_owned(),
            local: Some(IpAddr::from([192, 0, 2, 1])),
            host: Some("mx.example.org".to_owned()),
            remote: Some("2001:db8::25".parse().unwrap()),
            detail: "the certificate has expired".to_owned(),
            count: 2,
        };
        let counted = Counted {
            policies: vec![PolicyCount {
                kind: "sts".to_owned(),
                domain: "example.org".to_owned(),
                strings: vec!["version: STSv1".to_owned(), "mode: testing".to_owned()],
                mx: vec!["*.example.org".to_owned()],
                successful: 5326,
                failed: 2,
                failures: vec![failure],
            }],
        };
        let (domain, hostname) = ("example.org".parse().unwrap(), "relay.example.net".parse().unwrap());
        let report = Report::of(jiff::civil::date(2026, 11, 23), &domain, &counted, &hostname);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "organization-name": "relay.example.net",
                "date-range": {"start-datetime": "2026-11-23T00:00:00Z", "end-datetime": "2026-11-23T23:59:59Z"},
                "contact-info": "postmaster@relay.example.net",
                "report-id": "2026-11-23.example.org@relay.example.net",
                "policies": [{
                    "policy": {
                        "policy-type": "sts",
                        "policy-string": ["version: STSv1", "mode: testing"],
                        "policy-domain": "example.org",
                        "mx-host": ["*.example.org"]
                    },
                    "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 2},
                    "failure-details": [{
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "192.0.2.1",
                        "receiving-mx-hostname": "mx.example.org",
                        "receiving-ip": "2001:db8::25",
                        "failed-session-count": 2,
                        "failure-reason-code": "the certificate has expired"
                    }]
                }]
            })
        );
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }
}
