//! What looks from outside goes by a configuration that is changed while the relay runs: lists, SPF, feeds, alerts.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::Request;
use parking_lot::Mutex;
use remuda::demo::zone::{Mood, Zone};
use serde_json::Value;

use crate::support::{Relay, Settings, anywhere, array, named, sink, wait_until};

const CODE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Writes the file anew and has it read by SIGHUP.
fn reload(relay: &Relay, settings: &Settings) {
    hang_up(relay, &settings.text(&relay.state_dir()));
}

fn hang_up(relay: &Relay, text: &str) {
    let file = relay.state_dir().parent().unwrap().join("remuda.toml");
    assert!(file.exists(), "where the relay reads it");
    std::fs::write(file, text).unwrap();
    let ports: Value = serde_json::from_slice(&std::fs::read(relay.state_dir().join("ports.json")).unwrap()).unwrap();
    let kill = format!("kill -HUP {}", ports["pid"]);
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// Two bindings whose public addresses are 192.0.2.11 and .12, quick rounds.
fn settings(zone: &Zone) -> Settings {
    Settings::new()
        .set("monitor", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("monitor", "interval", "\"300ms\"")
        .set("monitor", "jitter", "0.0")
        .set("monitor", "timeout", "\"400ms\"")
        .set("monitor", "confirm_after", "\"50ms\"")
        .set("monitor", "spf_interval", "\"300ms\"")
        .set("reputation", "dwell", "\"0s\"")
        .set("reputation", "suspend_first", "\"200ms\"")
        .set("alerts", "every", "\"100ms\"")
        .set("alerts", "clear_after", "\"300ms\"")
        .binding("a", 11, "public_address = \"192.0.2.11\"")
        .binding("b", 12, "public_address = \"192.0.2.12\"")
        .pool("active = [\"a\", \"b\"]")
}

fn listed(settings: Settings, name: &str, weight: &str) -> Settings {
    let table = format!("monitor.zone.{name}");
    settings.set(&table, "zone", &format!("\"{name}.test\"")).set(&table, "weight", weight)
}

fn public() -> IpAddr {
    IpAddr::from([192, 0, 2, 11])
}

async fn health_is(relay: &Relay, name: &str, is_so: impl Fn(&str) -> bool) {
    wait_until(&format!("{name} is as it should be"), async || {
        let status = relay.status().await;
        named(&status, "/bindings", name)["health"].as_str().is_some_and(&is_so).then_some(())
    })
    .await;
}

async fn metrics_have(relay: &Relay, line: &str, wanted: bool) {
    wait_until(&format!("{line}: {wanted}"), async || (relay.metrics().await.contains(line) == wanted).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_go_and_weigh_otherwise_while_the_relay_runs() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    for list in ["one.test", "two.test"] {
        zone.mood(list, Mood::Dnsbl);
        zone.listed(list, public(), CODE);
    }
    let plain = settings(&zone).to(sink.addr());
    let relay = Relay::start(&listed(plain.clone(), "one", "4.0")).await;
    health_is(&relay, "a", |health| health == "suspended").await;
    metrics_have(&relay, "remuda_dnsbl_listed{binding=\"a\",zone=\"one\"} 1", true).await;

    // A lighter weight, then no list at all, then another one.
    reload(&relay, &listed(plain.clone(), "one", "1.0"));
    health_is(&relay, "a", |health| health != "suspended").await;
    reload(&relay, &plain);
    metrics_have(&relay, "zone=\"one\"", false).await;
    reload(&relay, &listed(plain.clone(), "two", "4.0"));
    health_is(&relay, "a", |health| health == "suspended").await;

    // Another address has nothing to do with it, and a binding that is gone leaves no series.
    let moved = listed(settings(&zone), "two", "4.0").to(sink.addr());
    let moved = moved.text(&relay.state_dir()).replace("\"192.0.2.11\"", "\"192.0.2.99\"");
    hang_up(&relay, &moved);
    health_is(&relay, "a", |health| health != "suspended").await;
    metrics_have(&relay, "remuda_dnsbl_listed{binding=\"a\",zone=\"two\"} 0", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_records_are_asked_for_as_soon_as_the_policy_says_so() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.txt("acme.test", "v=spf1 ip4:192.0.2.11 -all");
    let off = settings(&zone).to(sink.addr()).set("tenant.acme", "match", "{ sender_domain = [\"acme.test\"] }");
    let relay = Relay::start(&off).await;
    let rows = async || serde_json::from_str::<Value>(&relay.get("/api/v1/spf").await).unwrap();
    assert!(array(&rows().await, "/domains").is_empty());
    reload(&relay, &off.clone().set("monitor", "spf", "\"require\""));
    let barred = |rows: &Value| rows.to_string().contains("not_covered");
    wait_until("b is barred", async || barred(&rows().await).then_some(())).await;
    reload(&relay, &off);
    wait_until("nobody is asked any more", async || array(&rows().await, "/domains").is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_neither_fetches_feeds_nor_tells_alerts_anew_and_a_bad_file_is_an_alert() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.mood("one.test", Mood::Dnsbl);
    zone.listed("one.test", public(), CODE);
    let (fetched, told) = (Arc::new(AtomicU32::new(0)), Arc::<Mutex<Vec<Value>>>::default());
    let listener = tokio::net::TcpListener::bind(anywhere()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (count, heard) = (Arc::clone(&fetched), Arc::clone(&told));
    let answer = move |request: Request| {
        let (count, heard) = (Arc::clone(&count), Arc::clone(&heard));
        async move {
            if request.uri().path() == "/feed" {
                count.fetch_add(1, Ordering::SeqCst);
                return "[]";
            }
            let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
            heard.lock().push(serde_json::from_slice(&body).unwrap());
            ""
        }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let settings = listed(settings(&zone), "one", "4.0")
        .to(sink.addr())
        .set("feed.f", "kind", "\"json\"")
        .set("feed.f", "url", &format!("\"{url}/feed\""))
        .set("feed.f", "scope", "{ address = \"/ip\" }")
        .set("feed.f.metric.score", "value", "\"/score\"")
        .set("alerts.webhook.hook", "url", &format!("\"{url}/hook\""));
    let relay = Relay::start(&settings).await;
    let said = |part: &str| told.lock().iter().filter(|told| told.to_string().contains(part)).count();
    wait_until("the suspension is told", async || (said("BindingSuspended") == 1).then_some(())).await;
    for n in 0..5 {
        reload(&relay, &settings.clone().set("queue", "retry_max", &format!("\"{}s\"", n + 3)));
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    assert_eq!((fetched.load(Ordering::SeqCst), said("BindingSuspended")), (1, 1));

    hang_up(&relay, "[server\n");
    wait_until("the bad file is told", async || (said("ConfigReloadFailed") == 1).then_some(())).await;
    health_is(&relay, "a", |health| health == "suspended").await;
    reload(&relay, &settings);
    let is_over =
        |told: &Value| told.to_string().contains("ConfigReloadFailed") && told.to_string().contains("resolved");
    wait_until("and its end", async || told.lock().iter().any(is_over).then_some(())).await;
    assert_eq!(said("BindingSuspended"), 1);
}
