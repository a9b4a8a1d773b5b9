//! Mail keeps to the bindings that its sender's SPF record covers, and is never stopped for want of one.

use remuda::demo::sink::Sink;
use remuda::demo::zone::{Mood, Zone};
use serde_json::Value;

use crate::support::{
    Relay, Settings, all_accepted, anywhere, array, local, named, sink, text, wait_for_messages, wait_until,
};

const DOMAIN: &str = "acme.test";
const OF_A: &str = "v=spf1 ip4:192.0.2.11 -all";
const OF_BOTH: &str = "v=spf1 ip4:192.0.2.8/29 -all";

/// Two bindings whose public addresses are 192.0.2.11 and .12, quick evaluations.
fn settings(sink: &Sink, zone: &Zone) -> Settings {
    Settings::new()
        .set("window", "adaptive", "false")
        .set("monitor", "servers", &format!("[\"{}\"]", zone.addr()))
        .set("monitor", "spf", "\"require\"")
        .set("monitor", "spf_interval", "\"400ms\"")
        .set("monitor", "timeout", "\"200ms\"")
        .set("monitor", "confirmations", "2")
        .set("monitor", "confirm_after", "\"100ms\"")
        .binding("a", 11, "public_address = \"192.0.2.11\"")
        .binding("b", 12, "public_address = \"192.0.2.12\"")
        .pool("active = [\"a\", \"b\"]")
        .to(sink.addr())
}

/// The configuration names the sender domain, so that it is known before the first mail.
fn named_domain(settings: Settings) -> Settings {
    settings.set("tenant.acme", "match", &format!("{{ client = [\"127.0.0.0/8\"], sender_domain = [\"{DOMAIN}\"] }}"))
}

async fn cover(relay: &Relay, domain: &str) -> Value {
    let answer: Value = serde_json::from_str(&relay.get(&format!("/api/v1/spf?domain={domain}")).await).unwrap();
    array(&answer, "/domains").first().cloned().unwrap_or_default()
}

async fn wait_for_states(relay: &Relay, domain: &str, a: &str, b: &str) -> Value {
    wait_until(&format!("a is {a} and b {b}"), async || {
        let cover = cover(relay, domain).await;
        let bindings = cover.pointer("/bindings")?.as_array()?;
        let states: Vec<&str> = bindings.iter().map(|binding| text(binding, "/state")).collect();
        (states == [a, b]).then_some(cover)
    })
    .await
}

async fn send(relay: &Relay, first: u64, count: u64, domain: &'static str) {
    all_accepted(&relay.load(count).first(first).reverse_path(move |n| format!("u{n}@{domain}")).run().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_leaves_only_from_covered_bindings_waits_for_them_and_goes_on_when_the_record_is_mended() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.txt(DOMAIN, OF_A);
    let relay = Relay::start(&named_domain(settings(&sink, &zone))).await;
    let known = wait_for_states(&relay, DOMAIN, "covered", "not_covered").await;
    assert_eq!((text(&known, "/record"), text(&known, "/bindings/1/result")), (OF_A, "fail"));
    assert_eq!(known["tenants"], serde_json::json!(["acme"]));

    send(&relay, 1, 20, DOMAIN).await;
    wait_for_messages(&sink, 20).await;
    assert_eq!((sink.source(local(11)).messages, sink.source(local(12)).messages), (20, 0));
    // A domain without a record may leave from anywhere, and evens out what the other could not.
    send(&relay, 100, 20, "plain.test").await;
    wait_for_messages(&sink, 40).await;
    assert!(sink.source(local(12)).messages > 0);
    let at_b = sink.source(local(12)).messages;

    // The covered binding is blocked: the mail does not go over to the other one.
    sink.block(local(11), "550 5.7.1 Service unavailable; client host blocked using our blocklist");
    send(&relay, 200, 5, DOMAIN).await;
    let entry = wait_until("an entry waits", async || {
        let queue = relay.queue().await;
        queue.iter().find(|entry| entry["reason"] == "spf_not_covered").cloned()
    })
    .await;
    let explained = relay.get(&format!("/api/v1/explain/{}", text(&entry, "/id"))).await;
    let explained: Value = serde_json::from_str(&explained).unwrap();
    assert_eq!(text(&explained, "/entries/0/bindings/1/verdict"), "spf_not_covered", "{explained:#}");
    assert_eq!(sink.source(local(12)).messages, at_b, "fail-over stays within the record");
    let metrics = relay.metrics().await;
    let series = "remuda_spf_domains{binding=\"b\",state=\"not_covered\",tenant=\"acme\"} 1";
    assert!(metrics.contains(series), "{metrics}");

    zone.remove(DOMAIN);
    zone.txt(DOMAIN, OF_BOTH);
    wait_for_messages(&sink, 45).await;
    assert_eq!(sink.source(local(12)).messages, at_b + 5);
    // Mail is let go first, then it is told.
    wait_until("both are told", async || {
        let events: Value = serde_json::from_str(&relay.get("/api/v1/events?kind=spf").await).unwrap();
        let what = |what: &str| array(&events, "/events").iter().any(|event| event["what"] == what);
        (what("spf_not_covered") && what("spf_not_barred_any_more")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_of_name_servers_changes_nothing_and_a_record_that_covers_nobody_stops_nothing() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.txt(DOMAIN, OF_A);
    let relay = Relay::start(&settings(&sink, &zone)).await;
    // Learnt from mail: the first may leave from anywhere.
    send(&relay, 1, 2, DOMAIN).await;
    wait_for_messages(&sink, 2).await;
    wait_for_states(&relay, DOMAIN, "covered", "not_covered").await;
    let at_b = sink.source(local(12)).messages;

    zone.mood(".", Mood::Silent);
    wait_until("an evaluation came to nothing", async || {
        let cover = cover(&relay, DOMAIN).await;
        (cover.pointer("/bindings/0/result")? == "temperror").then_some(())
    })
    .await;
    wait_for_states(&relay, DOMAIN, "covered", "not_covered").await;
    send(&relay, 10, 10, DOMAIN).await;
    wait_for_messages(&sink, 12).await;
    assert_eq!(sink.source(local(12)).messages, at_b, "what was proven stands");
    let status = relay.status().await;
    assert!(["a", "b"].iter().all(|name| named(&status, "/bindings", name)["health"] == "active"), "{status:#}");

    zone.mood(".", Mood::Records);
    zone.remove(DOMAIN);
    zone.txt(DOMAIN, "v=spf1 ip4:198.51.100.1 -all");
    // What DNS did not answer is asked again within the interval.
    wait_for_states(&relay, DOMAIN, "not_covered", "not_covered").await;
    send(&relay, 30, 10, DOMAIN).await;
    wait_for_messages(&sink, 22).await;
    assert!(sink.source(local(12)).messages > at_b, "it goes as if there were no record");
    let metrics = relay.metrics().await;
    assert!(metrics.contains("remuda_spf_uncovered_domains{pool=\"main\",tenant=\"acme\"} 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_only_wants_reports_is_told_and_not_kept_back() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.txt(DOMAIN, OF_A);
    let settings = named_domain(settings(&sink, &zone)).set("tenant.acme", "spf", "\"report\"");
    let relay = Relay::start(&settings).await;
    wait_for_states(&relay, DOMAIN, "covered", "not_covered").await;
    send(&relay, 1, 20, DOMAIN).await;
    wait_for_messages(&sink, 20).await;
    assert_eq!((sink.source(local(11)).messages, sink.source(local(12)).messages), (10, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_proven_holds_from_the_first_message_after_a_restart() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    zone.txt(DOMAIN, OF_A);
    let settings = settings(&sink, &zone);
    let mut relay = Relay::start(&settings).await;
    // Seen in mail only: the configuration does not name it.
    send(&relay, 1, 2, DOMAIN).await;
    wait_for_messages(&sink, 2).await;
    wait_for_states(&relay, DOMAIN, "covered", "not_covered").await;
    let at_b = sink.source(local(12)).messages;
    // The covered binding is blocked, and mail waits for it over the restart.
    sink.block(local(11), "550 5.7.1 Service unavailable; client host blocked using our blocklist");
    send(&relay, 10, 5, DOMAIN).await;
    wait_until("mail waits", async || {
        relay.queue().await.iter().any(|entry| entry["reason"] == "spf_not_covered").then_some(())
    })
    .await;
    assert!(relay.term().await.success());

    // Nobody answers, so that nothing can be proven anew.
    zone.mood(".", Mood::Silent);
    relay.restart(&settings).await;
    let cover = cover(&relay, DOMAIN).await;
    assert_eq!((text(&cover, "/bindings/0/state"), text(&cover, "/bindings/1/state")), ("covered", "not_covered"));
    send(&relay, 20, 5, DOMAIN).await;
    send(&relay, 100, 5, "plain.test").await;
    wait_for_messages(&sink, 7).await;
    // What was received is on its way out of the queue; what is left waits.
    let waits = async || {
        let queue = relay.queue().await;
        queue.iter().all(|entry| entry["reason"] == "spf_not_covered").then_some(queue.len())
    };
    assert_eq!(wait_until("only what SPF keeps is left", waits).await, 10);
    assert_eq!(sink.source(local(12)).messages, at_b + 5, "only mail of the domain without a record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_is_read_in_pages_and_wrong_questions_are_answered_in_words() {
    let (sink, zone) = (sink().await, Zone::start(anywhere()).await.unwrap());
    let domains = r#"["a.test", "b.test", "c.test"]"#;
    let matches = format!("{{ client = [\"127.0.0.0/8\"], sender_domain = {domains} }}");
    let relay = Relay::start(&settings(&sink, &zone).set("tenant.acme", "match", &matches)).await;
    let get = async |query: &str| -> Value {
        serde_json::from_str(&relay.get(&format!("/api/v1/spf?{query}")).await).unwrap()
    };
    let names = |page: &Value| -> Vec<String> {
        array(page, "/domains").iter().map(|row| text(row, "/domain").to_owned()).collect()
    };
    let first = get("limit=2").await;
    assert_eq!(
        (names(&first), &first["next"], &first["total"]),
        (vec!["a.test".into(), "b.test".into()], &"b.test".into(), &3.into())
    );
    let second = get("limit=2&after=b.test&tenant=acme").await;
    assert_eq!((names(&second), second.get("next")), (vec!["c.test".to_owned()], None));
    assert!(names(&get("tenant=other").await).is_empty() && names(&get("domain=nowhere.test").await).is_empty());
    assert_eq!(names(&get("domain=B.test.").await), ["b.test"]);
}
