//! What the parts of the program say reaches the conditions: every alert can come about.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::alerts::conditions;
use crate::clock::{Clock, ManualClock};
use crate::config::{AlertName, Alerts};
use crate::message::{BindingName, PoolName};
use crate::monitor::Monitor;
use crate::monitor::identity::resolver::{Checked, ResolverCheck};
use crate::monitor::identity::selfcheck::Report;
use crate::monitor::watch::DomainSnapshot;

const CONFIG: &str = r#"
[server]
hostname = "relay.example.net"
state_dir = "/var/lib/remuda"
[dns]
servers = ["127.0.0.1:5353"]
[[listener]]
address = "127.0.0.1:0"
trust = ["127.0.0.0/8"]
[binding.a]
bind_address = "192.0.2.1"
ehlo_hostname = "a.example.net"
daily_cap = 1000
[binding.spare]
bind_address = "192.0.2.2"
ehlo_hostname = "spare.example.net"
[pool.main]
active = ["a"]
backup = [["spare"]]
[tenant.acme]
pools = { default = "main" }
[provider.gmail]
mx = ["*.google.com"]
[monitor.zone.bl]
zone = "bl.example.org"
[feed.snds]
kind = "json"
url = "https://feeds.example.org/"
scope = { address = "/ip" }
metric.score = { value = "/score", warn_below = 70 }
"#;

fn now() -> Wall {
    Wall::from_millis(1_800_000_000_000)
}

fn ago(seconds: i64) -> Wall {
    Wall::from_millis(now().as_millis() - seconds * 1_000)
}

fn status() -> Status {
    let binding = |name: &str, address: &str| {
        json!({ "name": name, "bind_address": address, "health": "active", "reason": null, "until": null,
            "evidence": null, "in_use": 0, "cap": null, "routes": [] })
    };
    let counts = [
        "accepted_messages",
        "accepted_recipients",
        "recovered_recipients",
        "stranded_recipients",
        "set_aside_recipients",
        "delivered",
        "bounced",
        "expired",
        "deferred",
        "dsn",
        "duplicates_possible",
    ];
    let counts: serde_json::Map<_, _> = counts.into_iter().map(|name| (name.to_owned(), json!(0))).collect();
    serde_json::from_value(json!({
        "version": "0", "hostname": "relay.example.net", "at": "2027-01-15T08:00:00Z", "listeners": [],
        "bindings": [binding("a", "192.0.2.1"), binding("spare", "192.0.2.2")],
        "queue": { "messages": 0, "entries": 0, "recipients": 0, "in_flight": 0, "waiting": [] },
        "counts": counts, "tenants": [], "zones": [],
        "spool": { "quarantined": [], "quarantined_count": 0, "commits": 0 },
    }))
    .expect("a status")
}

/// A relay of which everything is known, and all of it good.
fn seen(config: &Config) -> Seen {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(now()));
    let mut monitor = Monitor::new(&Arc::new(config.clone()), clock, Arc::new(|_| ())).expect("a monitor").snapshot();
    monitor.zones.retain(|zone| zone.zone.as_str() == "bl");
    monitor.listings.retain(|listing| listing.zone.as_str() == "bl");
    monitor.zones.iter_mut().for_each(|zone| (zone.health, zone.reason) = ("healthy", String::new()));
    monitor.listings.iter_mut().for_each(|listing| listing.state = 0);
    monitor.reverse.iter_mut().for_each(|reverse| reverse.confirmed = Some(true));
    let checked = Checked { check: ResolverCheck::Nxdomain, grade: Grade::Good, detail: String::new() };
    let resolver = Report { purpose: "monitor".into(), checks: vec![checked], slowest_seconds: None };
    let cap = |owner| CapUsage { owner, limit: Some(1_000), used: 0, reserved: 0, granted: 0, resets_at: now() };
    Seen {
        status: status(),
        usage: vec![cap(Owner::Binding(BindingName::new("a")))],
        monitor,
        identity: identity::Snapshot { resolvers: vec![resolver], at: Some(now()) },
        spf: Totals {
            domains: Vec::new(),
            uncovered: vec![(TenantName::new("acme"), PoolName::new("main"), 0)],
            overdue: 0,
        },
        feeds: vec![FeedSnapshot {
            feed: "snds".into(),
            up: Some(true),
            newest: Some(now()),
            last_success: Some(now()),
            ..FeedSnapshot::default()
        }],
        free_space: Some(u64::MAX),
    }
}

/// What is said of `seen` an hour after the last delivery, with what the metrics count.
fn said(seen: &Seen, config: &Config, metrics: &Metrics, grant_errors: u64) -> Vec<AlertName> {
    let counted = Counted { grant_errors, ..counted(metrics) };
    let view = View {
        window: counted.clone(),
        lately: counted,
        window_span: Duration::from_secs(3_600),
        lately_span: Duration::from_secs(3_600),
        last_delivery: ago(7_200),
        ..seen.view(config, now())
    };
    let judged = conditions::of(&view, &Alerts::default(), now());
    assert!(judged.doubts.is_empty(), "{:?}", judged.doubts);
    judged.conditions.iter().map(|condition| condition.name).collect()
}

/// The EHLO name of binding `a`, on a list.
fn listed_domain() -> DomainSnapshot {
    DomainSnapshot {
        domain: "mta1.example.net".into(),
        bindings: vec!["a".into()],
        tenants: Vec::new(),
        zone: "bl".into(),
        state: 1,
        weight: 4.0,
        codes: "127.0.1.2".into(),
        text: String::new(),
        pending: false,
        first_seen: None,
        last_conclusive: Some(now()),
    }
}

fn suspended(status: &mut BindingStatus) {
    (status.health, status.reason) = (SUSPENDED.into(), Some("ip_blocked".into()));
}

#[test]
fn every_alert_can_come_about() {
    use AlertName as A;
    let config = Config::from_toml(CONFIG).expect("a configuration");
    assert_eq!(said(&seen(&config), &config, &Metrics::new().expect("metrics"), 0), []);
    let waiting = |oldest| {
        let group = json!({ "pool": "main", "destination": "gmail", "reason": "retry", "count": 1, "recipients": 1,
            "oldest": oldest, "next_at": null, "attempts": 1 });
        vec![serde_json::from_value(group).expect("a group")]
    };
    type Make<'a> = &'a dyn Fn(&mut Seen, &Metrics);
    let attempts = |metrics: &Metrics, disposition: &str, cause: &str, count| {
        metrics.attempts.with_label_values(&["a", "gmail", disposition, cause]).inc_by(count);
    };
    let table: &[(&[A], Make)] = &[
        (&[A::BindingSuspended, A::PoolOnBackup], &|seen, _| suspended(&mut seen.status.bindings[0])),
        (&[A::RouteSuspended], &|seen, _| {
            let route = json!({ "destination": "gmail", "health": "suspended", "reason": "ip_blocked", "until": null,
                "evidence": "550" });
            seen.status.bindings[0].routes = vec![serde_json::from_value(route).expect("a route")];
        }),
        (&[A::PoolOnBackup], &|_, metrics| metrics.failovers.with_label_values(&["main"]).inc()),
        (&[A::BindingSuspended, A::BindingSuspended, A::PoolWithoutEligibleBinding], &|seen, _| {
            seen.status.bindings.iter_mut().for_each(suspended);
        }),
        (&[A::BindingListed], &|seen, _| (seen.monitor.listings[0].state, seen.monitor.listings[0].weight) = (1, 4.0)),
        (&[A::DomainListed], &|seen, _| seen.monitor.domains = vec![listed_domain()]),
        (&[A::ZoneUnhealthy], &|seen, _| seen.monitor.zones[0].health = "dead"),
        (&[A::ReverseDnsBroken], &|seen, _| seen.monitor.reverse[0].confirmed = Some(false)),
        (&[A::ResolverDistrusted], &|seen, _| seen.identity.resolvers[0].checks[0].grade = Grade::Bad),
        (&[A::SpfNotCovered], &|seen, _| seen.spf.uncovered[0].2 = 1),
        (&[A::CapNearlyUsed], &|seen, _| seen.usage[0].used = 950),
        (&[A::PoolOnBackup, A::CapNearlyUsed], &|seen, _| seen.usage[0].used = 1_000),
        (&[A::WarmupStalled], &|seen, _| {
            let ladder = json!({ "provider": null, "stage": 1, "stages": 5, "allowance": 10, "accepted": 0 });
            seen.status.bindings[0].warmup = vec![serde_json::from_value(ladder).expect("a ladder")];
        }),
        (&[A::HardBounceRatioHigh], &|_, metrics| {
            attempts(metrics, "bounced", "invalid_recipient", 90);
            attempts(metrics, "delivered", "none", 910);
        }),
        (&[A::ComplaintRatioHigh], &|seen, _| {
            let line = json!({ "destination": "gmail", "accepted": 1_000, "complaints": 9, "late_bounces": 0 });
            seen.status.bindings[0].feedback = vec![serde_json::from_value(line).expect("a line")];
        }),
        (&[A::DeferralRatioHigh], &|_, metrics| attempts(metrics, "deferred", "rate_limited", 200)),
        (&[A::UnmatchedReplies], &|_, metrics| {
            attempts(metrics, "bounced", "unknown", 200);
            metrics.unmatched_replies.with_label_values(&["5", "gmail"]).inc_by(100);
        }),
        (&[A::NoDeliveries], &|seen, _| seen.status.queue.waiting = waiting(ago(4_000).to_string())),
        (&[A::QueueOld, A::NoDeliveries], &|seen, _| seen.status.queue.waiting = waiting(ago(40_000).to_string())),
        (&[A::TenantHeld], &|seen, _| {
            let hold = json!({ "tenant": "acme", "sender_domain": null, "destination": "gmail",
                "until": "2027-01-15T09:00:00Z", "state": "held", "times": 1, "evidence": "refused" });
            seen.status.holds = vec![serde_json::from_value(hold).expect("a hold")];
        }),
        (&[A::SpoolRecordsSetAside], &|seen, _| seen.status.spool.quarantined_count = 1),
        (&[A::SpoolSpaceLow], &|seen, _| seen.free_space = Some(1)),
        (&[A::FeedDown], &|seen, _| seen.feeds[0].up = Some(false)),
        (&[A::FeedCredentialsRefused], &|seen, _| {
            (seen.feeds[0].up, seen.feeds[0].credentials_refused) = (Some(false), true);
        }),
        (&[A::FeedStale], &|seen, _| seen.feeds[0].newest = Some(ago(8 * 86_400))),
        (&[A::FeedCredentialExpiring], &|seen, _| seen.feeds[0].credential_expires = Some(now())),
    ];
    let mut reached: std::collections::BTreeSet<A> = std::collections::BTreeSet::new();
    for (names, make) in table {
        let (mut seen, metrics) = (seen(&config), Metrics::new().expect("metrics"));
        make(&mut seen, &metrics);
        assert_eq!(said(&seen, &config, &metrics, 0), *names);
        reached.extend(*names);
    }
    assert_eq!(said(&seen(&config), &config, &Metrics::new().expect("metrics"), 1), [A::GrantErrors]);
    let others: Vec<A> =
        A::ALL.iter().copied().filter(|name| !reached.contains(name) && *name != A::GrantErrors).collect();
    // The first waits for a configuration that can be read again, the second comes from the ledger itself.
    assert_eq!(others, [A::ConfigReloadFailed, A::AlertsLeftOut]);
}

#[test]
fn before_the_name_servers_were_tested_nothing_is_known_of_them() {
    let config = Config::from_toml(CONFIG).expect("a configuration");
    assert!(resolvers(&identity::Snapshot::default(), &config).is_none());
    let off = Config::from_toml(&format!("{CONFIG}[monitor]\nself_check = false\n")).expect("a configuration");
    assert_eq!(resolvers(&identity::Snapshot::default(), &off).map(|seen| seen.len()), Some(0), "nor will be");
}
