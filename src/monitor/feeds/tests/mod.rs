//! Feeds against a local server that answers in the shapes and moods that were seen.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::{Response, StatusCode};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::*;
use crate::clock::{ManualClock, Wall};

mod doubt;
mod follow;
mod google;

const NOW: Wall = Wall::from_millis(1_795_334_400_000); // 2026-11-22 08:00 UTC
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const KEY: &str = "topsecret-key";

#[derive(Clone, Debug)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply { status, headers: Vec::new(), body: body.into() }
}

fn good(body: Json) -> Reply {
    reply(200, body.to_string())
}

#[derive(Clone, Debug)]
struct Asked {
    method: String,
    path: String,
    authorization: String,
    key: String,
    body: String,
}

#[derive(Default)]
struct Script {
    replies: HashMap<String, Reply>,
    asked: Vec<Asked>,
    /// The one refresh token that is good; each use makes the next.
    refresh: Option<String>,
    rotations: u32,
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Server {
    async fn start() -> Self {
        let script = Arc::<Mutex<Script>>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&script));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, script }
    }

    fn at(&self, path: &str, reply: Reply) {
        self.script.lock().replies.insert(path.to_owned(), reply);
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn asked(&self, part: &str) -> Vec<Asked> {
        self.script.lock().asked.iter().filter(|asked| asked.path.contains(part)).cloned().collect()
    }

    fn forget(&self) {
        self.script.lock().asked.clear();
    }
}

async fn answer(Shared(script): Shared<Arc<Mutex<Script>>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let text = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        authorization: text("authorization"),
        key: text("x-key"),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    assert_eq!(text("origin"), "", "a token request with an Origin is refused");
    let reply = {
        let mut script = script.lock();
        script.asked.push(asked.clone());
        let fixed = script.replies.get(&asked.path).cloned();
        match fixed {
            Some(reply) => reply,
            None if asked.path == "/token" => token(&mut script, &asked.body),
            None => reply(404, "nothing here"),
        }
    };
    let mut response = Response::builder().status(StatusCode::from_u16(reply.status).unwrap());
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    response.body(Body::from(reply.body)).unwrap()
}

/// Answers with a header and one octet, and then nothing more. The count is of connections.
async fn stalling() -> (String, watch::Receiver<u32>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (count, counted) = watch::channel(0);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // Whoever is answered before he has asked takes it for a mistake.
            let mut request = [0; 4096];
            assert!(tokio::io::AsyncReadExt::read(&mut stream, &mut request).await.unwrap() > 0);
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[";
            tokio::io::AsyncWriteExt::write_all(&mut stream, head).await.unwrap();
            held.push(stream);
            count.send_modify(|count| *count += 1);
        }
    });
    (url, counted)
}

fn token(script: &mut Script, form: &str) -> Reply {
    let is_good = script.refresh.as_ref().is_some_and(|good| form.contains(&format!("refresh_token={good}&")));
    if !is_good {
        return reply(400, json!({ "error": "invalid_grant", "error_description": form }).to_string());
    }
    script.rotations += 1;
    let next = format!("topsecret-r{}", script.rotations);
    script.refresh = Some(next.clone());
    let access = format!("topsecret-a{}", script.rotations);
    good(json!({ "access_token": access, "expires_in": 3600, "refresh_token": next }))
}

struct Bench {
    server: Server,
    directory: TempDir,
    clock: ManualClock,
    words: Arc<Mutex<Vec<Word>>>,
    lines: String,
    feeds: Feeds,
}

impl Bench {
    /// `lines` is the configuration of feeds; URL, DIR stand for the server and the directory of secrets.
    async fn new(lines: &str) -> Self {
        let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
        std::fs::write(directory.path().join("key"), format!("{KEY}\n")).unwrap();
        std::fs::write(directory.path().join("token"), "topsecret-r0\n").unwrap();
        server.script.lock().refresh = Some("topsecret-r0".into());
        let clock = ManualClock::at(NOW);
        let words = Arc::<Mutex<Vec<Word>>>::default();
        let lines = lines.replace("URL", &server.url()).replace("DIR", &directory.path().display().to_string());
        let feeds = started(&lines, directory.path(), &clock, &words);
        Self { server, directory, clock, words, lines, feeds }
    }

    /// As after a crash: nothing of the old one is used any more.
    fn restart(&mut self) {
        self.words.lock().clear();
        self.feeds = started(&self.lines, self.directory.path(), &self.clock, &self.words);
    }

    async fn round_after(&self, span: Duration) -> FeedSnapshot {
        self.clock.advance(span);
        self.feeds.round().await;
        self.feeds.snapshot().remove(0)
    }

    async fn round(&self) -> FeedSnapshot {
        self.round_after(Duration::ZERO).await
    }

    /// Who was throttled (or, without an end, freed), where, for how long from now; since the last call.
    fn evidence(&self) -> Vec<(String, String, Option<Duration>)> {
        let now = self.clock.now().wall;
        let words = std::mem::take(&mut *self.words.lock());
        let reported = words.into_iter().filter_map(|word| match word {
            Word::Evidence(Evidence::Reported { binding, destination, until, .. }) => {
                let to = destination.map_or_else(String::new, |to| to.to_string());
                Some((binding.to_string(), to, until.map(|until| until.since(now))))
            }
            _ => None,
        });
        reported.collect()
    }

    fn everything_shown(&self) -> String {
        let shown = serde_json::to_string(&self.feeds.snapshot()).unwrap();
        format!("{shown}{:?}{:?}", self.feeds, self.words.lock())
    }
}

fn started(lines: &str, directory: &Path, clock: &ManualClock, words: &Arc<Mutex<Vec<Word>>>) -> Feeds {
    let mut config = testing::config(lines);
    config.server.state_dir = directory.to_owned();
    let heard = Arc::clone(words);
    Feeds::new(&config, Arc::new(clock.clone()), Arc::new(move |word| heard.lock().push(word)))
}

const SNDS: &str = "[feed.snds]\nkind = \"snds\"\nurl = \"URL\"\ntoken_url = \"URL/token\"\nclient_id = \"c\"\ntoken_file = \"DIR/token\"\nprovider = \"microsoft\"\n";
const VENDOR: &str = "[feed.vendor]\nkind = \"json\"\nurl = \"URL/x\"\nauth_header = \"X-Key\"\nsecret_file = \"DIR/key\"\ntimeout = \"300ms\"\nmax_bytes = \"64KiB\"\nscope = { address = \"/ip\" }\n[feed.vendor.metric.score]\nvalue = \"/score\"\nthrottle_below = 50\n";
const STATUS: &str = "/api/report/status/ip";

fn row(ip: &str, filter: &str) -> Json {
    json!({ "ipAddress": ip, "filterResult": filter, "complaintRate": "< 0.1%", "trapHits": 0 })
}

fn day(day: u32) -> String {
    format!("/api/report/data/2026-11-{day}")
}

#[tokio::test]
async fn a_red_day_throttles_the_route_at_microsoft_and_a_late_day_is_asked_for_again() {
    let bench = Bench::new(SNDS).await;
    bench.server.at(STATUS, good(json!([])));
    bench.server.at(
        &day(20),
        good(json!({ "value": [row("192.0.2.11", "RED"), row("192.0.2.12", "GREEN"), row("198.51.100.9", "RED")] })),
    );
    let feed = bench.round().await;
    assert_eq!((feed.outcome, feed.unknown_fields), (Some("ok"), 0), "{feed:#?}");
    // The day ended 32 hours ago; two half-lives of two days from then.
    let to = |binding: &str, until| (binding.to_owned(), "microsoft".to_owned(), until);
    assert_eq!(bench.evidence(), [to("a", Some(DAY * 4 - HOUR * 32)), to("b", None)]);
    assert_eq!((feed.states["a"], feed.states["b"]), (2, 0));
    let asked: Vec<_> = bench.server.asked("/data/").into_iter().map(|asked| asked.path).collect();
    let tried = |n: u32| [day(n), format!("{}/", day(n))];
    assert_eq!(asked[..5], [&tried(21)[..], &[day(20)], &tried(19)].concat());

    // The missing day comes under the name with a slash, and is good.
    bench.server.forget();
    bench.server.at(&format!("{}/", day(21)), good(json!([row("192.0.2.11", "GREEN")])));
    let feed = bench.round_after(HOUR * 7).await;
    assert_eq!(bench.evidence(), [to("a", None)]);
    assert_eq!(feed.states["a"], 0);
    assert!(bench.server.asked(&day(20)).is_empty(), "what has come is not asked for again");
    assert_eq!(
        feed.newest.map(|at| at.to_string()).as_deref(),
        Some("2026-11-22T00:00:00.000Z"),
        "the end of the day, not when it came"
    );
}

#[tokio::test]
async fn an_empty_status_list_is_good_and_a_missing_one_is_nothing() {
    let bench = Bench::new(SNDS).await;
    let feed = bench.round().await;
    assert_eq!((feed.outcome, feed.up, feed.states["a"]), (Some("no_data"), Some(true), -1), "404 everywhere");
    assert_eq!(bench.evidence(), []);
    bench.server.at(STATUS, good(json!([])));
    let feed = bench.round_after(HOUR * 7).await;
    assert_eq!((feed.outcome, feed.states["a"]), (Some("ok"), 0));
    let range = json!({ "beginningIpAddress": "192.0.2.0", "endingIpAddress": "192.0.2.11", "blocked": true, "reason": "spam" });
    bench.server.at(STATUS, good(json!({ "items": [range] })));
    bench.evidence();
    let feed = bench.round_after(HOUR * 7).await;
    assert_eq!((feed.states["a"], feed.states["b"]), (2, 0));
    assert_eq!(bench.evidence(), [("a".to_owned(), "microsoft".to_owned(), Some(DAY * 4))]);
}

#[tokio::test]
async fn a_refresh_token_is_on_disk_before_its_access_token_is_used() {
    let mut bench = Bench::new(SNDS).await;
    // Killed between rotation and use: the first request after the exchange never succeeds.
    bench.server.at(STATUS, reply(500, ""));
    assert_eq!(bench.round().await.outcome, Some("server_error"));
    let path = bench.directory.path().join("feeds/snds.token");
    assert!(std::fs::read_to_string(&path).unwrap().contains("topsecret-r1"));
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

    bench.restart();
    bench.server.at(STATUS, good(json!([])));
    let feed = bench.round_after(HOUR).await;
    assert_eq!(feed.outcome, Some("ok"), "{feed:#?}");
    assert_eq!(bench.server.script.lock().rotations, 2, "the rotated token was used, once");
    assert!(std::fs::read_to_string(&path).unwrap().contains("topsecret-r2"));

    // While the access token holds, no new one is got.
    bench.server.script.lock().replies.remove("/token");
    bench.round_after(HOUR * 7).await;
    assert_eq!(bench.server.script.lock().rotations, 3);
}

#[tokio::test]
async fn a_refresh_token_that_was_used_up_is_an_alarm_until_the_operator_writes_another() {
    let bench = Bench::new(SNDS).await;
    bench.server.at(STATUS, good(json!([])));
    bench.server.script.lock().refresh = Some("another".into());
    let feed = bench.round().await;
    assert_eq!((feed.outcome, feed.credentials_refused, feed.up), (Some("credentials"), true, Some(false)));
    assert!(
        feed.detail.contains("invalid_grant") && !bench.everything_shown().contains("topsecret"),
        "{}",
        feed.detail
    );
    std::fs::write(bench.directory.path().join("token"), "another").unwrap();
    let feed = bench.round_after(HOUR * 7).await;
    assert_eq!((feed.outcome, feed.credentials_refused), (Some("ok"), false));
}

#[tokio::test]
async fn a_refused_access_token_is_renewed_once() {
    let bench = Bench::new(SNDS).await;
    bench.server.at(STATUS, reply(401, ""));
    let feed = bench.round().await;
    assert_eq!((feed.outcome, feed.credentials_refused), (Some("credentials"), true));
    assert_eq!((bench.server.asked("/token").len(), bench.server.asked(STATUS).len()), (2, 2));
    let used: Vec<_> = bench.server.asked(STATUS).into_iter().map(|asked| asked.authorization).collect();
    assert_eq!(used, ["Bearer topsecret-a1", "Bearer topsecret-a2"]);
}

#[tokio::test]
async fn a_wish_to_wait_is_honoured_by_the_clock() {
    let bench = Bench::new(VENDOR).await;
    let busy = Reply { headers: vec![("Retry-After", "7200".into())], ..reply(429, "") };
    bench.server.at("/x", busy);
    assert_eq!(bench.round().await.outcome, Some("limited"));
    bench.server.at("/x", good(json!([{ "ip": "192.0.2.11", "score": 80 }])));
    let feed = bench.round_after(HOUR * 2 - Duration::from_secs(1)).await;
    assert_eq!((feed.outcome, bench.server.asked("/x").len()), (Some("limited"), 1), "not a second too early");
    assert_eq!(bench.round_after(Duration::from_secs(1)).await.outcome, Some("ok"));
    assert_eq!(bench.server.asked("/x")[1].key, KEY);
    let at = Reply { headers: vec![("Retry-After", "Sun, 22 Nov 2026 20:00:00 GMT".into())], ..reply(503, "") };
    bench.server.at("/x", at);
    assert_eq!(bench.round_after(HOUR * 7).await.next.to_string(), "2026-11-22T20:00:00.000Z");
}

#[tokio::test]
async fn every_bad_answer_is_told_apart_and_changes_nothing_that_is_known() {
    let elsewhere = Server::start().await;
    elsewhere.at("/stolen", good(json!([{ "ip": "192.0.2.11", "score": 99 }])));
    let to = |url: String| Reply { headers: vec![("Location", url)], ..reply(302, "") };
    let html = "<!DOCTYPE html><html><title>Sign in</title>";
    let table = [
        (reply(200, html), "login_page"),
        (Reply { headers: vec![("Content-Type", "text/html".into())], ..reply(200, "Sign in") }, "login_page"),
        (reply(200, "[{\"ip\":"), "unreadable"),
        (reply(200, "{}"), "unreadable"),
        (reply(200, "[{\"address\":\"192.0.2.11\"}]"), "unreadable"),
        (reply(200, vec![b' '; 65 << 10]), "too_large"),
        (to(format!("{}/stolen", elsewhere.url())), "redirected"),
        (reply(500, ""), "server_error"),
        (reply(403, ""), "credentials"),
        (reply(404, ""), "refused"),
        (reply(204, ""), "no_data"),
    ];
    let bench = Bench::new(VENDOR).await;
    bench.server.at("/x", good(json!([{ "ip": "192.0.2.11", "score": 12, "note": "\u{1b}[2J" }])));
    assert_eq!(bench.round().await.states["a"], 2);
    assert_eq!(bench.evidence(), [("a".to_owned(), String::new(), Some(DAY * 4))], "everywhere, without a provider");
    for (reply, outcome) in table {
        bench.server.at("/x", reply);
        // Within the time that the first report counts.
        let feed = bench.round_after(HOUR * 7).await;
        assert_eq!(feed.outcome, Some(outcome), "{}", feed.detail);
        assert_eq!((feed.states["a"], bench.evidence().len()), (2, 0), "{outcome}");
        assert!(feed.fetches[outcome] > 0);
    }
    assert!(elsewhere.asked("").is_empty(), "the key went nowhere else");
    // On the same host a redirect is followed.
    bench.server.at("/x", to("/y".to_owned()));
    bench.server.at("/y", good(json!([{ "ip": "192.0.2.11", "score": 90 }])));
    assert_eq!(bench.round_after(HOUR * 7).await.outcome, Some("ok"));
    assert_eq!(bench.evidence(), [("a".to_owned(), String::new(), None)]);
    let shown = bench.everything_shown();
    assert!(!shown.contains("topsecret") && !shown.contains('\u{1b}'), "{shown}");
}

#[tokio::test]
async fn nobody_at_the_other_end_is_asked_again_ever_later() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let bench = Bench::new(&VENDOR.replace("URL", &format!("http://{free}"))).await;
    let pauses: Vec<u64> = {
        let mut pauses = Vec::new();
        for _ in 0..3 {
            let feed = bench.round_after(HOUR).await;
            assert_eq!(feed.outcome, Some("unreachable"), "{}", feed.detail);
            pauses.push(feed.next.since(bench.clock.now().wall).as_secs());
        }
        pauses
    };
    assert!(
        (270..=330).contains(&pauses[0]) && (540..=660).contains(&pauses[1]) && (1080..=1320).contains(&pauses[2]),
        "{pauses:?}"
    );
}

#[tokio::test]
async fn what_was_said_outlives_a_restart_with_its_age() {
    let mut bench = Bench::new(VENDOR).await;
    bench.server.at("/x", good(json!([{ "ip": "192.0.2.11", "score": 12 }])));
    bench.round().await;
    bench.clock.advance(HOUR);
    bench.restart();
    let feed = bench.round().await;
    assert_eq!((feed.up, feed.states["a"], bench.server.asked("/x").len()), (None, 2, 1), "not asked before it is due");
    assert_eq!(
        bench.evidence(),
        [("a".to_owned(), String::new(), Some(DAY * 4 - HOUR))],
        "told again, with the same end"
    );
    bench.clock.advance(DAY * 8);
    bench.server.at("/x", reply(404, ""));
    bench.restart();
    let feed = bench.round().await;
    assert_eq!(
        (feed.states["a"], feed.observations.len(), feed.newest),
        (-1, 0, Some(NOW)),
        "too old to say anything but how old it is"
    );
}

#[tokio::test]
async fn a_state_that_is_damaged_is_asked_for_again() {
    let mut bench = Bench::new(VENDOR).await;
    bench.server.at("/x", good(json!([])));
    bench.round().await;
    std::fs::write(bench.directory.path().join("feeds/vendor.json"), "{\"schedule\":").unwrap();
    bench.restart();
    assert_eq!(bench.round().await.outcome, Some("no_data"));
}

#[tokio::test]
async fn good_news_of_one_feed_do_not_undo_the_bad_news_of_another() {
    let two = format!("{VENDOR}{}", VENDOR.replace("vendor", "other").replace("URL/x", "URL/y"));
    let bench = Bench::new(&two).await;
    bench.server.at("/x", good(json!([{ "ip": "192.0.2.11", "score": 12 }])));
    bench.server.at("/y", good(json!([{ "ip": "192.0.2.11", "score": 99 }])));
    bench.round().await;
    assert_eq!(bench.evidence().last().and_then(|(_, _, until)| *until), Some(DAY * 4));
}

#[tokio::test]
async fn wqs_asks_for_each_address_within_its_budget() {
    let lines = "[feed.wqs]\nkind = \"wqs\"\nurl = \"URL\"\nsecret_file = \"DIR/key\"\ndaily_budget = 4\n";
    let mut bench = Bench::new(lines).await;
    bench.server.at("/zen/127.0.0.2", good(json!({ "resp": [1002, 1004, 1010] })));
    bench.server.at("/zen/192.0.2.11", good(json!({ "resp": [1002, 1003] })));
    let feed = bench.round().await;
    assert_eq!((feed.states["a"], feed.states["b"]), (2, 0), "404 is not listed");
    assert_eq!(bench.server.asked("/zen/192")[0].authorization, format!("Bearer {KEY}"));
    assert!(feed.observations[0].observation.raw.contains("127.0.0.2, 127.0.0.3"));
    bench.restart();
    bench.round_after(HOUR * 7).await;
    bench.round_after(HOUR * 7).await;
    assert_eq!(bench.server.asked("/zen/").len(), 3, "the budget outlives a restart, and one question is of no use");
    bench.round_after(HOUR * 7).await;
    assert_eq!(bench.server.asked("/zen/").len(), 6, "and is new on the next day");
    bench.server.at("/zen/127.0.0.2", reply(401, ""));
    let feed = bench.round_after(DAY).await;
    assert!(feed.credentials_refused && feed.states["a"] == 2, "what was known stays known");
}

#[tokio::test]
async fn the_key_of_an_snds_link_is_in_the_request_and_nowhere_else() {
    let lines =
        "[feed.link]\nkind = \"snds_csv\"\nurl = \"URL/snds\"\nsecret_file = \"DIR/key\"\nprovider = \"microsoft\"\n";
    let bench = Bench::new(lines).await;
    bench.server.at("/snds/ipStatus.aspx?key=topsecret-key", reply(200, ""));
    let data = "192.0.2.11,11/20/2026 12:00 AM,11/21/2026 12:00 AM,900,800,850,YELLOW,2.5%,,,0,mta1.example.net,a@example.net,\"x, y\"\n";
    bench.server.at("/snds/data.aspx?key=topsecret-key", reply(200, data));
    let feed = bench.round().await;
    assert_eq!((feed.outcome, feed.states["a"]), (Some("ok"), 2), "a share of complaints of 2.5 %");
    bench.server.at("/snds/ipStatus.aspx?key=topsecret-key", reply(404, ""));
    let feed = bench.round_after(HOUR * 7).await;
    assert!(feed.credentials_refused && feed.detail.contains("expired"), "{}", feed.detail);
    assert!(!bench.everything_shown().contains("topsecret"));
}

const POSTMASTER: &str = "[feed.google]\nkind = \"postmaster\"\nurl = \"URL\"\ntoken_url = \"URL/grant\"\ncredentials_file = \"DIR/google\"\ncarried_by = { \"news.example\" = [\"b\"] }\nprovider = \"microsoft\"\n";

#[tokio::test]
async fn postmaster_is_asked_with_a_signed_claim_page_by_page() {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};

    let bench = Bench::new(POSTMASTER).await;
    let key = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", oauth::base64url(der.as_ref()));
    let file =
        json!({ "type": "service_account", "client_email": "r@p.example", "private_key": pem, "private_key_id": "k1" });
    std::fs::write(bench.directory.path().join("google"), file.to_string()).unwrap();

    bench.server.at("/grant", good(json!({ "access_token": "topsecret-a", "expires_in": 3599 })));
    let list = |names: &[&str], next: &str| {
        let names: Vec<Json> = names.iter().map(|name| json!({ "name": format!("domains/{name}") })).collect();
        good(json!({ "domains": names, "nextPageToken": next }))
    };
    bench.server.at("/v2/domains?pageSize=200", list(&["news.example"], "p/2"));
    bench.server.at("/v2/domains?pageSize=200&pageToken=p%2F2", list(&["t.example", "stranger.example"], ""));
    let date = json!({ "year": 2026, "month": 11, "day": 21 });
    let stat = |metric: &str, value: Json| json!({ "metric": metric, "date": date, "value": value });
    let rows = json!({ "domainStats": [stat("low_ip_reputation", json!({ "doubleValue": 0.2 })), stat("spam_rate", json!({ "intValue": "0" }))] });
    for domain in ["news.example", "t.example", "stranger.example"] {
        bench.server.at(&postmaster::query_path(domain), good(rows.clone()));
    }
    bench.server.at(&postmaster::query_path("stranger.example"), reply(403, ""));
    let status =
        json!({ "complianceData": { "rowData": [{ "requirement": "SPF", "status": { "status": "NEEDS_WORK" } }] } });
    bench.server.at("/v2/domains/t.example/complianceStatus", good(status));

    let feed = bench.round().await;
    assert_eq!(feed.outcome, Some("ok"), "one domain may not be seen; the others were read: {}", feed.detail);
    assert_eq!(bench.server.asked("domainStats:query").len(), 3);
    let words = bench.words.lock().clone();
    let evidence: Vec<_> = words.iter().filter(|word| matches!(word, Word::Evidence(_))).collect();
    assert!(
        matches!(evidence[..], [Word::Evidence(Evidence::Reported { binding, until: Some(_), .. })] if binding.as_str() == "b"),
        "only who alone carries the domain: {evidence:#?}"
    );
    let told: Vec<_> = words
        .iter()
        .filter_map(|word| match word {
            Word::Event(fields) => fields.iter().find(|(name, _)| *name == "domain").map(|(_, domain)| domain.as_str()),
            Word::Evidence(_) => None,
        })
        .collect();
    assert_eq!(told, ["news.example", "t.example", "t.example"], "low_ip_reputation of both, and what needs work");

    // The claim is good for who it says, and signed by the key.
    let form = &bench.server.asked("/grant")[0].body;
    let claim = form.split("assertion=").nth(1).unwrap();
    let (signed, signature) = claim.rsplit_once('.').unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    public.verify(signed.as_bytes(), &oauth::from_base64(signature).unwrap()).unwrap();
    let claims: Json = serde_json::from_slice(&oauth::from_base64(signed.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(
        (claims["iss"].as_str(), claims["aud"].as_str()),
        (Some("r@p.example"), Some(format!("{}/grant", bench.server.url()).as_str()))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert!(
        bench
            .server
            .asked("domainStats")
            .iter()
            .all(|asked| asked.method == "POST" && asked.authorization == "Bearer topsecret-a")
    );
    assert!(!bench.everything_shown().contains("topsecret"));
}

#[tokio::test]
async fn an_authorised_user_of_google_is_known_by_the_refresh_token() {
    let bench = Bench::new(
        &POSTMASTER.replace("URL/grant", "URL/token").replace("carried_by", "domains = [\"t.example\"]\ncarried_by"),
    )
    .await;
    let file = json!({ "type": "authorized_user", "client_id": "c", "client_secret": "topsecret-c", "refresh_token": "topsecret-r0" });
    std::fs::write(bench.directory.path().join("google"), file.to_string()).unwrap();
    bench.server.at(&postmaster::query_path("t.example"), good(json!({})));
    let feed = bench.round().await;
    assert_eq!((feed.outcome, feed.states["a"]), (Some("no_data"), -1), "{}", feed.detail);
    assert!(bench.server.asked("/token")[0].body.contains("client_secret=topsecret-c"));
    assert!(bench.server.asked("pageSize").is_empty(), "the domains are configured");
}

#[tokio::test]
async fn fields_that_nobody_knows_are_counted_once() {
    let bench = Bench::new(SNDS).await;
    let row = json!({ "ip": "192.0.2.11", "filterResult": "GREEN", "newScore": 3 });
    bench.server.at(STATUS, good(json!([])));
    bench.server.at(&day(21), good(json!([row.clone(), row])));
    let feed = bench.round().await;
    assert_eq!((feed.unknown_fields, &feed.unknown[..]), (1, &["newScore".to_owned()][..]));
    assert_eq!(bench.round_after(HOUR * 7).await.unknown_fields, 1);
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let (url, _counted) = stalling().await;
    let bench = Bench::new(&VENDOR.replace("URL", &url)).await;
    assert_eq!(bench.round().await.outcome, Some("timeout"));
}

#[tokio::test]
async fn a_stop_ends_every_task_also_while_an_answer_is_awaited() {
    let (url, mut counted) = stalling().await;
    let bench = Bench::new(&VENDOR.replace("URL", &url).replace("300ms", "1h")).await;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(Arc::new(bench.feeds).run(stopped));
    counted.wait_for(|count| *count > 0).await.unwrap();
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(20), running).await.expect("it stops").unwrap();
}
