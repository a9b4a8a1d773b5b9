//! TLS with receivers that did not come about, as log line and event.
//!
//! Two things are told: that a connection was given up because it was not as safe as somebody demands, and that a host no
//! longer offers what it did; the first of a host (or, where policies leave a domain
//! no host, of the domain) once an hour, for its mail comes back to it again and again. That mail went in the clear to a host that never offered anything is the attempt log's.

use crate::delivery::Report;
use crate::delivery::tls::demand::TlsOutcome;

/// What is worth an event in `report`: its fields, in words.
pub fn news(report: &Report, binding: &str, destination: &str) -> Vec<Vec<(&'static str, String)>> {
    let remote = report.remote.map(|remote| remote.to_string()).unwrap_or_default();
    let host = report.host.clone().unwrap_or_default();
    let about = |what: &str, result: &str, detail: &str| {
        vec![
            ("what", what.to_owned()),
            ("binding", binding.to_owned()),
            ("destination", destination.to_owned()),
            ("host", host.clone()),
            ("remote", remote.clone()),
            ("result", result.to_owned()),
            ("detail", detail.to_owned()),
        ]
    };
    let mut news = Vec::new();
    if report.tls.offer_gone {
        news.push(about("tls_offer_gone", "starttls-not-supported", "the host offered STARTTLS before"));
    }
    if let TlsOutcome::Failed { result, detail } = &report.tls.outcome
        && report.tls.is_news
    {
        news.push(about("tls_failed", result.as_str(), detail));
    }
    news
}

/// Writes one of them as a log line.
pub fn write(fields: &[(&'static str, String)]) {
    let word = |name| fields.iter().find(|(known, _)| *known == name).map_or("", |(_, word)| word.as_str());
    tracing::warn!(
        what = word("what"),
        binding = word("binding"),
        destination = word("destination"),
        host = word("host"),
        remote = word("remote"),
        result = word("result"),
        detail = word("detail"),
        "TLS with a receiver",
    );
}
