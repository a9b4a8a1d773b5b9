//! (pure) What goes over the wire: the array of Alertmanager's API v2, and the body and signature of a webhook.
//!
//! A webhook gets one POST for each change:
//!
//! ```text
//! Content-Type: application/json
//! Remuda-Delivery: 5b0e…            the same for every try: who has seen it answers 200 and does nothing
//! Remuda-Signature: t=1800000000,v1=9f…     where secret_file is set
//!
//! {"version":1,"id":"5b0e…","event":"firing","reminder":false,"relay":"relay.example.net",
//!  "at":"2027-01-15T08:00:00.000Z",
//!  "alert":{"name":"BindingListed","severity":"warning","labels":{"binding":"mta1","zone":"spamhaus"},
//!           "summary":"…","description":"…","runbook_url":null,"fired_at":"2027-01-15T08:00:00.000Z"}}
//! ```
//!
//! `event` is `firing` or `resolved`; `reminder` is true where it was told before and still fires. An answer of 2xx is
//! the end of a delivery, and so is another 4xx than 408, 410, 425 and 429; 410 switches the webhook off until a restart;
//! everything else is tried again after 1 s, 2 s, … 5 min, or when `Retry-After` says: an end for a day, a beginning while
//! it fires. Up to eight are under way at the same time, the worst first, so those of different alerts come in no
//! particular order. To verify, in Python:
//!
//! ```python
//! import hashlib, hmac
//!
//! def is_genuine(secret: bytes, header: str, body: bytes, now: float, tolerance: float = 300) -> bool:
//!     parts = dict(part.split("=", 1) for part in header.split(","))
//!     expected = hmac.new(secret, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
//!     return hmac.compare_digest(expected, parts["v1"]) and abs(now - int(parts["t"])) <= tolerance
//! ```

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use serde::Serialize;

use super::conditions::Labels;
use super::ledger::Alert;
use super::outbox::{Delivery, Event, Push};
use crate::clock::{Wall, rfc3339};

/// What is the same in everything that is told.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// `server.hostname`: the label `instance`.
    pub hostname: String,
    /// Where people read what to do; the name of the alert follows.
    pub runbook: Option<String>,
    /// Where this relay shows its alerts.
    pub source: Option<String>,
}

impl Origin {
    /// Labels with which an alert is known outside.
    pub fn labels(&self, alert: &Alert) -> Labels {
        let mut labels = alert.condition.labels.clone();
        labels.insert("alertname".into(), alert.condition.name.as_str().into());
        labels.insert("severity".into(), alert.severity.as_str().into());
        labels.insert("instance".into(), self.hostname.clone());
        labels
    }

    /// Where people read what to do about it: in lower case, as headings become anchors.
    pub fn runbook_of(&self, alert: &Alert) -> Option<String> {
        self.runbook.as_ref().map(|base| format!("{base}{}", alert.condition.name.as_str().to_ascii_lowercase()))
    }

    fn annotations(&self, alert: &Alert) -> BTreeMap<&'static str, String> {
        let words = [("summary", &alert.condition.summary), ("description", &alert.condition.description)];
        let words = words.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key, text.clone()));
        words.chain(self.runbook_of(alert).map(|url| ("runbook_url", url))).collect()
    }
}

/// One element of `POST /api/v2/alerts`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    labels: Labels,
    annotations: BTreeMap<&'static str, String>,
    #[serde(with = "rfc3339")]
    starts_at: Wall,
    #[serde(with = "rfc3339")]
    ends_at: Wall,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator: Option<String>,
}

/// The body for an Alertmanager; what fires ends at `ends_at` unless it is told again.
pub fn states(push: &Push, origin: &Origin, ends_at: Wall) -> String {
    let posted = |alert: &Alert, ends_at: Wall| {
        let starts_at = alert.stage.fired().unwrap_or(alert.since);
        Posted {
            labels: origin.labels(alert),
            annotations: origin.annotations(alert),
            starts_at,
            // An end before the beginning (a clock that was set back) would make it refuse the whole array.
            ends_at: ends_at.max(starts_at),
            generator: origin.source.clone(),
        }
    };
    let firing = push.firing.iter().map(|alert| posted(alert, ends_at));
    let all: Vec<Posted> = firing.chain(push.ended.iter().map(|(alert, at)| posted(alert, *at))).collect();
    // Texts and maps of texts always serialise.
    serde_json::to_string(&all).unwrap_or_default()
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    version: u32,
    id: &'a str,
    event: &'static str,
    reminder: bool,
    relay: &'a str,
    #[serde(with = "rfc3339")]
    at: Wall,
    alert: BodyAlert<'a>,
}

#[derive(Debug, Serialize)]
struct BodyAlert<'a> {
    name: &'static str,
    severity: &'static str,
    labels: &'a Labels,
    summary: &'a str,
    description: &'a str,
    runbook_url: Option<String>,
    #[serde(with = "rfc3339::option")]
    fired_at: Option<Wall>,
}

/// The body for a webhook; the same for every try of a delivery.
pub fn delivery(delivery: &Delivery, origin: &Origin) -> String {
    let Delivery { id, event, alert, at, .. } = delivery;
    let body = Body {
        version: 1,
        id,
        event: if *event == Event::Resolved { "resolved" } else { "firing" },
        reminder: *event == Event::Reminder,
        relay: &origin.hostname,
        at: *at,
        alert: BodyAlert {
            name: alert.condition.name.as_str(),
            severity: alert.severity.as_str(),
            labels: &alert.condition.labels,
            summary: &alert.condition.summary,
            description: &alert.condition.description,
            runbook_url: origin.runbook_of(alert),
            fired_at: alert.stage.fired(),
        },
    };
    serde_json::to_string(&body).unwrap_or_default()
}

/// The header `Remuda-Signature` over `body`: `t=<unix seconds>,v1=<hex of HMAC-SHA-256 over "t.body">`. The moment is
/// signed too, so that a receiver can refuse what somebody recorded and plays back later.
pub fn signature(secret: &[u8], body: &str, now: Wall) -> String {
    let seconds = now.as_millis().div_euclid(1_000);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::alerts::conditions::Condition;
    use crate::alerts::ledger::Stage;
    use crate::config::{AlertName, Severity};

    fn at(seconds: i64) -> Wall {
        Wall::from_millis(seconds * 1_000)
    }

    fn alert() -> Alert {
        let condition = Condition {
            name: AlertName::BindingListed,
            labels: Labels::from([("binding".into(), "a".into()), ("zone".into(), "z".into())]),
            summary: "listed".into(),
            description: "127.0.0.2".into(),
            episode: String::new(),
        };
        Alert { condition, severity: Severity::Warning, since: at(0), stage: Stage::Firing { fired: at(60) } }
    }

    fn origin() -> Origin {
        Origin {
            hostname: "relay.example.net".into(),
            runbook: Some("https://wiki.example.org/remuda#".into()),
            source: None,
        }
    }

    #[test]
    fn an_alertmanager_gets_the_labels_of_the_rules_and_moments_it_accepts() {
        // The second ended before it began: a clock was set back.
        let push = Push { firing: vec![alert()], ended: vec![(alert(), at(30))], at: at(70) };
        let told: Value = serde_json::from_str(&states(&push, &origin(), at(250))).expect("JSON");
        let first = &told[0];
        let labels = serde_json::json!({ "alertname": "BindingListed", "severity": "warning",
            "instance": "relay.example.net", "binding": "a", "zone": "z" });
        assert_eq!(first["labels"], labels);
        assert_eq!(first["startsAt"], "1970-01-01T00:01:00.000Z");
        assert_eq!(first["endsAt"], "1970-01-01T00:04:10.000Z");
        assert_eq!(first["annotations"]["runbook_url"], "https://wiki.example.org/remuda#bindinglisted");
        assert_eq!(told[1]["endsAt"], told[1]["startsAt"]);
        assert_eq!(first.get("generatorURL"), None);
    }

    #[test]
    fn every_try_of_a_delivery_has_the_same_body() {
        let sent = Delivery::new("h", Event::Reminder, &alert(), at(99));
        let body = delivery(&sent, &origin());
        assert_eq!(body, delivery(&sent, &origin()));
        let told: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((&told["event"], &told["reminder"]), (&"firing".into(), &true.into()));
        assert_eq!((&told["version"], &told["id"]), (&1.into(), &sent.id.as_str().into()));
        assert_eq!(told["alert"]["labels"]["zone"], "z");
    }

    #[test]
    fn the_signature_is_an_hmac_over_moment_and_body() {
        // Python: hmac.new(b"Jefe", b"0.{}", "sha256").hexdigest()
        let signed = signature(b"Jefe", "{}", at(0));
        assert_eq!(signed, "t=0,v1=6e3446a5d06ebd04d38da6b50dc5c5e1830c495fac782559e2508547806138e8");
        assert_ne!(signed, signature(b"Jefe", "{}", at(1)).replace("t=1", "t=0"));
    }
}
