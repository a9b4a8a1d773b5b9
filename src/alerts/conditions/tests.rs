//! Every alert just over its threshold and just under it; doubts; strangers' words.

use super::*;
use crate::alerts::view::{
    BindingView, CapView, ComplaintView, DomainsView, FeedView, HoldView, ListingView, PoolView, ResolverView,
    ReverseView, SpfView, Tried, WaitingView, WarmupView, ZoneView,
};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

fn now() -> Wall {
    Wall::from_millis(1_800_000_000_000)
}

fn ago(span: Duration) -> Wall {
    Wall::from_millis(now().as_millis() - i64::try_from(span.as_millis()).expect("fits"))
}

/// A view in which nothing is wrong and everything is known.
fn calm() -> View {
    View {
        window_span: HOUR,
        lately_span: HOUR,
        running: HOUR,
        resolvers: Some(Vec::new()),
        free_space: Some(100 << 30),
        last_delivery: now(),
        bindings: vec![BindingView { name: "a".into(), ..BindingView::default() }],
        pools: vec![PoolView { name: "main".into(), active: 2, min_active: 1, backup: 1 }],
        ..View::default()
    }
}

/// What is said, as `Name key=value …`.
fn said(view: &View) -> Vec<String> {
    said_by(view, &Alerts::default())
}

fn said_by(view: &View, alerts: &Alerts) -> Vec<String> {
    let judged = of(view, alerts, now());
    let line = |condition: &Condition| {
        let labels = condition.labels.iter().map(|(key, value)| format!(" {key}={value}")).collect::<String>();
        format!("{}{labels}", condition.name.as_str())
    };
    judged.conditions.iter().map(line).collect()
}

fn out(destination: &str) -> OutView {
    OutView {
        destination: destination.into(),
        suspended: true,
        reason: "ip_blocked".into(),
        evidence: "three refusals".into(),
        until: Some(now().plus(HOUR)),
        ..OutView::default()
    }
}

/// A feed with which all is well.
fn feed() -> FeedView {
    FeedView { name: "snds".into(), up: Some(true), age: Some(Duration::ZERO), max_age: HOUR, ..FeedView::default() }
}

#[test]
fn a_calm_relay_says_nothing_and_doubts_nothing() {
    assert_eq!(of(&calm(), &Alerts::default(), now()), Judgement::default());
}

#[test]
fn each_condition_holds_from_its_threshold_on_and_not_before() {
    type Make = fn(&mut View, bool);
    // (what is said when it holds, the view just over the threshold (true) or just under it (false))
    let table: &[(&str, Make)] = &[
        ("BindingSuspended binding=a", |view, on| view.bindings[0].own = OutView { suspended: on, ..out("") }),
        ("RouteSuspended binding=a destination=gmail", |view, on| {
            view.bindings[0].routes = vec![OutView { suspended: on, ..out("gmail") }];
        }),
        ("RouteSuspended binding=a destination=gmail", |view, on| {
            // What the operator took out everywhere is nobody's alert, and its routes are not either.
            view.bindings[0].own = OutView { suspended: !on, wanted: true, ..out("") };
            view.bindings[0].routes = vec![out("gmail")];
        }),
        ("BindingSuspended binding=a", |view, on| {
            view.bindings[0].own = OutView { wanted: !on, ..out("") };
        }),
        ("PoolOnBackup pool=main", |view, on| view.pools[0].active = usize::from(!on)),
        ("PoolOnBackup pool=main", |view, on| {
            view.lately.failovers.insert(if on { "main" } else { "other" }.into(), 1);
        }),
        ("PoolWithoutEligibleBinding pool=main", |view, on| {
            (view.pools[0].active, view.pools[0].backup) = (usize::from(!on), 0);
        }),
        ("BindingListed binding=a zone=z", |view, on| {
            let weight = if on { 3.0 } else { 2.9 };
            view.listings = vec![ListingView {
                binding: "a".into(),
                zone: "z".into(),
                listed: Some(true),
                weight,
                codes: "127.0.0.2".into(),
            }];
        }),
        ("DomainListed zone=dbl", |view, on| {
            let weight = if on { 3.0 } else { 2.9 };
            let listed = vec![("mta.example.net".into(), vec!["a".into(), "b".into()], weight)];
            view.domains = vec![DomainsView { zone: "dbl".into(), has_unknown: false, listed }];
        }),
        ("ZoneUnhealthy zone=z", |view, on| {
            let health = if on { "dead" } else { "healthy" };
            view.zones = vec![ZoneView { name: "z".into(), health: health.into(), reason: "lists the world".into() }];
        }),
        ("ReverseDnsBroken binding=a", |view, on| {
            view.reverse = vec![ReverseView { binding: "a".into(), confirmed: Some(!on), detail: "no PTR".into() }];
        }),
        ("CapNearlyUsed name=a of=binding", |view, on| {
            let used = if on { 900 } else { 899 };
            view.caps = vec![CapView { of: "binding", name: "a".into(), limit: 1_000, used, ..CapView::default() }];
        }),
        ("WarmupStalled binding=a destination=*", |view, on| {
            let stage = if on { 3 } else { 4 };
            view.warmups = vec![WarmupView { binding: "a".into(), destination: "*".into(), stage, stages: 5 }];
        }),
        ("HardBounceRatioHigh binding=a", |view, on| {
            let tried = Tried { all: 1_000, hard: if on { 51 } else { 50 }, ..Tried::default() };
            view.window.attempts.insert(("a".into(), "gmail".into()), tried);
        }),
        ("HardBounceRatioHigh binding=a", |view, on| {
            let tried = Tried { all: if on { 100 } else { 99 }, hard: 50, ..Tried::default() };
            view.window.attempts.insert(("a".into(), "gmail".into()), tried);
        }),
        ("DeferralRatioHigh binding=a destination=gmail", |view, on| {
            let tried = Tried { all: 100, deferred: if on { 26 } else { 25 }, ..Tried::default() };
            view.window.attempts.insert(("a".into(), "gmail".into()), tried);
        }),
        ("ComplaintRatioHigh binding=a destination=yahoo", |view, on| {
            let complaints = if on { 11 } else { 10 };
            view.complaints =
                vec![ComplaintView { binding: "a".into(), destination: "yahoo".into(), accepted: 10_000, complaints }];
        }),
        ("UnmatchedReplies provider=gmail", |view, on| {
            let tried = Tried { all: 10_000, bounced: 100, ..Tried::default() };
            view.window.attempts.insert(("a".into(), "gmail".into()), tried);
            view.window.unmatched.insert("gmail".into(), if on { 6 } else { 5 });
        }),
        ("QueueOld pool=main", |view, on| {
            let oldest = ago(4 * HOUR + Duration::from_secs(u64::from(on)));
            view.waiting = vec![WaitingView { pool: "main".into(), reason: "retry".into(), count: 1, oldest }];
        }),
        ("NoDeliveries", |view, on| {
            let oldest = ago(2 * HOUR);
            view.waiting = vec![WaitingView { pool: "main".into(), reason: "retry".into(), count: 1, oldest }];
            view.last_delivery = ago(HOUR + Duration::from_secs(u64::from(on)));
        }),
        ("NoDeliveries", |view, on| {
            // Mail that waits for a cap of ours is not stuck.
            let reason = if on { "window_full" } else { "cap" };
            view.waiting =
                vec![WaitingView { pool: "main".into(), reason: reason.into(), count: 1, oldest: ago(2 * HOUR) }];
            view.last_delivery = ago(2 * HOUR);
        }),
        ("NoDeliveries", |view, on| {
            // One domain whose name servers fail is no outage; all of them are.
            let count = if on { 11 } else { 10 };
            view.waiting =
                vec![WaitingView { pool: "main".into(), reason: "dns".into(), count, oldest: ago(2 * HOUR) }];
            view.last_delivery = ago(2 * HOUR);
        }),
        ("TenantHeld destination=gmail tenant=acme", |view, on| {
            let hold = HoldView { tenant: "acme".into(), destination: "gmail".into(), evidence: "refused".into() };
            view.holds = if on { vec![hold.clone(), hold] } else { Vec::new() };
        }),
        ("SpoolSpaceLow", |view, on| view.free_space = Some((1 << 30) - u64::from(on))),
        ("SpoolRecordsSetAside", |view, on| view.set_aside = u64::from(on)),
        ("GrantErrors", |view, on| view.lately.grant_errors = u64::from(on)),
        ("ConfigReloadFailed", |view, on| view.reload_failed = on.then(|| "line 3".into())),
        ("AlertsLeftOut", |view, on| view.left_out = u64::from(on)),
        ("ResolverDistrusted check=nxdomain purpose=monitor", |view, on| {
            let (purpose, check) = ("monitor".into(), "nxdomain".into());
            view.resolvers = Some(vec![ResolverView { purpose, check, good: Some(!on), detail: String::new() }]);
        }),
        ("SpfNotCovered pool=main tenant=acme", |view, on| {
            let (tenant, pool) = ("acme".into(), "main".into());
            view.spf = vec![SpfView { tenant, pool, uncovered: u64::from(on), has_unknown: true }];
        }),
        ("FeedStale feed=snds", |view, on| {
            view.feeds = vec![FeedView { age: Some(HOUR + Duration::from_secs(u64::from(on))), ..feed() }];
        }),
        ("FeedStale feed=snds", |view, on| {
            // Nothing since the start, and that is longer ago than anything it said would count.
            view.running = HOUR + Duration::from_secs(u64::from(on));
            view.feeds = vec![FeedView { age: None, ..feed() }];
        }),
        ("FeedDown feed=snds", |view, on| view.feeds = vec![FeedView { up: Some(!on), ..feed() }]),
        ("FeedCredentialsRefused feed=snds", |view, on| {
            view.feeds = vec![FeedView { up: Some(!on), is_refused: on, ..feed() }];
        }),
        ("FeedCredentialExpiring feed=snds", |view, on| {
            let left = 5 * 24 * HOUR - Duration::from_secs(u64::from(on));
            view.feeds = vec![FeedView { expires: Some(now().plus(left)), ..feed() }];
        }),
    ];
    let mut names = std::collections::BTreeSet::new();
    for (text, make) in table {
        let (mut over, mut under) = (calm(), calm());
        make(&mut over, true);
        make(&mut under, false);
        assert_eq!(said(&over), [*text]);
        assert_eq!(said(&under), Vec::<String>::new(), "just under {text}");
        names.extend(text.split(' ').next());
    }
    let all = AlertName::ALL.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, all, "every alert has its condition, and its test");
}

#[test]
fn a_rule_that_is_switched_off_is_not_looked_for() {
    let mut alerts = Alerts::default();
    alerts.rules.get_mut(&AlertName::SpoolRecordsSetAside).expect("there").enabled = false;
    let view = View { set_aside: 3, ..calm() };
    assert_eq!(said_by(&view, &alerts), Vec::<String>::new());
}

#[test]
fn a_listed_domain_is_named_with_the_bindings_that_use_it() {
    let mut view = calm();
    let users = |count| (0..count).map(|n| format!("b{n}")).collect();
    view.domains = vec![DomainsView {
        zone: "dbl".into(),
        has_unknown: true,
        listed: vec![("mta.example.net".into(), users(2), 3.0), ("example.net".into(), users(7), 3.0)],
    }];
    let judged = of(&view, &Alerts::default(), now());
    let told = format!("{:?}", judged.conditions);
    assert!(told.contains("mta.example.net (b0, b1), example.net (b0, b1, b2, b3, b4 and 2 more)"), "{told}");
    view.domains[0].listed.clear();
    let judged = of(&view, &Alerts::default(), now());
    assert!(
        judged
            .doubts
            .iter()
            .any(|doubt| { doubt.covers(AlertName::DomainListed, &Labels::from([("zone".into(), "dbl".into())])) })
    );
}

#[test]
fn what_nobody_can_tell_is_a_doubt_about_just_that() {
    let mut view = calm();
    view.listings = vec![ListingView { binding: "a".into(), zone: "z".into(), listed: None, ..ListingView::default() }];
    (view.window_span, view.lately_span) = (Duration::from_secs(60), Duration::from_secs(60));
    view.resolvers = None;
    view.feeds = vec![FeedView { up: None, age: None, ..feed() }];
    view.spf = vec![SpfView { tenant: "acme".into(), pool: "main".into(), uncovered: 0, has_unknown: true }];
    let judged = of(&view, &Alerts::default(), now());
    assert!(judged.conditions.is_empty());
    let labels = |zone: &str| Labels::from([("binding".into(), "a".into()), ("zone".into(), zone.into())]);
    let covers = |name, labels: &Labels| judged.doubts.iter().any(|doubt| doubt.covers(name, labels));
    assert!(covers(AlertName::BindingListed, &labels("z")));
    assert!(!covers(AlertName::BindingListed, &labels("y")), "of the other list it is known");
    assert!(covers(AlertName::DeferralRatioHigh, &Labels::new()), "too little was counted since the start");
    assert!(!covers(AlertName::QueueOld, &Labels::new()));
    let one = |key: &str, value: &str| Labels::from([(key.to_owned(), value.to_owned())]);
    for name in [AlertName::FeedStale, AlertName::FeedDown, AlertName::FeedCredentialsRefused] {
        assert!(covers(name, &one("feed", "snds")), "{name:?}: it was not fetched yet");
        assert!(!covers(name, &one("feed", "other")));
    }
    assert!(covers(AlertName::ResolverDistrusted, &one("purpose", "delivery")), "nobody tested them yet");
    assert!(covers(AlertName::GrantErrors, &Labels::new()) && covers(AlertName::PoolOnBackup, &one("pool", "main")));
    let spf = Labels::from([("tenant".into(), "acme".into()), ("pool".into(), "main".into())]);
    assert!(covers(AlertName::SpfNotCovered, &spf));
}

#[test]
fn strangers_words_are_made_visible_and_short() {
    let mut view = calm();
    view.bindings[0].own = OutView { evidence: format!("\u{1b}[31m{}\r\n", "x".repeat(5_000)), ..out("") };
    let judged = of(&view, &Alerts::default(), now());
    let description = &judged.conditions[0].description;
    assert!(description.contains("\\u{1b}") && !description.chars().any(char::is_control), "{description}");
    assert!(description.chars().count() <= WORDS_MAX + 1, "{}", description.len());
}

#[test]
fn the_rules_for_prometheus_leave_the_same_mail_aside() {
    let rules = include_str!("../../../dashboards/alerts.yml");
    let kept = mail::CHOSEN.into_iter().collect::<std::collections::BTreeSet<_>>();
    for (rule, others) in [("NoDeliveries", &["dns", "back_off", "route_suspended"][..]), ("QueueOld", &["dns"])] {
        let (_, text) = rules.split_once(&format!("- alert: {rule}\n")).unwrap();
        let (_, text) = text.split_once("reason!~\"").unwrap();
        let (reasons, _) = text.split_once('"').unwrap();
        let reasons = reasons.split('|').filter(|reason| !others.contains(reason)).collect();
        assert_eq!(kept, reasons, "{rule}");
    }
}
