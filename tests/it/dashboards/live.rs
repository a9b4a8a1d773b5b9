//! The program under the eyes of the real Prometheus and Alertmanager.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use remuda::demo::sink::{Act, Sink};
use remuda::demo::zone::{Mood, Zone};
use remuda::outcome::Stage;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::daemons::{Daemon, ask, ask_range, prometheus};
use super::{Query, dashboards, dashboards_dir, queries, read};
use crate::support::{Relay, Settings, all_accepted, anywhere, array, keeping_sink, local, named, sink, wait_until};

/// Panels that show nothing after the scenario, and why. Everything else must show something.
const MAY_BE_EMPTY: &[(&str, &str)] = &[
    ("Refused at the door", "nothing was refused at the end of data"),
    ("Attempts from backups", "the backup takes over only while no active can be counted on"),
    ("From listing to the last message", "measured only where mail left between the listing and the suspension"),
    ("Questions not put", "no list has a budget"),
];

const BLOCKED: &str = "550 5.7.1 Service unavailable; client host blocked using our blocklist";

/// Fills in what Grafana fills in.
fn substituted(expression: &str, binding: &str) -> String {
    let one = expression.replace("=\"$binding\"", &format!("=\"{binding}\"")).replace("$__rate_interval", "20s");
    ["$instance", "$pool", "$binding", "$tenant", "$provider"].iter().fold(one, |text, name| text.replace(name, ".*"))
}

/// Five addresses with everything that has a metric: caps, a warm-up, a list, reports, a backup, expectations.
fn everything(one: &Sink, two: &Sink, zone: &Zone, vendor: SocketAddr, hook: SocketAddr) -> Settings {
    Settings::new()
        .set("delivery", "max_outbound_connections", "4")
        .set("reputation", "dwell", "\"0s\"")
        .set("dns", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("monitor", "interval", "\"500ms\"")
        .set("monitor", "jitter", "0.0")
        .set("monitor", "fcrdns", "true")
        .set("monitor", "confirm_after", "\"50ms\"")
        .set("monitor", "self_check", "\"1h\"")
        .set("monitor", "spf", "\"report\"")
        .set("monitor", "spf_interval", "\"400ms\"")
        .set("feed.vendor", "kind", "\"json\"")
        .set("feed.vendor", "url", &format!("\"http://{vendor}/\""))
        .set("feed.vendor", "scope", "{ address = \"/ip\" }")
        .set("feed.vendor", "interval", "\"1s\"")
        .set("feed.vendor", "credential_expires", "2099-06-01")
        .set("feed.vendor.metric.score", "value", "\"/score\"")
        .set("feed.vendor.metric.score", "warn_below", "70")
        .set("alerts", "every", "\"200ms\"")
        .set("alerts.webhook.chat", "url", &format!("\"http://{hook}/chat\""))
        .set("monitor.zone.bl", "zone", "\"bl.test\"")
        .set("monitor.zone.bl", "weight", "4.0")
        .set("monitor.zone.gone", "zone", "\"gone.test\"")
        .set("monitor.zone.uri", "zone", "\"uri.test\"")
        .set("monitor.zone.uri", "kind", "\"domain\"")
        .set("monitor.zone.uri", "weight", "2.0")
        .set("monitor.zone.uri", "interval", "\"500ms\"")
        .set("feedback", "addresses", "[\"fbl@relay.test\"]")
        .set("tenant.acme", "return_path_domain", "\"bounces.acme.test\"")
        .set("tenant.acme", "daily_cap", "5000")
        .set("tenant.bolt", "match", "{ sender_domain = [\"bolt.test\"] }")
        .set("tenant.bolt", "pools", "{ default = \"main\" }")
        .binding("a", 11, "public_address = \"192.0.2.11\"\ndaily_cap = 4000")
        .binding("b", 12, "public_address = \"192.0.2.12\"\ndaily_cap = 4000")
        .binding("c", 13, "public_address = \"192.0.2.13\"")
        .binding("fresh", 14, "public_address = \"192.0.2.14\"\nwarmup = { ladder = \"standard\", stage = 3 }")
        .binding("spare", 15, "public_address = \"192.0.2.15\"")
        .pool("active = [\"a\", \"b\", \"c\", \"fresh\"]\nbackup = [[\"spare\"]]\nspread = \"reputation\"")
        .provider("one", "one.test", one.addr())
        .provider("two", "two.test", two.addr())
        .to(two.addr())
        .block("[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"10.0.0.0/8\"]\n".into())
}

/// A feed that says the same of an address at every fetch.
async fn vendor() -> SocketAddr {
    let said = serde_json::json!([{ "ip": "192.0.2.13", "score": 65 }]).to_string();
    let router = axum::Router::new().fallback(async move || said.clone());
    let listener = tokio::net::TcpListener::bind(anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// Hands a mail in as a stranger does.
async fn stranger(relay: &Relay, to: &str, mail: &str) {
    let mut stream = BufReader::new(TcpStream::connect(relay.listener(1)).await.unwrap());
    let mail = mail.replace('\n', "\r\n");
    let said = ["", "HELO mx.one.test", "MAIL FROM:<>", &format!("RCPT TO:<{to}>"), "DATA", &format!("{mail}\r\n.")];
    for line in said.map(str::to_owned) {
        if !line.is_empty() {
            stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        }
        let mut reply = String::new();
        stream.read_line(&mut reply).await.unwrap();
        assert!(reply.starts_with(['2', '3']), "{line}: {reply}");
    }
}

fn complaint(mark: &str) -> String {
    format!(
        "From: staff@one.test\nTo: fbl@relay.test\nSubject: complaint\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=\"b1\"\n\n\
         --b1\nContent-Type: text/plain\n\nThis is an email abuse report.\n\n\
         --b1\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: Feedback/1.0\nVersion: 1\n\n\
         --b1\nContent-Type: text/rfc822-headers\n\nFrom: redacted@acme.test\nX-Remuda-Id: {mark}\nSubject: news\n\n--b1--\n"
    )
}

/// The mark of some message that `sink` took from acme.
fn mark(sink: &Sink) -> String {
    let marks =
        sink.log().into_iter().filter(|taken| taken.reverse_path.contains("bounces.acme.test")).find_map(|taken| {
            let body = String::from_utf8_lossy(taken.body.as_deref()?).into_owned();
            body.lines().find_map(|line| line.strip_prefix("X-Remuda-Id: ").map(str::to_owned))
        });
    marks.expect("a marked message")
}

/// A block, a rotten list, a listing, a complaint; all of it while mail flows.
async fn live_through_something(relay: &Relay, one: &Sink, two: &Sink, zone: &Zone) {
    let mixed = |n: u64| match n {
        n if n % 40 == 39 => vec![format!("elsewhere{n}@far.test")],
        n => vec![format!("u{n}@{}.test", if n % 2 == 0 { "one" } else { "two" })],
    };
    let send = async |first: u64, count: u64, from: &'static str| {
        let load = relay.load(count).first(first).recipients(mixed);
        all_accepted(&load.reverse_path(move |_| format!("news@{from}.test")).run().await);
    };
    send(0, 300, "acme").await;
    send(1_000, 300, "bolt").await;
    one.block(local(12), BLOCKED);
    let pause = || tokio::time::sleep(Duration::from_millis(1_500));
    // Two scrapes at least must lie between two stages, or a counter that appears has never grown.
    pause().await;
    send(2_000, 200, "acme").await;
    send(3_000, 200, "bolt").await;
    stranger(relay, "fbl@relay.test", &complaint(&mark(two))).await;
    zone.listed("bl.test", "192.0.2.11".parse().unwrap(), "127.0.0.2".parse().unwrap());
    pause().await;
    let rotten =
        |n: u64| vec![if n.is_multiple_of(2) { format!("gone{n}@two.test") } else { format!("u{n}@two.test") }];
    all_accepted(
        &relay.load(1_500).first(10_000).reverse_path(|_| "news@bolt.test".into()).recipients(rotten).run().await,
    );
    wait_until("bolt's mail is held and a is listed", async || {
        let status = relay.status().await;
        let is_out = named(&status, "/bindings", "a")["health"] == "suspended";
        (is_out && !array(&status, "/holds").is_empty()).then_some(())
    })
    .await;
    // What comes second grows.
    one.add(remuda::demo::sink::Rule::reply(Stage::Rcpt, "451 4.7.1 gnarf, the moon is full").from(local(13)));
    send(20_000, 200, "acme").await;
    stranger(relay, "fbl@relay.test", "Subject: not a report\n\nhello").await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    send(21_000, 100, "acme").await;
    stranger(relay, "fbl@relay.test", "Subject: not a report either\n\nhello").await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
}

/// A table of what an expression gives now, for those who look.
async fn print(daemon: &Daemon, query: &Query) {
    println!("── {} / {}", query.dashboard, query.panel);
    for series in ask(daemon, &substituted(&query.expression, "a")).await.iter().take(24) {
        let labels = series["metric"].as_object().unwrap();
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
        println!("   {:<90} {}", labels.join(" "), series["value"][1].as_str().unwrap_or_default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs prometheus; tests/run installs it"]
async fn every_panel_shows_something_after_some_traffic() {
    let (one, two, zone) = (keeping_sink().await, keeping_sink().await, Zone::start(anywhere()).await.unwrap());
    zone.mood("bl.test", Mood::Dnsbl);
    zone.mood("gone.test", Mood::lists_everything());
    zone.mood("uri.test", Mood::Dnsbl);
    zone.listed_domain("uri.test", "bolt.test", "127.0.0.2".parse().unwrap());
    for (name, last) in [("a", 11), ("b", 12), ("c", 13), ("fresh", 14), ("spare", 15)] {
        let (host, address) = (format!("{name}.test"), std::net::IpAddr::from([192, 0, 2, last]));
        zone.ptr(address, &host).unwrap();
        zone.a(&host, address);
    }
    let gone = |moment: &remuda::demo::sink::Moment<'_>| {
        let to = moment.recipients.first().map_or("", |to| to);
        (moment.stage == Stage::Rcpt && to.starts_with("gone")).then(|| Act::Reply("550 5.1.1 user unknown".into()))
    };
    two.policy(gone);
    zone.txt("bounces.acme.test", "v=spf1 ip4:192.0.2.11 -all");
    let (hook, _) = hook().await;
    let relay = Relay::start(&everything(&one, &two, &zone, vendor().await, hook)).await;
    let directory = tempfile::tempdir().unwrap();
    let began = jiff::Timestamp::now();
    let daemon = prometheus(directory.path(), &relay, "").await;
    live_through_something(&relay, &one, &two, &zone).await;

    let (mut empty, mut shown) = (Vec::new(), 0);
    for query in queries() {
        if ["overview", "matrix"].contains(&query.dashboard.as_str()) {
            print(&daemon, &query).await;
        }
        let mut found = 0;
        // A panel about one binding has something to show of some binding.
        for binding in ["a", "b", "c", "fresh"] {
            found += ask_range(&daemon, &substituted(&query.expression, binding), began).await.len();
        }
        shown += usize::from(found > 0);
        if found == 0 && !MAY_BE_EMPTY.iter().any(|(panel, _)| *panel == query.panel) {
            empty.push(format!("{} / {}: {}", query.dashboard, query.panel, query.expression));
        }
    }
    println!("{shown} queries show something");
    assert!(empty.is_empty(), "{}", empty.join("\n"));
    assert!(shown > 95, "{shown}");
    for (name, dashboard) in dashboards() {
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        for query in variables.iter().filter_map(|variable| variable["query"]["query"].as_str()) {
            let (metric, label) = query.trim_end_matches(')').rsplit_once(", ").unwrap();
            let metric = substituted(metric.trim_start_matches("label_values("), "");
            let values = ask(&daemon, &format!("count by ({label}) ({metric})")).await;
            assert!(!values.is_empty(), "{name}: {query}");
        }
    }
    let page = reqwest::get(daemon.url("/api/v1/rules")).await.unwrap().text().await.unwrap();
    let page: Value = serde_json::from_str(&page).unwrap();
    for rule in array(&page, "/data/groups").iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }
}

/// A web hook that keeps what it is told.
async fn hook() -> (SocketAddr, Arc<Mutex<Vec<(String, Value)>>>) {
    let told: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let kept = Arc::clone(&told);
    let take = |axum::extract::Path(who): axum::extract::Path<String>, axum::Json(body): axum::Json<Value>| async move {
        kept.lock().unwrap().push((who, body));
    };
    let router = axum::Router::new().route("/{who}", axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind(anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, told)
}

/// The example's routing with its waits left out, and a hook for each receiver instead of mail.
fn hasty_routing(hook: SocketAddr) -> String {
    let example = read(&dashboards_dir().join("alertmanager.yml"));
    let (routing, receivers) = example.split_once("\nreceivers:").unwrap();
    let (_, routing) = routing.split_once("\nroute:").unwrap();
    let names = receivers.lines().filter_map(|line| line.trim().strip_prefix("- name: "));
    let hooks: Vec<String> = names
        .map(|name| {
            format!(
                "  - name: {name}\n    webhook_configs:\n      - url: http://{hook}/{name}\n        send_resolved: true"
            )
        })
        .collect();
    let hasty = routing.lines().map(|line| match line.split_once(": ") {
        Some((key, _)) if key.trim() == "group_wait" => format!("{key}: 0s"),
        Some((key, _)) if key.trim() == "group_interval" => format!("{key}: 1s"),
        _ => line.to_owned(),
    });
    format!("route:{}\nreceivers:\n{}\n", hasty.collect::<Vec<_>>().join("\n"), hooks.join("\n"))
}

/// Alerts of this name in Alertmanager's API.
async fn alerts(manager: &Daemon, name: &str) -> Vec<Value> {
    let answer = reqwest::get(manager.url("/api/v2/alerts")).await.unwrap().text().await.unwrap();
    let all: Value = serde_json::from_str(&answer).unwrap();
    let all = all.as_array().unwrap().iter();
    all.filter(|alert| alert["labels"]["alertname"] == name).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs prometheus and prometheus-alertmanager; tests/run installs them"]
async fn a_refused_binding_ends_as_an_alert_and_its_recovery_ends_the_alert() {
    let sinks = [sink().await, sink().await, sink().await];
    let mut settings = Settings::new()
        .set("delivery", "max_outbound_connections", "2")
        .set("reputation", "dwell", "\"0s\"")
        .set("reputation", "suspend_first", "\"4s\"")
        .set("reputation", "probation_period", "\"300ms\"")
        .set("reputation", "probation_periods", "2")
        .set("reputation", "probation_start", "5")
        .binding("a", 11, "")
        .binding("b", 12, "")
        .pool("active = [\"a\", \"b\"]");
    let places = ["one", "two", "three"];
    for (name, sink) in places.iter().zip(&sinks) {
        sink.block(local(11), BLOCKED);
        settings = settings.provider(name, &format!("{name}.test"), sink.addr());
    }
    let relay = Relay::start(&settings).await;
    let directory = tempfile::tempdir().unwrap();
    let (hook, told) = hook().await;
    let arguments = ["--storage.path=alerts", "--cluster.listen-address="];
    let manager = Daemon::start("prometheus-alertmanager", directory.path(), &hasty_routing(hook), &arguments).await;
    let further =
        format!("alerting: {{alertmanagers: [{{static_configs: [{{targets: [\"{}\"]}}]}}]}}\n", manager.address);
    let prometheus = prometheus(directory.path(), &relay, &further).await;

    let send = async |first: u64| {
        let to = move |n: u64| vec![format!("u{n}@{}.test", places[(n % 3) as usize])];
        all_accepted(&relay.load(60).first(first).recipients(to).run().await);
    };
    send(0).await;
    let alert = wait_until("BindingSuspended fires", async || alerts(&manager, "BindingSuspended").await.pop()).await;
    let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default();
    assert_eq!((label("binding"), label("reason"), label("severity")), ("a", "many_providers", "warning"), "{alert:#}");
    assert_eq!(alert["status"]["state"], "active", "{alert:#}");
    assert!(alert["annotations"]["runbook_url"].as_str().unwrap().ends_with("#bindingsuspended"), "{alert:#}");
    for route in alerts(&manager, "RouteSuspended").await {
        assert_eq!(route["status"]["state"], "suppressed", "the binding's alert speaks for its routes: {route:#}");
    }
    let firing = ask(&prometheus, "ALERTS{alertname=\"BindingSuspended\", alertstate=\"firing\"}").await;
    assert!(!firing.is_empty(), "Prometheus itself says so");

    // The receivers forgive.
    sinks.iter().for_each(|sink| sink.unblock(local(11)));
    let mut sent = 1_000;
    wait_until("a is back and the alert over", async || {
        send(sent).await;
        sent += 60;
        let health = named(&relay.status().await, "/bindings", "a")["health"].clone();
        (health == "active" && alerts(&manager, "BindingSuspended").await.is_empty()).then_some(())
    })
    .await;
    let resolved = |(who, body): &(String, Value)| {
        who == "mail" && body["status"] == "resolved" && body["groupLabels"]["alertname"] == "BindingSuspended"
    };
    wait_until("the mail receiver is told of both", async || {
        let told = told.lock().unwrap();
        let fired = told.iter().any(|(who, body)| who == "mail" && body["status"] == "firing");
        (fired && told.iter().any(resolved)).then_some(())
    })
    .await;
}

/// Hands alerts to Alertmanager as Prometheus does.
async fn hand_in(manager: &Daemon, alerts: &[Value]) {
    let body = serde_json::to_string(alerts).unwrap();
    let request = reqwest::Client::new().post(manager.url("/api/v2/alerts")).header("content-type", "application/json");
    let answer = request.body(body).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs prometheus-alertmanager; tests/run installs it"]
async fn a_resolver_silences_only_what_it_spoils() {
    let (directory, (hook, _)) = (tempfile::tempdir().unwrap(), hook().await);
    let arguments = ["--storage.path=alerts", "--cluster.listen-address="];
    let manager = Daemon::start("prometheus-alertmanager", directory.path(), &hasty_routing(hook), &arguments).await;
    let spoiled = ["ZoneUnhealthy", "ReverseDnsBroken", "EhloNameBroken", "SpfNotCovered"];
    // (instance, alert, purpose, check, whether each of the above is silenced)
    let resolvers = [
        ("strips", "ResolverDistrusted", "monitor", "loopback", [true, false, false, false]),
        ("invents", "ResolverDistrusted", "monitor", "nxdomain", [true; 4]),
        ("slow", "ResolverPoor", "monitor", "answers", [false; 4]),
        ("elsewhere", "ResolverDistrusted", "delivery", "answers", [false; 4]),
    ];
    let mut all = Vec::new();
    for (instance, name, purpose, check, _) in resolvers {
        let of = |name: &str| serde_json::json!({ "alertname": name, "instance": instance, "severity": "warning" });
        let mut source = of(name);
        (source["purpose"], source["check"]) = (purpose.into(), check.into());
        all.push(serde_json::json!({ "labels": source }));
        for (number, name) in spoiled.into_iter().enumerate() {
            // Of another binding each: ReverseDnsBroken silences EhloNameBroken of its own.
            let mut labels = of(name);
            labels["binding"] = format!("b{number}").into();
            all.push(serde_json::json!({ "labels": labels }));
        }
    }
    hand_in(&manager, &all).await;
    for (place, name) in spoiled.into_iter().enumerate() {
        wait_until(&format!("{name} is silenced where it must be"), async || {
            let found = alerts(&manager, name).await;
            let state = |instance: &str| {
                let alert = found.iter().find(|alert| alert["labels"]["instance"] == instance)?;
                Some(alert["status"]["state"].as_str()?.to_owned())
            };
            let is_right = resolvers.iter().all(|(instance, .., silenced)| {
                state(instance).as_deref() == Some(if silenced[place] { "suppressed" } else { "active" })
            });
            is_right.then_some(())
        })
        .await;
    }
}

fn said(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
#[ignore = "needs promtool and amtool from prometheus and prometheus-alertmanager; tests/run installs them"]
fn promtool_and_amtool_accept_rules_their_tests_and_the_examples() {
    for (program, arguments) in [
        ("promtool", &["check", "rules", "alerts.yml"][..]),
        ("promtool", &["check", "config", "prometheus.yml"]),
        ("promtool", &["test", "rules", "alerts_test.yml", "alerts_days_test.yml"]),
        ("amtool", &["check-config", "alertmanager.yml"]),
    ] {
        let (good, text) = said(Command::new(program).args(arguments).current_dir(dashboards_dir()));
        assert!(good && !text.contains("FAILED"), "{program} {arguments:?}: {text}");
    }
}

#[test]
#[ignore = "needs python3; tests/run installs it"]
fn the_dashboards_are_what_their_program_writes() {
    let directory = tempfile::tempdir().unwrap();
    let (good, text) = said(Command::new("python3").arg(dashboards_dir().join("grafana.py")).arg(directory.path()));
    assert!(good, "{text}");
    for (name, dashboard) in dashboards() {
        let written: Value = serde_json::from_str(&read(&directory.path().join(format!("{name}.json")))).unwrap();
        assert!(written == dashboard, "dashboards/grafana/{name}.json is not what dashboards/grafana.py writes");
    }
}
