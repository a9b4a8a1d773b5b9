//! Mail over HTTP: who may, what becomes of it, and that a request sent twice is one message.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use remuda::admin::auth::token::Digest;
use remuda::demo::sink::{Rule, Sink};
use remuda::outcome::Stage;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    Authority, PATIENCE, Relay, Settings, keeping_sink, local, number, quoted, sink, text, wait_for_messages,
    wait_until,
};

const ACME: &str = "acme-secret";
const GLOBEX: &str = "globex-secret";

fn token(settings: Settings, name: &str, tenant: &str, secret: &str) -> Settings {
    let table = format!("injection.token.{name}");
    let hash = Digest::of(secret).written();
    settings.set(&table, "tenant", &format!("{tenant:?}")).set(&table, "hash", &format!("{hash:?}"))
}

/// Pools of one binding each for two tenants, a token for each.
fn settings() -> Settings {
    let settings = Settings::new()
        .set("injection", "address", "\"127.0.0.1:0\"")
        .binding("a", 11, "")
        .binding("b", 12, "")
        .pool("active = [\"a\"]")
        .block("[pool.other]\nactive = [\"b\"]\n".into())
        .set("tenant.acme", "pools", "{ default = \"main\", news = \"other\" }")
        .set("tenant.globex", "pools", "{ default = \"other\" }");
    token(token(settings, "shop", "acme", ACME), "site", "globex", GLOBEX)
}

pub(crate) fn injection(relay: &Relay) -> SocketAddr {
    let ports: Value = serde_json::from_slice(&std::fs::read(relay.state_dir().join("ports.json")).unwrap()).unwrap();
    text(&ports, "/injection").parse().unwrap()
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    /// Status, field and words of a problem.
    fn problem(&self) -> (u16, String, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{:#}", self.body);
        assert_eq!(number(&self.body, "/status"), u64::from(self.status));
        let field = self.body["field"].as_str().unwrap_or_default().to_owned();
        (self.status, field, text(&self.body, "/detail").to_owned())
    }
}

fn request(relay: &Relay, query: &str) -> RequestBuilder {
    let client = Client::builder().no_proxy().build().unwrap();
    client.post(format!("http://{}/api/v1/messages{query}", injection(relay)))
}

async fn answer(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

async fn whole(relay: &Relay, token: &str, query: &str, message: &str) -> Answer {
    let request = request(relay, query).bearer_auth(token).header("content-type", "message/rfc822");
    answer(request.body(message.to_owned())).await
}

fn described(relay: &Relay, token: &str, message: &Value) -> RequestBuilder {
    request(relay, "").bearer_auth(token).json(message)
}

fn small() -> Value {
    json!({ "from": "Ann <ann@acme.test>", "to": "b@sink.test", "subject": "s", "text": "t" })
}

fn body(sink: &Sink, n: usize) -> String {
    String::from_utf8_lossy(&unstuffed(sink.log()[n].body.as_deref().unwrap())).into_owned()
}

/// What a sink keeps is what was on the wire: without the dots that were put there (RFC 5321 §4.5.2).
pub(crate) fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let lines = wire.split_inclusive(|octet| *octet == b'\n');
    lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect()
}

/// `config/openapi-injection.json` is for those who make clients: it says what this program does.
#[tokio::test]
async fn the_document_in_the_repository_is_the_one_that_is_served() {
    let relay = Relay::start(&settings()).await;
    let client = Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1/openapi.json", injection(&relay));
    let served: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/openapi-injection.json");
    let wanted = serde_json::to_string_pretty(&served).unwrap() + "\n";
    if std::env::var_os("REMUDA_RENEW").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == wanted,
        "config/openapi-injection.json is not what the program serves; to renew it:\n\
         REMUDA_RENEW=1 cargo test --test it http_in::the_document"
    );
    let responses = served.pointer("/paths/~1api~1v1~1messages/post/responses").unwrap().as_object().unwrap();
    for status in ["202", "401", "403", "409", "413", "415", "422", "429", "503"] {
        assert!(responses.contains_key(status), "{status}");
    }
    let (status, _) = relay.post("/api/v1/messages", &small()).await;
    assert_eq!(status, "404", "not where operators are");
}

#[tokio::test]
async fn a_whole_message_goes_out_octet_by_octet_as_the_tenant_of_the_token() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&settings().to(sink.addr())).await;
    let message = "From: a@globex.test\r\nX-Remuda-Tenant: globex\r\nSubject:  x\r\n\t y \r\ndate: x\r\nMessage-Id: y\r\n\r\n\
                   .\r\n..ä \t\r\n\r\n";
    let query = "?from=bounces%2Bx@acme.test&to=b@sink.test&to=c@sink.test&stream=news&envelope_id=7&ret=headers";
    let answer = whole(&relay, ACME, query, message).await;
    assert_eq!(answer.status, 202, "{:#}", answer.body);
    assert_eq!(text(&answer.body, "/tenant"), "acme", "whatever header and sender say");
    let verdicts: Vec<_> =
        answer.body["recipients"].as_array().unwrap().iter().map(|v| v["accepted"] == true).collect();
    assert_eq!(verdicts, [true, true]);
    wait_for_messages(&sink, 1).await;
    let taken = body(&sink, 0);
    assert_eq!(sink.log()[0].source, local(12), "the stream's pool");
    let id = text(&answer.body, "/id");
    let (trace, rest) = taken.split_once("From: a@globex.test").unwrap();
    let begins = "Received: from [127.0.0.1] ([127.0.0.1])\r\n\tby relay.test with HTTP id ";
    assert!(trace.starts_with(begins) && trace.contains(id) && trace.lines().count() == 2, "{trace}");
    assert_eq!(rest, message.strip_prefix("From: a@globex.test\r\nX-Remuda-Tenant: globex").unwrap());

    let of_unix = whole(&relay, GLOBEX, "?from=&to=b@sink.test", "Subject: x\n\ntext\n").await;
    assert_eq!(of_unix.status, 202);
    wait_for_messages(&sink, 2).await;
    let taken = body(&sink, 1);
    let (trace, added) = taken.split_once("Date: ").unwrap();
    assert!(trace.starts_with("Received: ") && trace.lines().count() == 3, "here is where mail begins: {taken}");
    assert!(
        added.contains("\r\nMessage-ID: <") && added.contains("@relay.test>\r\nSubject: x\r\n\r\ntext\r\n"),
        "{taken}"
    );
    assert_eq!(taken.lines().count(), 3 + 2 + 3, "{taken}");
    let metrics = relay.metrics().await;
    assert!(metrics.contains("remuda_injection_requests_total{result=\"accepted\"} 2\n"), "{metrics}");
}

#[tokio::test]
async fn a_description_becomes_mail_and_each_wrong_field_is_named() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&settings().to(sink.addr())).await;
    let mut message = small();
    message["bcc"] = json!(["hidden@sink.test"]);
    message["html"] = json!("<p>ä</p>");
    message["attachments"] = json!([{ "name": "a.bin", "type": "application/octet-stream", "content": "AAEC" }]);
    let done = answer(described(&relay, ACME, &message)).await;
    assert_eq!(done.status, 202, "{:#}", done.body);
    assert_eq!(done.body["recipients"].as_array().unwrap().len(), 2);
    wait_for_messages(&sink, 1).await;
    let taken = body(&sink, 0);
    for part in
        ["From: \"Ann\" <ann@acme.test>\r\n", "multipart/mixed", "multipart/alternative", "AAEC", "Message-ID: <"]
    {
        assert!(taken.contains(part), "{part}\n{taken}");
    }
    assert!(!taken.contains("hidden@"), "{taken}");

    for (change, status, field) in [
        (json!({ "subject": "x\r\nBcc: c@sink.test" }), 422, "subject"),
        (json!({ "to": ["b@sink.test", "nobody"] }), 422, "to[1]"),
        (json!({ "headers": { "X-A": "b\nc" } }), 422, "headers.X-A"),
        (json!({ "sbject": "x" }), 422, "sbject"),
        (json!({ "stream": "none" }), 422, ""),
    ] {
        let mut message = small();
        for (name, value) in change.as_object().unwrap() {
            message[name] = value.clone();
        }
        let problem = answer(described(&relay, ACME, &message)).await.problem();
        assert_eq!((problem.0, problem.1.as_str()), (status, field), "{}", problem.2);
    }
    let unknown = answer(described(
        &relay,
        ACME,
        &json!({ "from": "a@x.test", "to": "b@sink.test", "text": "t", "stream": "none" }),
    ))
    .await;
    assert!(text(&unknown.body, "/reply").starts_with("550 5.7.1 unknown stream"), "{:#}", unknown.body);
    for (message, query, field) in [
        ("a\r\n\nb", "?from=&to=b@sink.test", "body"),
        ("a\0b", "?from=&to=b@sink.test", "body"),
        ("a\r\n", "?to=b@sink.test", "from"),
        ("a\r\n", "?from=a@x.test", "to"),
        ("a\r\n", "?from=a@x.test&to=b@sink.test%0d%0aDATA", "to[0]"),
        ("a\r\n", "?from=a@x.test&to=b@sink.test&too=c@sink.test", "too"),
    ] {
        let problem = whole(&relay, ACME, query, message).await.problem();
        assert_eq!((problem.0, problem.1.as_str()), (422, field), "{}", problem.2);
    }
    let plain = request(&relay, "").bearer_auth(ACME).header("content-type", "text/plain").body("x");
    assert_eq!(answer(plain).await.problem().0, 415);
    assert_eq!(sink.messages(), 1);
}

#[tokio::test]
async fn a_header_is_judged_as_by_smtp() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&settings().to(sink.addr())).await;
    let query = "?from=&to=b@sink.test";
    let message = |hops: usize| format!("{}Subject: x\r\n\r\ntext\r\n", "Received: x\r\n".repeat(hops));
    assert_eq!(whole(&relay, ACME, query, &message(100)).await.status, 202);
    let circles = whole(&relay, ACME, query, &message(101)).await;
    assert_eq!(circles.status, 422);
    assert!(text(&circles.body, "/reply").starts_with("554 5.4.6 more than 100 Received lines"), "{:#}", circles.body);
    let large = format!("{}\r\ntext\r\n", "X-A: 12345678\r\n".repeat(20_000));
    let large = whole(&relay, ACME, query, &large).await;
    assert_eq!(large.status, 413);
    assert!(text(&large.body, "/reply").starts_with("552 5.3.4 header is larger than the limit of 262144"));
    wait_for_messages(&sink, 1).await;
    // The sink offers no SMTPUTF8: what needs it is not sent there.
    assert_eq!(whole(&relay, ACME, query, "Subject: ä\r\n\r\ntext\r\n").await.status, 202);
    relay.wait_until_empty().await;
    assert_eq!(sink.messages(), 1);
}

/// A request of which only the head was sent, and that was let in: its body is asked for.
async fn begun(relay: &Relay, token: &str, length: &str) -> TcpStream {
    let mut stream = TcpStream::connect(injection(relay)).await.unwrap();
    let head = format!(
        "POST /api/v1/messages?from=&to=b@sink.test HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: message/rfc822\r\nExpect: 100-continue\r\n{length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 25];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut said)).await.expect("in time").unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test]
async fn a_token_that_changes_while_its_request_comes_in_sends_nothing() {
    let sink = sink().await;
    let settings = settings().to(sink.addr());
    let settings = token(token(settings, "new", "acme", "old-secret"), "stays", "acme", "stays-secret");
    let mut relay = Relay::start(&settings).await;
    let length = "Content-Length: 6";
    let mut open = Vec::new();
    for (secret, status) in [(ACME, 401), (GLOBEX, 403), ("old-secret", 401), ("stays-secret", 202)] {
        open.push((begun(&relay, secret, length).await, status));
    }
    // Nobody else's rule would take such mail either: it is the header's or the client's, and so acme's.
    let changed = token(settings.without("injection.token.shop"), "site", "acme", GLOBEX);
    relay.reload(&token(changed, "new", "acme", "new-secret")).await;
    for (mut stream, status) in open {
        stream.write_all(b"A: b\r\n").await.unwrap();
        let mut said = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut said)).await.expect("in time").unwrap();
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {said}");
    }
    wait_for_messages(&sink, 1).await;
    relay.wait_until_empty().await;
    assert_eq!(sink.messages(), 1);
}

#[tokio::test]
async fn requests_that_stand_still_keep_no_other_token_from_sending() {
    let sink = sink().await;
    let settings = token(settings().to(sink.addr()), "third", "acme", "third-secret")
        .set("injection", "max_message_bytes", "\"64KiB\"")
        .set("injection", "max_bytes_in_flight", "\"1MiB\"");
    let mut relay = Relay::start(&settings).await;
    let mut open = Vec::new();
    for secret in [ACME, GLOBEX] {
        for length in ["Content-Length: 65536", "Transfer-Encoding: chunked"] {
            for _ in 0..2 {
                let mut stream = begun(&relay, secret, length).await;
                stream.write_all(b"a0\r\nA: ").await.unwrap();
                open.push(stream);
            }
        }
    }
    let large = format!("A: b\r\n\r\n{}", "text\r\n".repeat(10_000));
    wait_until("a quarter is held by one", async || {
        (whole(&relay, ACME, "?from=&to=b@sink.test", &large).await.status == 503).then_some(())
    })
    .await;
    let done = answer(described(&relay, "third-secret", &small())).await;
    assert_eq!(done.status, 202, "{:#}", done.body);
    assert_eq!(whole(&relay, "third-secret", "?from=&to=b@sink.test", &large).await.status, 202);
    // Larger messages and the room for them come with one reload.
    let larger = settings.set("injection", "max_message_bytes", "\"2MiB\"");
    relay.reload(&larger.set("injection", "max_bytes_in_flight", "\"32MiB\"")).await;
    let larger = format!("A: b\r\n\r\n{}", "text\r\n".repeat(300_000));
    assert_eq!(whole(&relay, "third-secret", "?from=&to=b@sink.test", &larger).await.status, 202);
}

#[tokio::test]
async fn a_description_of_too_many_values_is_given_up() {
    let sink = sink().await;
    let relay = Relay::start(&settings().to(sink.addr())).await;
    let values = "0,".repeat(20_000);
    let many = format!("{{\"from\":\"a@acme.test\",\"to\":\"b@sink.test\",\"cc\":[{values}0]}}");
    let request = request(&relay, "").bearer_auth(ACME).header("content-type", "application/json");
    let (status, field, words) = answer(request.body(many)).await.problem();
    assert_eq!((status, field.as_str()), (422, "body"));
    assert!(words.contains("more than 13000 values"), "{words}");
}

#[tokio::test]
async fn a_door_by_tls_shows_its_certificate_and_says_so_in_the_trace() {
    let sink = keeping_sink().await;
    let authority = Authority::new();
    let identity = authority.identity(&["127.0.0.1"]);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("tls.crt"), &identity.pem.0).unwrap();
    std::fs::write(path("tls.key"), &identity.pem.1).unwrap();
    let files = format!("{{ certificate = {}, key = {} }}", quoted(&path("tls.crt")), quoted(&path("tls.key")));
    let relay = Relay::start(&settings().set("injection", "tls", &files).to(sink.addr())).await;
    let client = |roots: &Authority| {
        let pem = std::fs::read(roots.path()).unwrap();
        let root = reqwest::Certificate::from_pem(&pem).unwrap();
        Client::builder().no_proxy().tls_certs_only([root]).build().unwrap()
    };
    let post = |client: Client, scheme: &str| {
        let url = format!("{scheme}://{}/api/v1/messages", injection(&relay));
        client.post(url).bearer_auth(ACME).json(&small()).send()
    };
    assert_eq!(post(client(&authority), "https").await.unwrap().status().as_u16(), 202);
    wait_for_messages(&sink, 1).await;
    let taken = body(&sink, 0);
    assert!(taken.contains(" with HTTPS id ") && taken.contains("(using TLS"), "{taken}");
    assert!(post(client(&Authority::new()), "https").await.is_err(), "a stranger's authority does not vouch for it");
    assert!(post(client(&authority), "http").await.is_err(), "there is no way in the clear");
    assert_eq!(sink.messages(), 1);
}

#[tokio::test]
async fn who_has_no_token_or_is_elsewhere_or_too_fast_is_turned_away() {
    let sink = sink().await;
    let settings = settings().to(sink.addr());
    let settings =
        token(settings, "far", "acme", "far-secret").set("injection.token.far", "networks", "[\"192.0.2.0/24\"]");
    let settings =
        token(settings, "slow", "acme", "slow-secret").set("injection.token.slow", "rate_limit", "\"2/min\"");
    let settings = settings
        .set("injection", "max_message_bytes", "\"64KiB\"")
        .set("injection", "max_recipients", "3")
        .set("injection", "max_bytes_in_flight", "\"256KiB\"");
    let mut relay = Relay::start(&settings).await;
    assert_eq!(answer(request(&relay, "").json(&small())).await.problem().0, 401);
    assert_eq!(answer(described(&relay, "far-secret", &small())).await.problem().0, 403);
    for status in [202, 202, 429] {
        let done = answer(described(&relay, "slow-secret", &small())).await;
        assert_eq!(done.status, status);
        if status == 429 {
            let wait: u64 = done.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=30).contains(&wait), "{wait}");
        }
    }
    let large = "x\r\n".repeat(30_000);
    assert_eq!(whole(&relay, ACME, "?from=&to=b@sink.test", &large).await.problem().0, 413);
    let mut long = small();
    long["text"] = json!("ä".repeat(40_000));
    assert_eq!(answer(described(&relay, ACME, &long)).await.problem().0, 413, "what comes out counts, too");
    let many: Vec<String> = (0..4).map(|n| format!("u{n}@sink.test")).collect();
    let mut many_of = small();
    many_of["to"] = json!(many);
    let problem = answer(described(&relay, ACME, &many_of)).await.problem();
    assert_eq!((problem.0, problem.1.as_str()), (422, "to"));

    let mut waits = 0;
    for _ in 0..12 {
        let done = answer(described(&relay, "wrong-hunter2", &small())).await;
        assert!([401, 429].contains(&done.status), "{}", done.status);
        waits += u32::from(done.status == 429);
    }
    assert!(waits >= 1, "guessing is slowed");
    assert_eq!(answer(described(&relay, ACME, &small())).await.status, 202, "who is right is heard");
    let log = relay.log();
    assert!(!log.contains("hunter2") && !log.contains(ACME), "{log}");

    // A token that is taken away is good for nothing from then on.
    let mut only_globex = settings.clone().without("injection.token.shop");
    only_globex = token(only_globex, "new", "acme", "new-secret");
    relay.reload(&only_globex).await;
    // Whose address has brought so many wrong ones waits.
    assert!([401, 429].contains(&answer(described(&relay, ACME, &small())).await.status));
    assert_eq!(answer(described(&relay, "new-secret", &small())).await.status, 202);
}

#[tokio::test]
async fn a_request_sent_twice_is_one_message_also_when_the_relay_was_killed_in_between() {
    let sink = sink().await;
    sink.add(Rule::reply(Stage::Rcpt, "451 4.3.0 later"));
    let settings = settings().to(sink.addr()).set("queue", "retry_first", "\"1h\"").set("queue", "retry_max", "\"1h\"");
    let mut relay = Relay::start(&settings).await;
    let keyed = |relay: &Relay, token: &str, message: &Value| {
        described(relay, token, message).header("idempotency-key", "order 7")
    };
    let first = answer(keyed(&relay, ACME, &small())).await;
    assert_eq!((first.status, first.headers.get("idempotent-replayed")), (202, None));
    let again = answer(keyed(&relay, ACME, &small())).await;
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let mut other = small();
    other["subject"] = json!("another");
    let problem = answer(keyed(&relay, ACME, &other)).await.problem();
    assert_eq!((problem.0, problem.1.as_str()), (422, "Idempotency-Key"));
    let elsewhere = answer(keyed(&relay, GLOBEX, &small())).await;
    assert_eq!(elsewhere.status, 202);
    assert_ne!(elsewhere.body["id"], first.body["id"], "a key is one token's own");
    let wrong = described(&relay, ACME, &small()).header("idempotency-key", "");
    assert_eq!(answer(wrong).await.problem().1, "Idempotency-Key");

    // A client that never reads its answer, and a relay that is killed as soon as the mail is on disk.
    let message = small().to_string();
    let mut stream = TcpStream::connect(injection(&relay)).await.unwrap();
    let head = format!(
        "POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ACME}\r\nContent-Type: application/json\r\n\
         Idempotency-Key: lost\r\nContent-Length: {}\r\n\r\n{message}",
        message.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    wait_until("it is on disk", async || (relay.queue().await.len() == 3).then_some(())).await;
    relay.restart(&settings).await;
    let lost = described(&relay, ACME, &small()).header("idempotency-key", "lost");
    let replayed = answer(lost).await;
    assert_eq!((replayed.status, replayed.headers["idempotent-replayed"].to_str().unwrap()), (202, "true"));
    let again = answer(keyed(&relay, ACME, &small())).await;
    assert_eq!(again.body, first.body);
    assert_eq!(relay.queue().await.len(), 3, "nothing was sent again");
    let metrics = relay.metrics().await;
    assert!(metrics.contains("remuda_injection_requests_total{result=\"replayed\"} 2\n"), "{metrics}");
}

#[tokio::test]
async fn keys_that_come_at_the_same_time_make_one_message() {
    let sink = sink().await;
    let relay = Relay::start(&settings().to(sink.addr())).await;
    let asked: Vec<_> = (0..20)
        .map(|_| tokio::spawn(answer(described(&relay, ACME, &small()).header("idempotency-key", "same"))))
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for one in asked {
        let done = one.await.unwrap();
        match done.status {
            202 => drop(ids.insert(text(&done.body, "/id").to_owned())),
            status => assert_eq!(status, 409, "{:#}", done.body),
        }
    }
    assert_eq!(ids.len(), 1);
    wait_for_messages(&sink, 1).await;
    relay.wait_until_empty().await;
    assert_eq!(sink.messages(), 1);
}

#[tokio::test]
async fn a_head_that_never_ends_holds_no_one_else_up() {
    let sink = sink().await;
    let relay = Relay::start(&settings().to(sink.addr())).await;
    let mut slow = TcpStream::connect(injection(&relay)).await.unwrap();
    slow.write_all(b"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut bare = TcpStream::connect(injection(&relay)).await.unwrap();
    let head = format!(
        "POST /api/v1/messages?from=&to=b@sink.test HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {ACME}\r\n\
         Content-Type: message/rfc822\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nX: y\r\n\r\n0\r\n\r\n"
    );
    bare.write_all(head.as_bytes()).await.unwrap();
    let mut said = String::new();
    bare.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 202 "), "{said}");
}

fn remuda(arguments: &[&str]) -> (Option<i32>, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_remuda")).args(arguments).output().unwrap();
    (done.status.code(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
}

#[test]
fn a_token_is_made_for_a_tenant_and_a_door_to_the_world_needs_tls() {
    let (code, said) = remuda(&["token", "shop", "--role", "send", "--tenant", "acme"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("[injection.token.shop]\ntenant = \"acme\"\nhash = \"sha256:"), "{said}");
    assert_eq!(remuda(&["token", "shop", "--role", "send"]).0, Some(2), "whose mail?");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("remuda.toml");
    let public = settings().set("injection", "address", "\"0.0.0.0:8026\"").to("127.0.0.1:9".parse().unwrap());
    std::fs::write(&file, public.text(directory.path())).unwrap();
    for verb in ["check", "run"] {
        let (code, said) = remuda(&[verb, "-c", &file.display().to_string()]);
        assert!(code == Some(1) && said.contains("tokens and mail would cross the network readable"), "{said}");
    }
}
