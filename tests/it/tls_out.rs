//! TLS on the way out, as an operator sees it: configuration, attempt log, metrics, events.

use remuda::demo::sink::{Sink, SinkOptions};

use crate::support::tls::Authority;
use crate::support::{Relay, Settings, all_accepted, anywhere, sink, wait_for_messages, wait_until};

async fn sink_with(authority: &Authority, name: &str) -> Sink {
    let options = SinkOptions { tls: Some(authority.host(name)), keep_bodies: true, ..SinkOptions::default() };
    Sink::start_with(anywhere(), options).await.unwrap()
}

/// Everything to `sink`, with `tls` as the route says.
fn settings(sink: &Sink, tls: &str) -> Settings {
    let route = format!("[[destination_route]]\ndomain = \"*\"\nhosts = [\"{}\"]\n{tls}\n", sink.addr());
    Settings::new().binding("a", 11, "").pool("active = [\"a\"]").block(route)
}

fn counted(metrics: &str, result: &str) -> u64 {
    let start = format!("remuda_delivery_tls_total{{result=\"{result}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
    line.map_or(0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn what_is_offered_is_taken_and_told() {
    let sink = sink_with(&Authority::new(), "other.test").await;
    let relay = Relay::start(&settings(&sink, "")).await;
    all_accepted(&relay.load(30).run().await);
    wait_for_messages(&sink, 30).await;
    relay.wait_until_empty().await;
    assert!(sink.log().iter().all(|taken| taken.tls), "all of it under TLS");
    let metrics = relay.metrics().await;
    assert!(counted(&metrics, "encrypted") >= 1, "{metrics}");
    assert_eq!(counted(&metrics, "encrypted"), sink.connections(), "once for each connection");
    let log = relay.log();
    let attempts = log.lines().filter(|line| line.contains(" attempt: "));
    let line = "tls=TLSv1.3 TLS_AES_256_GCM_SHA384 X25519MLKEM768 encrypted";
    assert!(attempts.clone().count() == 30 && attempts.into_iter().all(|attempt| attempt.contains(line)), "{log}");
}

#[tokio::test]
async fn mail_that_must_be_safe_waits_for_a_certificate_that_is_told_and_goes_once_it_may() {
    let authority = Authority::new();
    let sink = sink_with(&authority, "mx.other.test").await;
    let verified = settings(&sink, "tls = \"verified\"").set("delivery", "tls_roots", &authority.roots());
    let mut relay = Relay::start(&verified).await;
    all_accepted(&relay.load(1).run().await);
    let event = wait_until("the event", async || {
        let events = relay.get("/api/v1/events").await;
        events.contains("tls_failed").then_some(events)
    });
    let events = event.await;
    assert!(events.contains("certificate-host-mismatch") && events.contains("mx.other.test"), "{events}");
    assert_eq!(sink.messages(), 0);
    let status = relay.status().await;
    assert_eq!(status["bindings"][0]["health"], "active", "{status:#}");
    let metrics = relay.metrics().await;
    assert!(counted(&metrics, "certificate-host-mismatch") >= 1, "{metrics}");
    // The operator gives in.
    relay.reload(&settings(&sink, "tls = \"required\"").set("delivery", "tls_roots", &authority.roots())).await;
    wait_for_messages(&sink, 1).await;
    relay.wait_until_empty().await;
    assert!(sink.log()[0].tls);
}

#[tokio::test]
async fn required_mail_for_a_host_without_tls_comes_back_and_says_why() {
    let plain = sink().await;
    let bounces = crate::support::keeping_sink().await;
    // The report to the sender goes elsewhere, as it may.
    let sender = format!("[[destination_route]]\ndomain = \"example.test\"\nhosts = [\"{}\"]\n", bounces.addr());
    let route = format!("[[destination_route]]\ndomain = \"*\"\nhosts = [\"{}\"]\ntls = \"required\"\n", plain.addr());
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").block(sender).block(route);
    let relay = Relay::start(&settings.set("queue", "lifetime", "\"1s\"")).await;
    all_accepted(&relay.load(1).run().await);
    wait_for_messages(&bounces, 1).await;
    assert_eq!(plain.messages(), 0);
    let report = String::from_utf8(bounces.log()[0].body.clone().unwrap().to_vec()).unwrap();
    assert!(report.contains("Status: 5.7.5") && report.contains("STARTTLS"), "{report}");
}
