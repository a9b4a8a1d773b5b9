//! A listing takes its binding out within a round and lets it back gently; a list that is dead or lies takes nobody.

use std::net::{IpAddr, Ipv4Addr};

use hickory_resolver::proto::op::ResponseCode;
use remuda::demo::sink::Sink;
use remuda::demo::zone::{Mood, Zone};
use serde_json::Value;

use crate::support::{
    Relay, Settings, all_accepted, anywhere, array, local, named, sink, wait_for_messages, wait_until,
};

const CODE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Two bindings whose public addresses are 192.0.2.11 and .12, quick rounds, quick recovery.
fn watched(sink: &Sink) -> Settings {
    Settings::new()
        .set("monitor", "interval", "\"400ms\"")
        .set("window", "adaptive", "false")
        .set("monitor", "jitter", "0.0")
        .set("monitor", "timeout", "\"200ms\"")
        .set("monitor", "confirmations", "2")
        .set("monitor", "confirm_after", "\"50ms\"")
        .set("reputation", "dwell", "\"0s\"")
        .set("reputation", "suspend_first", "\"500ms\"")
        .set("reputation", "probation_period", "\"500ms\"")
        .set("reputation", "probation_periods", "2")
        .set("reputation", "probation_start", "5")
        .binding("a", 11, "public_address = \"192.0.2.11\"")
        .binding("b", 12, "public_address = \"192.0.2.12\"")
        .pool("active = [\"a\", \"b\"]")
        .to(sink.addr())
}

fn zone_at(settings: Settings, name: &str, domain: &str, server: std::net::SocketAddr) -> Settings {
    let table = format!("monitor.zone.{name}");
    settings
        .set(&table, "zone", &format!("\"{domain}\""))
        .set(&table, "servers", &format!("[\"{server}\"]"))
        .set(&table, "weight", "4.0")
}

fn public() -> IpAddr {
    IpAddr::from([192, 0, 2, 11])
}

async fn binding_is(relay: &Relay, name: &str, health: &str) -> Value {
    wait_until(&format!("{name} is {health}"), async || {
        let status = relay.status().await;
        let binding = named(&status, "/bindings", name);
        (binding["health"] == health).then(|| binding.clone())
    })
    .await
}

/// The scenario for any list: `list` and `delist` make it list 192.0.2.11 or not.
async fn out_and_back(relay: &Relay, sink: &Sink, list: impl AsyncFn(), delist: impl AsyncFn()) {
    all_accepted(&relay.load(20).run().await);
    wait_for_messages(sink, 20).await;
    assert_eq!(sink.source(local(11)).messages, 10);

    list().await;
    let binding = binding_is(relay, "a", "suspended").await;
    assert_eq!(binding["reason"], "listed", "{binding:#}");
    assert!(binding["evidence"].as_str().is_some_and(|e| e.contains("bl")), "{binding:#}");
    let before = sink.source(local(11)).messages;
    all_accepted(&relay.load(50).first(100).run().await);
    wait_for_messages(sink, 70).await;
    assert_eq!(sink.source(local(11)).messages, before, "a listed binding carries nothing");

    delist().await;
    binding_is(relay, "a", "probation").await;
    // A period of probation counts only when it carried something.
    let mut sent = 200;
    wait_until("a is active", async || {
        all_accepted(&relay.load(10).first(sent).run().await);
        sent += 10;
        let status = relay.status().await;
        (named(&status, "/bindings", "a")["health"] == "active").then_some(())
    })
    .await;
    assert!(sink.source(local(11)).messages > before, "it carries again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_binding_is_out_until_delisted_and_comes_back_through_probation() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.mood("bl.test", Mood::Dnsbl);
    let relay = Relay::start(&zone_at(watched(&sink), "bl", "bl.test", zone.addr())).await;
    let list = async || zone.listed("bl.test", public(), CODE);
    let delist = async || zone.delisted("bl.test", public());
    out_and_back(&relay, &sink, list, delist).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_refuse_lie_or_stay_silent_suspend_nobody() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    let moods = [
        ("refusing", Mood::refusing()),
        ("all", Mood::lists_everything()),
        ("silent", Mood::Silent),
        ("broken", Mood::Code(ResponseCode::ServFail)),
    ];
    let mut settings = watched(&sink);
    for (name, mood) in &moods {
        zone.mood(&format!("{name}.test"), mood.clone());
        settings = zone_at(settings, name, &format!("{name}.test"), zone.addr());
    }
    let relay = Relay::start(&settings).await;
    for (name, _) in &moods {
        let what = format!("{name} was asked in several rounds");
        wait_until(&what, async || (zone.queries_below(&format!("{name}.test")) >= 6).then_some(())).await;
    }
    all_accepted(&relay.load(20).run().await);
    wait_for_messages(&sink, 20).await;
    let status = relay.status().await;
    for binding in array(&status, "/bindings") {
        assert_eq!(binding["health"], "active", "{binding:#}");
    }
    for (name, _) in &moods {
        let zone = named(&status, "/zones", name);
        assert!(array(zone, "/listed").is_empty(), "{zone:#}");
        assert_ne!(zone["health"], "healthy", "{zone:#}");
    }
    assert_eq!(sink.source(local(11)).messages, 10);
}

/// Fifty bindings at 127.0.0.101 to .150, known outside as 192.0.2.1 to .50.
fn fleet(sink: &Sink) -> Settings {
    let names: Vec<String> = (1..=50).map(|n| format!("\"m{n}\"")).collect();
    let herd = (1..=50u8).fold(Settings::new(), |settings, n| {
        settings.binding(&format!("m{n}"), 100 + n, &format!("public_address = \"192.0.2.{n}\""))
    });
    herd.set("monitor", "interval", "\"300ms\"")
        .set("monitor", "jitter", "0.0")
        .set("monitor", "timeout", "\"2s\"")
        .set("monitor", "confirm_after", "\"50ms\"")
        .set("reputation", "pool_guard", "1.0")
        .pool(&format!("active = [{}]", names.join(", ")))
        .to(sink.addr())
}

async fn zone_is(relay: &Relay, health: &str) {
    wait_until(&format!("the zone is {health}"), async || {
        (array(&relay.status().await, "/zones")[0]["health"] == health).then_some(())
    })
    .await;
}

async fn listing_events(relay: &Relay) -> Vec<Value> {
    let events: Value = serde_json::from_str(&relay.get("/api/v1/events?kind=listing&limit=10000").await).unwrap();
    array(&events, "/events").to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_fleet_a_dying_list_takes_nobody_and_a_listed_network_just_its_own() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.mood("bl.test", Mood::Dnsbl);
    let settings = zone_at(fleet(&sink), "bl", "bl.test", zone.addr()).set(
        "monitor.zone.bl",
        "delisting",
        "\"https://bl.example.org/removal\"",
    );
    let relay = Relay::start(&settings).await;
    zone_is(&relay, "healthy").await;

    zone.mood("bl.test", Mood::lists_everything());
    zone_is(&relay, "dead").await;
    let (asked, next) = (zone.queries(), 15);
    wait_until("five more rounds", async || (zone.queries() > asked + next).then_some(())).await;
    let status = relay.status().await;
    let suspended = array(&status, "/bindings").iter().filter(|b| b["health"] != "active").count();
    assert_eq!(suspended, 0, "{status:#}");
    let events = listing_events(&relay).await;
    let deaths = events.iter().filter(|event| event["to"] == "dead").count();
    assert_eq!((deaths, events.iter().filter(|e| e["what"] == "listed").count()), (1, 0), "{events:#?}");

    zone.mood("bl.test", Mood::Dnsbl);
    zone_is(&relay, "healthy").await;
    for n in 16..32 {
        zone.listed("bl.test", [192, 0, 2, n].into(), CODE);
    }
    wait_until("the sixteen are out", async || {
        let status = relay.status().await;
        let out = array(&status, "/bindings").iter().filter(|b| b["health"] == "suspended").count();
        (out == 16).then_some(())
    })
    .await;
    let status = relay.status().await;
    for n in 1..=50 {
        let expected = if (16..32).contains(&n) { "suspended" } else { "active" };
        assert_eq!(named(&status, "/bindings", &format!("m{n}"))["health"], expected, "m{n}");
    }
    let events = listing_events(&relay).await;
    let of = |what: &str| events.iter().filter(|event| event["what"] == what).count();
    assert_eq!((of("networks"), of("listed")), (1, 16), "{events:#?}");
    let report: Value = serde_json::from_str(&relay.get("/api/v1/monitor").await).unwrap();
    // The state shows networks while they are new, for a round: the event says which they were.
    let networks = events.iter().find(|event| event["what"] == "networks").unwrap();
    assert_eq!(networks["networks"], "192.0.2.16/28", "{networks:#}");
    let listed = array(&report, "/listings").iter().filter(|l| l["state"] == 1 && l["confirmed_at"].is_string());
    assert_eq!((listed.count(), &report["zones"][0]["delisting"]), (16, &"https://bl.example.org/removal".into()));
    let metrics = relay.metrics().await;
    for series in [
        "remuda_dnsbl_listed{binding=\"m16\",zone=\"bl\"} 1",
        "remuda_dnsbl_listed{binding=\"m15\",zone=\"bl\"} 0",
        "remuda_dnsbl_listing_weight{binding=\"m16\",zone=\"bl\"} 4\n",
        "remuda_dnsbl_probe_ok{probe=\"positive\",zone=\"bl\"} 1",
        "remuda_dnsbl_queries_total{outcome=\"listed\",zone=\"bl\"} ",
        "remuda_dnsbl_zone_since_timestamp_seconds{zone=\"bl\"} ",
        "remuda_dnsbl_listed_since_timestamp_seconds{binding=\"m16\",zone=\"bl\"} ",
    ] {
        assert!(metrics.contains(series), "{series} in\n{metrics}");
    }
    let weights = metrics.lines().filter(|line| line.starts_with("remuda_dnsbl_listing_weight{"));
    assert_eq!(weights.count(), 16, "what is not listed has no weight");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_domains_of_a_tenant_are_counted_and_weigh_what_the_heaviest_weighs() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.mood("uri.test", Mood::Dnsbl);
    zone.listed_domain("uri.test", "bolt.test", CODE);
    zone.listed_domain("uri.test", "bolt-news.test", Ipv4Addr::new(127, 0, 0, 3));
    let settings = zone_at(watched(&sink), "uri", "uri.test", zone.addr())
        .set("monitor.zone.uri", "kind", "\"domain\"")
        .set("monitor.zone.uri", "interval", "\"400ms\"")
        .set(
            "monitor.zone.uri",
            "codes",
            "[{ octets = \"127.0.0.2\", weight = 1 }, { octets = \"127.0.0.3\", weight = 2.5 }]",
        )
        .set("tenant.bolt", "match", "{ sender_domain = [\"bolt.test\", \"bolt-news.test\"] }")
        .set("tenant.bolt", "pools", "{ default = \"main\" }");
    let relay = Relay::start(&settings).await;
    let says = async |count: &str, weight: Option<&str>| {
        wait_until(&format!("{count} listed, weight {weight:?}"), async || {
            let metrics = relay.metrics().await;
            let of = |metric: &str| {
                let line = format!("remuda_dnsbl_domain_{metric}{{name=\"bolt\",of=\"tenant\",zone=\"uri\"}} ");
                metrics.lines().find_map(|said| said.strip_prefix(&line)).map(str::to_owned)
            };
            (of("listed").as_deref() == Some(count) && of("listing_weight").as_deref() == weight).then_some(())
        })
        .await;
    };
    says("2", Some("2.5")).await;
    zone.remove("bolt-news.test.uri.test");
    says("1", Some("1")).await;
    zone.remove("bolt.test.uri.test");
    says("0", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_a_list_is_seen_by_the_list_alone() {
    const KEY: &str = "q7topsecretkey";
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    let domain = format!("{KEY}.dq.test");
    zone.mood(&domain, Mood::Dnsbl);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, format!("{}\n", KEY.to_uppercase())).unwrap();
    let settings = zone_at(watched(&sink), "bl", "{key}.dq.test", zone.addr())
        .set("monitor.zone.bl", "key_file", &format!("{:?}", file.display().to_string()))
        .set("monitor.zone.bl", "queries_per_day", "100000000")
        .set("log", "filter", "\"debug\"");
    let relay = Relay::start(&settings).await;
    zone_is(&relay, "healthy").await;
    zone.listed(&domain, public(), CODE);
    zone.txt(&format!("11.2.0.192.{domain}"), &format!("see https://bl.example.org/?q=11.2.0.192.{domain}"));
    binding_is(&relay, "a", "suspended").await;
    zone.mood(&domain, Mood::Code(ResponseCode::ServFail));
    zone_is(&relay, "unreachable").await;
    let report = relay.get("/api/v1/monitor").await;
    assert!(report.contains("is the key active?") && report.contains("see https://bl.example.org/?q="), "{report}");
    let mut said = vec![report, relay.metrics().await, relay.log()];
    for path in ["status", "events", "queue", "unmatched", "explain"] {
        said.push(relay.ask(&format!("/api/v1/{path}")).await.1);
    }
    for text in said {
        assert!(!text.to_lowercase().contains(KEY), "{text}");
    }
    assert!(zone.queries_below(&domain) > 10, "it was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_names_the_list_and_one_answer_take_the_binding_out_long_before_the_next_round() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.mood("bl.test", Mood::Dnsbl);
    let settings = zone_at(watched(&sink), "bl", "bl.test", zone.addr()).set("monitor", "interval", "\"1h\"").set(
        "monitor",
        "confirm_after",
        "\"30m\"",
    );
    let relay = Relay::start(&settings).await;
    zone_is(&relay, "healthy").await;
    zone.listed("bl.test", public(), CODE);
    sink.block(local(11), "554 5.7.1 Service unavailable; Client host [192.0.2.11] blocked using bl.test");
    all_accepted(&relay.load(4).run().await);
    let binding = binding_is(&relay, "a", "suspended").await;
    assert!(
        binding["reason"] == "listed" || binding["evidence"].as_str().is_some_and(|e| e.contains("bl")),
        "{binding:#}"
    );
    let report: Value = serde_json::from_str(&relay.get("/api/v1/monitor").await).unwrap();
    let a = array(&report, "/listings").iter().find(|l| l["binding"] == "a").unwrap();
    assert_eq!(a["state"], 1, "{report:#}");
}

mod peers {
    use std::fs;
    use std::net::UdpSocket;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    use super::*;

    struct Rbldnsd(Child);

    impl Drop for Rbldnsd {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn write_zone(path: &Path, listed: &[&str]) {
        let mut text = String::from(
            "$SOA 1 ns.bl.test hostmaster.bl.test 0 1 1 1 1\n$TTL 1\n:127.0.0.2:listed for a test\n127.0.0.2\n",
        );
        for address in listed {
            text.push_str(address);
            text.push('\n');
        }
        // Renamed into place: rbldnsd must never read half a file.
        let fresh = path.with_extension("fresh");
        fs::write(&fresh, text).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(&fresh, path).unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs rbldnsd; tests/run installs it"]
    async fn rbldnsd_lists_and_delists() {
        let directory = tempfile::tempdir().unwrap();
        // It gives up root and must still read its zone.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let file = directory.path().join("bl.zone");
        write_zone(&file, &[]);
        // It cannot be asked for a port of the system's choice; one that was free just now is the next best.
        let address = UdpSocket::bind(anywhere()).unwrap().local_addr().unwrap();
        let bind = format!("{}/{}", address.ip(), address.port());
        let child = Command::new("rbldnsd")
            .args(["-n", "-4", "-q", "-c", "1", "-b", &bind, "-w"])
            .arg(directory.path())
            .arg("bl.test:ip4set:bl.zone")
            .stdin(Stdio::null())
            .spawn()
            .expect("rbldnsd");
        let mut server = Rbldnsd(child);
        wait_for_answers(address, &mut server).await;

        let sink = sink().await;
        let relay = Relay::start(&zone_at(watched(&sink), "bl", "bl.test", address)).await;
        let list = async || write_zone(&file, &["192.0.2.11"]);
        let delist = async || write_zone(&file, &[]);
        out_and_back(&relay, &sink, list, delist).await;
    }

    /// Asks for the test point until there is an answer.
    async fn wait_for_answers(server: std::net::SocketAddr, process: &mut Rbldnsd) {
        use hickory_resolver::proto::op::{Message, Query};
        use hickory_resolver::proto::rr::{Name, RecordType};

        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii("2.0.0.127.bl.test.").unwrap(), RecordType::A));
        let question = question.to_vec().unwrap();
        wait_until("rbldnsd answers", async || {
            assert!(process.0.try_wait().unwrap().is_none(), "rbldnsd left");
            let socket = tokio::net::UdpSocket::bind(anywhere()).await.unwrap();
            socket.send_to(&question, server).await.ok()?;
            let mut answer = [0; 512];
            let wait = std::time::Duration::from_millis(100);
            let length = tokio::time::timeout(wait, socket.recv(&mut answer)).await.ok()?.ok()?;
            let answer = Message::from_vec(&answer[..length]).ok()?;
            (!answer.answers.is_empty()).then_some(())
        })
        .await;
    }
}
