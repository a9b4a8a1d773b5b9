//! What a feed reports throttles the right binding at the right receiver, for as long as it is fresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::http::{StatusCode, Uri};
use serde_json::{Value, json};

use crate::support::{Relay, Settings, all_accepted, anywhere, array, named, sink, wait_for_messages, wait_until};

const SECRETS: [&str; 3] = ["topsecret-first", "topsecret-next", "topsecret-access"];

/// A server in the shape of SNDS: one day on which 192.0.2.11 was red and .12 green; nothing abnormal now.
async fn snds(fetched: Arc<AtomicU32>) -> String {
    let answer = move |uri: Uri| {
        let fetched = Arc::clone(&fetched);
        async move {
            let path = uri.path();
            if path == "/token" {
                let token = json!({ "access_token": SECRETS[2], "refresh_token": SECRETS[1], "expires_in": 3600 });
                return (StatusCode::OK, token.to_string());
            }
            if path == "/api/report/status/ip" {
                return (StatusCode::OK, "[]".to_owned());
            }
            // One report, and then never another.
            if !path.starts_with("/api/report/data/") || fetched.fetch_add(1, Ordering::SeqCst) > 0 {
                return (StatusCode::NOT_FOUND, String::new());
            }
            let row = |ip: &str, filter: &str| {
                let (begins, ends) = ("2026-01-01T00:00:00Z", jiff::Timestamp::now().to_string());
                json!({ "ipAddress": ip, "activityStart": begins, "activityEnd": ends, "filterResult": filter,
                    "complaintRate": "< 0.1%", "trapHits": 0 })
            };
            (StatusCode::OK, json!([row("192.0.2.11", "RED"), row("192.0.2.12", "GREEN")]).to_string())
        }
    };
    let listener = tokio::net::TcpListener::bind(anywhere()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    url
}

async fn feed(relay: &Relay) -> Value {
    let list: Value = serde_json::from_str(&relay.get("/api/v1/feeds").await).unwrap();
    array(&list, "/feeds")[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_red_address_is_throttled_at_microsoft_until_the_report_has_aged() {
    let secrets = tempfile::tempdir().unwrap();
    let token = secrets.path().join("token");
    std::fs::write(&token, SECRETS[0]).unwrap();
    let (sink, other) = (sink().await, sink().await);
    let url = snds(Arc::default()).await;
    let settings = Settings::new()
        .set("reputation", "dwell", "\"0s\"")
        .set("window", "adaptive", "false")
        .set("feed.snds", "kind", "\"snds\"")
        .set("feed.snds", "url", &format!("{url:?}"))
        .set("feed.snds", "token_url", &format!("{:?}", format!("{url}/token")))
        .set("feed.snds", "client_id", "\"c\"")
        .set("feed.snds", "token_file", &format!("{:?}", token.display().to_string()))
        .set("feed.snds", "provider", "\"microsoft\"")
        .set("feed.snds", "interval", "\"200ms\"")
        .set("feed.snds", "half_life", "\"3s\"")
        .set("feed.snds", "credential_expires", "2027-06-01")
        .binding("a", 11, "public_address = \"192.0.2.11\"")
        .binding("b", 12, "public_address = \"192.0.2.12\"")
        .pool("active = [\"a\", \"b\"]")
        .provider("microsoft", "outlook.test", sink.addr())
        .to(other.addr());
    let relay = Relay::start(&settings).await;
    let routes = async |name: &str| array(named(&relay.status().await, "/bindings", name), "/routes").to_vec();
    let route = wait_until("a is throttled at microsoft", async || {
        routes("a").await.into_iter().find(|route| route["health"] == "throttled")
    })
    .await;
    assert_eq!((&route["destination"], &route["reason"]), (&json!("microsoft"), &json!("reported")), "{route:#}");
    assert!(
        route["evidence"].as_str().is_some_and(|text| text.contains("filter_result 2 for 192.0.2.11")),
        "{route:#}"
    );
    let status = relay.status().await;
    for binding in array(&status, "/bindings") {
        assert_eq!(binding["health"], "active", "a feed takes no binding out: {binding:#}");
    }
    assert!(routes("b").await.iter().all(|route| route["health"] == "active"));
    let said = feed(&relay).await;
    assert_eq!((&said["up"], &said["states"]), (&json!(true), &json!({ "a": 2, "b": 0 })), "{said:#}");
    let metrics = relay.metrics().await;
    for line in [
        "remuda_feed_up{feed=\"snds\"} 1",
        "remuda_feed_state{binding=\"a\",feed=\"snds\"} 2",
        "remuda_feed_value{binding=\"b\",domain=\"\",feed=\"snds\",metric=\"filter_result\"} 0",
        "remuda_feed_credential_expiry_timestamp_seconds{feed=\"snds\"} 1811808000",
        "remuda_feed_credentials_refused{feed=\"snds\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }

    // It ends by itself, without a word from anybody; mail goes on all the time.
    all_accepted(&relay.load(20).run().await);
    wait_for_messages(&other, 20).await;
    wait_until("a is active at microsoft", async || {
        routes("a").await.iter().all(|route| route["health"] == "active").then_some(())
    })
    .await;
    let events = relay.get("/api/v1/events?kind=feed").await;
    assert!(events.contains("filter_result") && events.contains("192.0.2.11"), "{events}");
    let shown = [relay.log(), relay.metrics().await, events, feed(&relay).await.to_string()].concat();
    assert!(SECRETS.iter().all(|secret| !shown.contains(secret)), "{shown}");
    let kept = std::fs::read_to_string(relay.state_dir().join("feeds/snds.token")).unwrap();
    assert!(kept.contains(SECRETS[1]), "the token that follows is kept");
}
