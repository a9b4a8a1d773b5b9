//! Replies that no rule knows: kept and counted over restarts, shown without anybody's address, safe to look at.

use std::process::{Command, Output};

use remuda::demo::sink::{Rule, Sink};
use remuda::outcome::Stage;
use remuda::outcome::classify::{Classifier, Context};
use remuda::outcome::rules::RuleFile;
use serde_json::Value;

use crate::support::{Relay, Settings, all_accepted, array, number, sink, text, wait_until};

/// The recipients are told apart by these; nobody else must see them.
const LOCAL_PARTS: [&str; 3] = ["ann.quux", "bob-quux", "carl_quux"];
const HOSTILE: &str = "frob\u{1b}[2Jnicated\u{202e} by policy 4XyZ1k2b9cz\u{9b}31m";

fn remuda(arguments: &[&str]) -> Output {
    tokio::task::block_in_place(|| Command::new(env!("CARGO_BIN_EXE_remuda")).args(arguments).output().unwrap())
}

fn shown(arguments: &[&str]) -> String {
    let done = remuda(arguments);
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn settings(sink: &Sink) -> Settings {
    Settings::new().binding("mta1", 11, "").pool("active = [\"mta1\"]").provider("bigmail", "sink.test", sink.addr())
}

/// A sink that refuses each recipient in words no rule knows, with the recipient's name in them.
async fn refusing() -> Sink {
    let sink = sink().await;
    for (n, local) in LOCAL_PARTS.iter().enumerate() {
        let reply =
            format!("550 5.7.0 Frobnication of {local} <{local}@sink.test> by mx{n}.sink.test failed, id 4B2A31F8E{n}");
        sink.add(Rule::reply(Stage::Rcpt, reply).to_local(*local));
    }
    sink
}

async fn send(relay: &Relay) {
    let load = relay.load(1).recipients(|_| LOCAL_PARTS.map(|local| format!("{local}@sink.test")).to_vec());
    all_accepted(&load.run().await);
}

async fn unmatched(relay: &Relay) -> Value {
    serde_json::from_str(&relay.get("/api/v1/unmatched").await).unwrap()
}

async fn wait_for_count(relay: &Relay, count: u64) -> Value {
    wait_until(&format!("{count} replies that no rule knew"), async || {
        let seen = unmatched(relay).await;
        let sum: u64 = array(&seen, "/replies").iter().map(|reply| number(reply, "/count")).sum();
        (sum >= count).then_some(seen)
    })
    .await
}

fn names_nobody(what: &str) {
    for local in LOCAL_PARTS {
        assert!(!what.to_ascii_lowercase().contains(local), "{local} in\n{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_no_rule_knows_is_shown_once_with_its_count_over_restarts() {
    let sink = refusing().await;
    // Reports to the sender, too, have somewhere to go.
    let settings = settings(&sink).to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    send(&relay).await;
    let seen = wait_for_count(&relay, 3).await;
    assert_eq!(number(&seen, "/total"), 1, "{seen:#}");
    let template = "Frobnication of <address> <address> by <host> failed, id <id>";
    assert_eq!(text(&seen, "/replies/0/template"), template, "{seen:#}");
    let is = ["provider", "stage", "binding"].map(|key| text(&seen, &format!("/replies/0/{key}")).to_owned());
    assert_eq!(is, ["bigmail", "rcpt", "mta1"]);
    let metrics = relay.metrics().await;
    assert!(metrics.contains("remuda_unmatched_replies_total{class=\"5\",provider=\"bigmail\"} 3"), "{metrics}");

    relay.wait_until_empty().await;
    assert!(relay.term().await.success());
    relay.restart(&settings).await;
    let again = unmatched(&relay).await;
    assert_eq!(again, seen, "as it was before the restart");
    send(&relay).await;
    wait_for_count(&relay, 6).await;

    let admin = relay.admin().to_string();
    let table = shown(&["events", "--kind", "unmatched", "--admin", &admin]);
    assert_eq!(table.matches(template).count(), 1, "{table}");
    assert!(table.lines().any(|line| line.trim_start().starts_with("6  550 5.7.0")), "{table}");
    let json = shown(&["events", "--kind", "unmatched", "--json", "--admin", &admin]);
    let stubs = shown(&["events", "--rule-stub", "--admin", &admin]);
    for output in [&table, &json, &stubs] {
        names_nobody(output);
    }
    names_nobody(&seen.to_string());

    let classifier = Classifier::with_rules(&[RuleFile { name: "own.toml", text: &stubs }]).unwrap();
    let reply = remuda::outcome::Reply {
        code: 550,
        enhanced: remuda::outcome::EnhancedCode::lead(b"5.7.0").map(|(code, _)| code),
        text: "Frobnication of eve <eve@sink.test> by mx9.sink.test failed, id 7C2A31F8E5".into(),
    };
    let outcome = classifier.reply(&reply, Context { stage: Stage::Rcpt, provider: None, own: &[] });
    assert!(outcome.rule.starts_with("own."), "the stub knows the next one: {}", outcome.rule);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_blames_nobody_is_kept_and_counted_too() {
    let sink = sink().await;
    sink.add(Rule::reply(Stage::Rcpt, "550 5.7.1 Policy violation"));
    let relay = Relay::start(&settings(&sink)).await;
    send(&relay).await;
    let seen = wait_for_count(&relay, 3).await;
    let is = ["sample", "cause", "rule"].map(|key| text(&seen, &format!("/replies/0/{key}")).to_owned());
    assert_eq!(is, ["550 5.7.1 Policy violation", "unknown", "words.blame_nobody"], "{seen:#}");
    let metrics = relay.metrics().await;
    assert!(metrics.contains("remuda_unmatched_replies_total{class=\"5\",provider=\"bigmail\"} 3"), "{metrics}");
    let stubs = shown(&["events", "--rule-stub", "--admin", &relay.admin().to_string()]);
    assert!(stubs.contains("changes nothing") && stubs.contains("[[rule]]"), "{stubs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_says_why_a_route_is_out_with_nothing_raw() {
    let sink = sink().await;
    let refusal = format!("554 5.7.1 client host [127.0.0.11] blocked using zen.spamhaus.org {HOSTILE}");
    sink.add(Rule::reply(Stage::Rcpt, refusal));
    let relay = Relay::start(&settings(&sink)).await;
    send(&relay).await;
    let admin = relay.admin().to_string();
    wait_until("the route is out", async || shown(&["status", "--admin", &admin]).contains("at bigmail").then_some(()))
        .await;
    for arguments in [&["status", "--admin", &admin][..], &["status", "--admin", &admin, "--json"]] {
        let output = shown(arguments);
        assert!(output.contains("blocked using zen.spamhaus.org"), "{output}");
        let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!output.contains(odd), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_with_escape_sequences_stays_one_line() {
    let sink = sink().await;
    sink.add(Rule::reply(Stage::Rcpt, format!("550-5.7.0 {HOSTILE}\n550 5.7.0 attempt: disposition=delivered")));
    let relay = Relay::start(&settings(&sink)).await;
    send(&relay).await;
    let seen = wait_for_count(&relay, 3).await;
    assert_eq!(number(&seen, "/total"), 1, "{seen:#}");
    let admin = relay.admin().to_string();
    for arguments in [["--kind", "unmatched"], ["--kind=unmatched", "--json"], ["--kind=unmatched", "--rule-stub"]] {
        let output = shown(&[&["events", "--admin", &admin], arguments.as_slice()].concat());
        assert!(output.contains("disposition=delivered"), "{output}");
        let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!output.contains(odd), "{output:?}");
        assert!(!output.lines().any(|line| line.trim_start().starts_with("attempt:")), "{output}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_kinds_and_limits_are_told_the_right_ones() {
    let sink = sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    for (path, says) in [
        ("/api/v1/events?kind=nonsense", "health, note, listing, report"),
        ("/api/v1/events?limit=0", "1 to 10000"),
        ("/api/v1/unmatched?limit=x", "1 to 10000"),
    ] {
        let (status, body) = relay.ask(path).await;
        assert_eq!(status, "400", "{path}: {body}");
        assert!(body.contains(says), "{path}: {body}");
    }
    assert_eq!(relay.get("/api/v1/events?kind=health&limit=3").await, "{\"events\":[]}");

    let admin = relay.admin().to_string();
    let failed = |arguments: &[&str]| {
        let done = remuda(&[&["events", "--admin", &admin], arguments].concat());
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, said) = failed(&["--kind", "nonsense"]);
    assert!(
        code == Some(2)
            && said.contains("health, note, listing, report, warmup, feed, spf, audit, config, access, unmatched"),
        "{said}"
    );
    let (code, said) = failed(&["--kind", "health", "--rule-stub"]);
    assert!(code == Some(2) && said.contains("--kind unmatched"), "{said}");
    let (code, said) = failed(&["--limit", "0"]);
    assert!(code == Some(1) && said.contains("1 to 10000"), "{said}");
    assert!(shown(&["events", "--admin", &admin]).contains("nothing happened"));
    drop(relay);
    let (code, said) = failed(&[]);
    assert!(code == Some(1) && said.contains("is the relay running"), "{said}");
}
