//! One push against servers on loopback: what they answer, what files hold.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

use super::*;
use crate::alerts::conditions::{Condition, Labels};
use crate::alerts::ledger::{Alert, Stage};
use crate::alerts::outbox::{Delivery, Event, Push};
use crate::config::{AlertName, Alertmanager, Alerts, Severity, Webhook};

type Answer = fn() -> Response;

/// Takes POSTs, remembers them, answers as told.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>,
}

impl Server {
    async fn start(answer: Answer) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let server = Self { address: listener.local_addr().expect("bound"), seen: Arc::default() };
        let handler = move |State(seen): State<Self>, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            seen.seen.lock().push((uri.to_string(), headers, body));
            answer()
        };
        let router = Router::new().fallback(handler).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    fn url(&self, path: &str) -> SecretUrl {
        SecretUrl::new(format!("http://{}{path}", self.address))
    }
}

fn now() -> Wall {
    Wall::from_millis(1_800_000_000_000)
}

fn alert() -> Alert {
    let condition = Condition {
        name: AlertName::QueueOld,
        labels: Labels::new(),
        summary: "mail waits".into(),
        description: String::new(),
        episode: String::new(),
    };
    Alert { condition, severity: Severity::Warning, since: now(), stage: Stage::Firing { fired: now() } }
}

fn states() -> Job {
    Job::States(Push { firing: vec![alert()], ended: Vec::new(), at: now() })
}

fn delivery() -> Job {
    Job::Delivery(Delivery::new("h", Event::Firing, &alert(), now()))
}

fn rules() -> Alerts {
    Alerts { timeout: Duration::from_millis(500), ..Alerts::default() }
}

fn manager(url: SecretUrl, credentials: Credentials) -> Target {
    let manager = Alertmanager { name: "am".into(), url, credentials, ca_file: None };
    Target::all(&Alerts { alertmanagers: vec![manager], ..rules() }).remove(0)
}

fn hook(url: SecretUrl, secret_file: Option<std::path::PathBuf>) -> Target {
    let hook = Webhook {
        name: "h".into(),
        url,
        secret_file,
        bearer_file: None,
        ca_file: None,
        min_severity: Severity::Info,
        firing: true,
        resolved: true,
    };
    Target::all(&Alerts { webhooks: vec![hook], ..rules() }).remove(0)
}

async fn push(target: &Target, job: &Job) -> (Outcome, Option<String>) {
    target.push(job, &Origin::default(), &rules(), now()).await
}

#[tokio::test]
async fn an_answer_becomes_an_outcome() {
    let table: &[(Answer, Outcome, Option<&str>)] = &[
        (|| StatusCode::OK.into_response(), Outcome::Accepted, None),
        (|| StatusCode::NO_CONTENT.into_response(), Outcome::Accepted, None),
        (
            || (StatusCode::BAD_REQUEST, "bad \u{1b}[31mend").into_response(),
            Outcome::Refused,
            Some("HTTP status 400: bad \\u{1b}[31mend"),
        ),
        (
            || (StatusCode::INTERNAL_SERVER_ERROR, "x".repeat(100_000)).into_response(),
            Outcome::Failed,
            Some("HTTP status 500: xxx"),
        ),
        (|| StatusCode::GONE.into_response(), Outcome::Gone, Some("HTTP status 410")),
        (
            || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "17")]).into_response(),
            Outcome::Throttled(Some(Duration::from_secs(17))),
            Some("HTTP status 429"),
        ),
        (
            || (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "Fri, 15 Jan 2027 08:01:00 GMT")]).into_response(),
            Outcome::Throttled(Some(Duration::from_secs(60))),
            Some("HTTP status 503"),
        ),
        (
            || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "soon")]).into_response(),
            Outcome::Throttled(None),
            Some("HTTP status 429"),
        ),
        // Not followed: the other end was never configured.
        (
            || (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response(),
            Outcome::Failed,
            Some("HTTP status 307"),
        ),
    ];
    for (answer, outcome, error) in table {
        let server = Server::start(*answer).await;
        let (seen, said) = push(&manager(server.url("/"), Credentials::None), &states()).await;
        assert_eq!(seen, *outcome, "{said:?}");
        match error {
            None => assert_eq!(said, None),
            Some(error) => {
                let said = said.expect("an error");
                assert!(said.starts_with(error) && said.len() < 400, "{said}");
            }
        }
        assert_eq!(server.seen.lock().len(), 1);
    }
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_are_failures_that_name_no_url() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let silent = listener.local_addr().expect("bound");
    let gone = {
        let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        other.local_addr().expect("bound")
    };
    for address in [silent, gone] {
        let target = hook(SecretUrl::new(format!("http://{address}/topsecret")), None);
        let (outcome, said) = push(&target, &delivery()).await;
        let said = said.expect("an error");
        assert_eq!(outcome, Outcome::Failed);
        assert!(!said.contains("topsecret") && !said.is_empty(), "{said}");
    }
    drop(listener);
}

#[tokio::test]
async fn what_a_webhook_answers_is_not_repeated() {
    let server = Server::start(|| (StatusCode::NOT_FOUND, "no hook /topsecret").into_response()).await;
    let (outcome, said) = push(&hook(server.url("/topsecret"), None), &delivery()).await;
    assert_eq!((outcome, said.as_deref()), (Outcome::Refused, Some("HTTP status 404")));
}

#[tokio::test]
async fn files_are_read_at_each_push_and_named_where_they_are_no_good() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    let server = Server::start(|| StatusCode::OK.into_response()).await;
    let target = manager(server.url("/base/"), Credentials::Bearer(file.clone()));
    for (text, says) in [(None, "No such file"), (Some(""), "is empty"), (Some("a\u{7f}b"), "no header can carry")] {
        if let Some(text) = text {
            std::fs::write(&file, text).expect("written");
        }
        let (outcome, said) = push(&target, &states()).await;
        let said = said.expect("an error");
        assert_eq!(outcome, Outcome::Unready);
        assert!(said.starts_with("bearer_file") && said.contains(says), "{said}");
    }
    std::fs::write(&file, "token-1\nwhatever\n").expect("written");
    assert_eq!(push(&target, &states()).await.0, Outcome::Accepted);
    std::fs::write(&file, "token-2\n").expect("written");
    assert_eq!(push(&target, &states()).await.0, Outcome::Accepted);
    let user = Credentials::Basic { user: "remuda".into(), password_file: file };
    assert_eq!(push(&manager(server.url(""), user), &states()).await.0, Outcome::Accepted);
    let seen = server.seen.lock();
    let heads: Vec<_> = seen.iter().map(|(path, head, _)| (path.as_str(), head["authorization"].as_bytes())).collect();
    assert_eq!(
        heads,
        [
            ("/base/api/v2/alerts", &b"Bearer token-1"[..]),
            ("/base/api/v2/alerts", b"Bearer token-2"),
            ("/api/v2/alerts", b"Basic cmVtdWRhOnRva2VuLTI="),
        ]
    );
}

#[tokio::test]
async fn a_delivery_carries_its_id_and_a_signature_of_what_was_sent() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("secret");
    std::fs::write(&file, "s3cret\n").expect("written");
    let server = Server::start(|| StatusCode::OK.into_response()).await;
    let job = delivery();
    assert_eq!(push(&hook(server.url("/x?y=z"), Some(file)), &job).await, (Outcome::Accepted, None));
    let seen = server.seen.lock();
    let (path, head, body) = &seen[0];
    let Job::Delivery(sent) = &job else { unreachable!("a delivery was made") };
    assert_eq!((path.as_str(), head["remuda-delivery"].as_bytes()), ("/x?y=z", sent.id.as_bytes()));
    assert_eq!(head["content-type"], "application/json");
    let body = std::str::from_utf8(body).expect("text");
    assert_eq!(head["remuda-signature"], payload::signature(b"s3cret", body, now()).as_str());
}

#[test]
fn authorities_that_cannot_be_read_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("ca.pem");
    let target = |file: &Path| Target {
        ca_file: Some(file.to_owned()),
        ..manager(SecretUrl::new("https://127.0.0.1:1".into()), Credentials::None)
    };
    assert!(target(&file).client().expect_err("no file").starts_with("ca_file "));
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").expect("written");
    assert!(target(&file).client().is_err());
}
