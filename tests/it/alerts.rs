//! The relay tells people by itself: a webhook hears of a suspension and of its end, signed, once each, through failures
//! and a restart; and (`peers`) Debian's Alertmanager shows both.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use remuda::demo::sink::Sink;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::support::{
    Relay, Settings, all_accepted, anywhere, array, local, sink, text, wait_for_messages, wait_until,
};

const BLOCKED: &str = "550 5.7.1 Service unavailable; client host blocked using our blocklist";

/// One POST as it came.
#[derive(Clone, Debug)]
struct Post {
    headers: Vec<(String, String)>,
    body: String,
}

impl Post {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or_else(|| panic!("no {name} in {:?}", self.headers), |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// An HTTP server of few words: answers each POST with the next of its statuses, then with 200.
#[derive(Clone)]
struct Hook {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Hook {
    async fn start(statuses: &[&'static str]) -> Self {
        let listener = TcpListener::bind(anywhere()).await.unwrap();
        let hook = Self { address: listener.local_addr().unwrap(), posts: Arc::default() };
        let statuses: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(statuses.iter().copied().collect()));
        let posts = Arc::clone(&hook.posts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (posts, statuses) = (Arc::clone(&posts), Arc::clone(&statuses));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut headers = Vec::new();
                    loop {
                        let mut line = String::new();
                        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                            return;
                        }
                        let line = line.trim_end();
                        if line.is_empty() {
                            break;
                        }
                        headers.extend(line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned())));
                    }
                    let post = Post { headers, body: String::new() };
                    let mut body = vec![0; post.header("content-length").parse().unwrap()];
                    stream.read_exact(&mut body).await.unwrap();
                    posts.lock().unwrap().push(Post { body: String::from_utf8(body).unwrap(), ..post });
                    let status = statuses.lock().unwrap().pop_front().unwrap_or("200 OK");
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    let _ = stream.get_mut().write_all(answer.as_bytes()).await;
                });
            }
        });
        hook
    }

    fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }
}

/// One binding that a receiver blocks, another that it takes; probation soon, and quick looks.
fn settings(to: SocketAddr) -> Settings {
    Settings::new()
        .set("delivery", "max_outbound_connections", "2")
        .set("reputation", "suspend_first", "\"3s\"")
        .set("reputation", "dwell", "\"0s\"")
        .set("reputation", "probation_period", "\"200ms\"")
        .set("reputation", "probation_periods", "2")
        .set("reputation", "probation_start", "5")
        .set("alerts", "every", "\"100ms\"")
        .set("alerts", "clear_after", "\"300ms\"")
        .set("alerts", "resend", "\"1s\"")
        .set("alerts", "runbook", "\"https://wiki.example.org/remuda#\"")
        .set("alerts.rule.RouteSuspended", "for", "\"0s\"")
        .binding("a", 11, "")
        .binding("b", 12, "")
        .pool("active = [\"a\", \"b\"]")
        .provider("one", "one.test", to)
}

async fn load(relay: &Relay, sink: &Sink, first: u64, messages: u64) {
    let before = sink.messages();
    let load = relay.load(messages).first(first).recipients(|n| vec![format!("u{n}@one.test")]);
    all_accepted(&load.run().await);
    wait_for_messages(sink, before + messages).await;
}

/// `remuda alerts`, as somebody at a terminal.
fn alerts(relay: &Relay, more: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_remuda"))
        .args(["alerts", "--admin", &relay.admin().to_string()])
        .args(more)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_hears_of_a_suspension_and_of_its_end_once_each_through_failures() {
    let receiver = sink().await;
    receiver.block(local(11), BLOCKED);
    // The first try is answered 500, the second 429: the third is the same delivery.
    let hook = Hook::start(&["500 Oh", "429 Slow\r\nRetry-After: 1"]).await;
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "a secret of ours\n").unwrap();
    let settings = settings(receiver.addr())
        .set("alerts.webhook.chat", "url", &format!("\"http://{}/topsecret\"", hook.address))
        .set("alerts.webhook.chat", "secret_file", &format!("{:?}", secret.display().to_string()));
    let relay = Relay::start(&settings).await;
    assert_eq!(alerts(&relay, &[]).lines().next(), Some("nothing is wrong"));
    load(&relay, &receiver, 0, 60).await;
    wait_until("the suspension is taken", async || (hook.posts().len() >= 3).then_some(())).await;

    let seen = alerts(&relay, &[]);
    assert!(seen.contains("RouteSuspended") && seen.contains("binding a is suspended at one: ip_blocked"), "{seen}");
    let json: Value = serde_json::from_str(&alerts(&relay, &["--json"])).unwrap();
    assert_eq!(json["targets"][0]["name"], "chat");
    let metrics = relay.metrics().await;
    for line in [
        "remuda_alerts_firing{alertname=\"RouteSuspended\",severity=\"warning\"} 1",
        "remuda_alerts_firing{alertname=\"NoDeliveries\",severity=\"critical\"} 0",
        "remuda_alert_pushes_total{outcome=\"failed\",target=\"chat\"} 1",
        "remuda_alert_pushes_total{outcome=\"throttled\",target=\"chat\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }

    receiver.unblock(local(11));
    let posts = wait_until("its end is told", async || {
        load(&relay, &receiver, 1_000 + receiver.messages(), 20).await;
        let posts = hook.posts();
        (posts.last()?.json()["event"] == "resolved").then_some(posts)
    })
    .await;
    assert_eq!(posts.len(), 4, "each change once: {posts:#?}");
    let ids: Vec<&str> = posts.iter().map(|post| post.header("remuda-delivery")).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
    let (begin, end) = (posts[2].json(), posts[3].json());
    assert_eq!((text(&begin, "/event"), text(&begin, "/alert/name")), ("firing", "RouteSuspended"));
    assert_eq!(begin["alert"]["labels"], serde_json::json!({ "binding": "a", "destination": "one" }));
    assert_eq!(begin["alert"]["fired_at"], end["alert"]["fired_at"]);
    assert!(text(&begin, "/alert/description").contains("5.7.1"), "{begin:#}");
    assert_eq!(text(&begin, "/alert/runbook_url"), "https://wiki.example.org/remuda#routesuspended");
    assert!(!relay.log().contains("topsecret"), "a URL may hold a key");
    assert!(!alerts(&relay, &["--json"]).contains("topsecret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_tells_nothing_twice_and_what_was_over_meanwhile_ends() {
    let receiver = sink().await;
    receiver.block(local(11), BLOCKED);
    let hook = Hook::start(&[]).await;
    let url = format!("\"http://{}/\"", hook.address);
    let settings = settings(receiver.addr()).set("alerts.webhook.chat", "url", &url);
    let long = settings.clone().set("reputation", "suspend_first", "\"6s\"");
    let mut relay = Relay::start(&long).await;
    load(&relay, &receiver, 0, 60).await;
    wait_until("the suspension is told", async || (!hook.posts().is_empty()).then_some(())).await;
    // That it was told is written at the next look.
    wait_until("and known to be told", async || {
        let seen: Value = serde_json::from_str(&relay.get("/api/v1/alerts").await).unwrap();
        (array(&seen, "/alerts").iter().any(|alert| alert["told"] == serde_json::json!(["chat"]))).then_some(())
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    relay.restart(&long).await;
    wait_until("it fires again", async || alerts(&relay, &[]).contains("firing").then_some(())).await;
    assert_eq!(hook.posts().len(), 1, "told before: {:#?}", hook.posts());
    receiver.unblock(local(11));
    wait_until("its end is told", async || {
        load(&relay, &receiver, 1_000 + receiver.messages(), 20).await;
        (hook.posts().last()?.json()["event"] == "resolved").then_some(())
    })
    .await;
    assert_eq!(hook.posts().len(), 2, "{:#?}", hook.posts());
}

mod peers {
    use super::*;

    /// Debian's Alertmanager on a port of its own; dropping it kills it.
    struct Alertmanager {
        child: std::process::Child,
        address: SocketAddr,
        _directory: tempfile::TempDir,
    }

    impl Drop for Alertmanager {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    impl Alertmanager {
        async fn start() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let config = directory.path().join("alertmanager.yml");
            std::fs::write(&config, "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n").unwrap();
            // It says in no file which port it took: one is found for it.
            let address = TcpListener::bind((local(9), 0)).await.unwrap().local_addr().unwrap();
            let child = Command::new("prometheus-alertmanager")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.path={}", directory.path().join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .arg("--cluster.listen-address=")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let manager = Self { child, address, _directory: directory };
            wait_until("Alertmanager is ready", async || manager.ask("/-/ready").await).await;
            manager
        }

        async fn ask(&self, path: &str) -> Option<String> {
            let mut stream = tokio::net::TcpStream::connect(self.address).await.ok()?;
            let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            let (head, body) = answer.split_once("\r\n\r\n")?;
            head.contains(" 200 ").then(|| body.to_owned())
        }

        /// What it takes for firing now, by `alertname`.
        async fn firing(&self, name: &str) -> Vec<Value> {
            let body = self.ask("/api/v2/alerts").await.unwrap_or_else(|| "[]".into());
            let alerts: Vec<Value> = serde_json::from_str(&body).unwrap();
            alerts.into_iter().filter(|alert| alert["labels"]["alertname"] == name).collect()
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Alertmanager; tests/run installs it and runs this"]
    async fn alertmanager_shows_a_suspension_and_its_end_and_forgets_a_dead_relay() {
        let receiver = sink().await;
        receiver.block(local(11), BLOCKED);
        let manager = Alertmanager::start().await;
        let url = format!("\"http://{}\"", manager.address);
        let settings = settings(receiver.addr()).set("alerts.alertmanager.near", "url", &url);
        let mut relay = Relay::start(&settings).await;
        load(&relay, &receiver, 0, 60).await;
        let firing = wait_until("the route's suspension fires there", async || {
            let firing = manager.firing("RouteSuspended").await;
            (!firing.is_empty()).then_some(firing)
        })
        .await;
        assert_eq!(firing.len(), 1, "{firing:#?}");
        let labels = serde_json::json!({ "alertname": "RouteSuspended", "severity": "warning", "binding": "a",
            "destination": "one", "instance": "relay.test" });
        assert_eq!(firing[0]["labels"], labels);
        assert_eq!(firing[0]["status"]["state"], "active");
        assert!(text(&firing[0], "/annotations/description").contains("5.7.1"), "{firing:#?}");

        receiver.unblock(local(11));
        wait_until("it is over there", async || {
            load(&relay, &receiver, 1_000 + receiver.messages(), 20).await;
            manager.firing("RouteSuspended").await.is_empty().then_some(())
        })
        .await;
        let metrics = relay.metrics().await;
        assert!(!metrics.contains("outcome=\"refused\",target=\"near\""), "{metrics}");

        // Blocked again, and killed while it fires: three times `resend` later nobody is woken up by a dead relay.
        receiver.block(local(11), BLOCKED);
        wait_until("it fires again", async || {
            load(&relay, &receiver, 1_000 + receiver.messages(), 20).await;
            (!manager.firing("RouteSuspended").await.is_empty()).then_some(())
        })
        .await;
        relay.kill9();
        let killed = std::time::Instant::now();
        wait_until("it ends by itself", async || manager.firing("RouteSuspended").await.is_empty().then_some(())).await;
        assert!(killed.elapsed().as_secs() < 5, "{:?}", killed.elapsed());
    }

    /// The example of the documentation, run as it stands there.
    const VERIFY: &str = r#"
import hashlib, hmac, sys, time

def is_genuine(secret: bytes, header: str, body: bytes, now: float, tolerance: float = 300) -> bool:
    parts = dict(part.split("=", 1) for part in header.split(","))
    expected = hmac.new(secret, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts["v1"]) and abs(now - int(parts["t"])) <= tolerance

secret, header = sys.argv[1].encode(), sys.argv[2]
body = sys.stdin.buffer.read()
print(is_genuine(secret, header, body, time.time()), is_genuine(secret, header, body + b" ", time.time()),
      is_genuine(b"another", header, body, time.time()), is_genuine(secret, header, body, time.time() + 1000))
"#;

    fn verified(secret: &str, post: &Post) -> String {
        use std::io::Write;
        let mut python = Command::new("python3")
            .args(["-c", VERIFY, secret, post.header("remuda-signature")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        python.stdin.take().unwrap().write_all(post.body.as_bytes()).unwrap();
        String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs python3; tests/run installs it and runs this"]
    async fn python_believes_the_signature_and_no_other() {
        let receiver = sink().await;
        receiver.block(local(11), BLOCKED);
        let hook = Hook::start(&[]).await;
        let directory = tempfile::tempdir().unwrap();
        let secret: &Path = &directory.path().join("secret");
        std::fs::write(secret, "a secret of ours\n").unwrap();
        let settings = settings(receiver.addr())
            .set("alerts.webhook.chat", "url", &format!("\"http://{}/\"", hook.address))
            .set("alerts.webhook.chat", "secret_file", &format!("{:?}", secret.display().to_string()));
        let relay = Relay::start(&settings).await;
        load(&relay, &receiver, 0, 60).await;
        let post = wait_until("it is told", async || hook.posts().first().cloned()).await;
        assert_eq!(verified("a secret of ours", &post), "True False False False");
    }
}
