//! What an operator does to mail that waits, through the real program: its API and its command line.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use remuda::demo::sink::{Rule, Sink, Taken};
use remuda::outcome::Stage;
use serde_json::{Value, json};

use crate::support::{
    PATIENCE, Relay, Settings, all_accepted, array, arrived_once_each, keeping_sink, local, number, sink, text,
    wait_for_messages, wait_until,
};

/// What `remuda queue` did, without a terminal.
fn remuda(relay: &Relay, arguments: &[&str]) -> Output {
    let admin = relay.admin().to_string();
    let all = [&["queue"], arguments, &["--admin", &admin]].concat();
    tokio::task::block_in_place(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remuda"));
        command.env("REMUDA_TOKEN", relay.token().unwrap_or_default());
        command.args(all).stdin(Stdio::null()).output().unwrap()
    })
}

/// The same where it has to succeed: what it printed.
fn done(relay: &Relay, arguments: &[&str]) -> String {
    let done = remuda(relay, arguments);
    let (out, error) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{arguments:?}: {out}{error}");
    out.into_owned()
}

async fn post(relay: &Relay, verb: &str, body: Value) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1/queue/{verb}", relay.admin());
    let answer = client.post(url).bearer_auth(relay.token().unwrap_or_default()).json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn listed(relay: &Relay, query: &str) -> Value {
    serde_json::from_str(&relay.get(&format!("/api/v1/queue?{query}")).await).unwrap()
}

/// Waits until so many entries wait for `reason`.
async fn wait_for(relay: &Relay, reason: &str, count: u64) {
    let begun = Instant::now();
    loop {
        if number(&listed(relay, &format!("reason={reason}")).await, "/total") == count {
            return;
        }
        let all = begun.elapsed() > PATIENCE;
        assert!(!all, "not {count} that wait for {reason}: {:#}", listed(relay, "").await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether it waits since its binding was blamed: its route is out, or it avoids that binding itself. Who was refused before
/// the route was out may do either.
fn is_blame(reason: &Value) -> bool {
    reason["reason"] == "route_suspended" || reason["reason"] == "excluded"
}

/// Waits until `count` entries are all there is, and all of them were refused for their binding's sake.
async fn wait_until_refused(relay: &Relay, count: u64) {
    wait_until("all are refused", async || {
        let list = listed(relay, "").await;
        (number(&list, "/total") == count && array(&list, "/reasons").iter().all(is_blame)).then_some(())
    })
    .await;
}

/// Pools `main` of a (127.0.0.11) and `spare` of b (127.0.0.12); what is deferred waits long.
fn settings() -> Settings {
    Settings::new()
        .set("queue", "retry_first", "\"20m\"")
        .set("queue", "retry_max", "\"1h\"")
        .set("window", "adaptive", "false")
        .binding("a", 11, "")
        .binding("b", 12, "")
        .pool("active = [\"a\"]")
        .block("[pool.spare]\nactive = [\"b\"]\n".into())
}

fn greylist(sink: &Sink) {
    sink.add(Rule::reply(Stage::Rcpt, "451 4.7.1 Greylisting in action, come back later"));
}

/// accepted + recovered + DSNs = delivered + bounced + expired + waiting + stranded + set aside
async fn adds_up(relay: &Relay) {
    let status = relay.status().await;
    let count = |name: &str| number(&status, &format!("/counts/{name}"));
    let taken = count("accepted_recipients") + count("recovered_recipients") + count("dsn");
    let ended = count("delivered") + count("bounced") + count("expired");
    let kept = number(&status, "/queue/recipients") + count("stranded_recipients") + count("set_aside_recipients");
    assert_eq!(taken, ended + kept, "{:#}", status["counts"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_is_filtered_by_all_conditions_together_and_paged() {
    let sink = sink().await;
    greylist(&sink);
    let settings = settings()
        .set("tenant.acme", "match", "{ sender_domain = [\"example.test\"] }")
        .set("tenant.bolt", "match", "{ sender_domain = [\"bolt.test\"] }")
        .set("tenant.bolt", "pools", "{ default = \"spare\" }")
        .provider("bigmail", "big.test", sink.addr())
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    let to = |n: u64| vec![if n < 2 { format!("u{n}@mail.sink.test") } else { format!("u{n}@big.test") }];
    let from = |n: u64| if n == 3 { "x@bolt.test".to_owned() } else { "x@example.test".to_owned() };
    all_accepted(&relay.load(4).sessions(1).recipients(to).reverse_path(from).run().await);
    wait_for(&relay, "retry", 4).await;
    let first = text(&listed(&relay, "limit=1").await, "/entries/0/id").to_owned();
    let message = text(&listed(&relay, "limit=1").await, "/entries/0/message").to_owned();
    for (query, total) in [
        ("", 4),
        ("tenant=acme", 3),
        ("tenant=nobody", 0),
        ("pool=spare", 1),
        ("destination=bigmail", 2),
        ("domain=big.test", 2),
        ("domain=*.sink.test", 2),
        ("domain=sink.test", 0),
        ("older_than=1ms", 4),
        ("older_than=1h", 0),
        ("reason=retry", 4),
        ("reason=cap", 0),
        ("reply=GREYlisting", 4),
        ("reply=mailbox%20full", 0),
        ("tenant=acme&destination=bigmail&reason=retry&reply=come", 1),
        (&format!("id={first}"), 1),
        (&format!("id={message}"), 1),
        (&format!("id={first}&tenant=bolt"), 0),
    ] {
        let list = listed(&relay, query).await;
        assert_eq!(number(&list, "/total"), total, "{query}");
        assert_eq!(array(&list, "/entries").len() as u64, total, "{query}");
    }
    let list = listed(&relay, "limit=3").await;
    assert_eq!((array(&list, "/entries").len(), number(&list, "/total")), (3, 4));
    assert_eq!(list["reasons"], json!([{ "reason": "retry", "count": 4 }]));
    let rest = listed(&relay, &format!("limit=3&after={}", text(&list, "/after"))).await;
    assert_eq!((array(&rest, "/entries").len(), number(&rest, "/total"), rest["after"].is_null()), (1, 4, true));
    let entry = &list["entries"][0];
    assert_eq!((text(entry, "/stream"), text(entry, "/domain")), ("default", "mail.sink.test"));
    assert!(text(entry, "/last_reply").contains("Greylisting") && entry["next_at"].is_string(), "{entry:#}");

    let table = done(&relay, &["list", "--tenant", "acme", "--destination", "bigmail"]);
    assert!(
        table.contains("big.test") && table.contains("Greylisting in action") && table.contains("1 entries: 1 retry")
    );
    let shown = done(&relay, &["show", &message]);
    for words in ["<u0@mail.sink.test>", "from        <x@example.test>", "prefers     a for", "eligible"] {
        assert!(shown.contains(words), "no {words:?} in\n{shown}");
    }
    for (query, words) in
        [("domain=a..b", "write a name"), ("older_than=soon", "older_than"), ("limit=0", "limit"), ("x=1", "x")]
    {
        let (status, body) = relay.ask(&format!("/api/v1/queue?{query}")).await;
        assert!(status == "400" && body.contains(words), "{query}: {status} {body}");
    }
    let (status, _) = relay.ask("/api/v1/queue/0000000000001").await;
    assert_eq!(status, "404");
    assert_eq!(remuda(&relay, &["show", "0000000000001"]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_goes_at_once_and_says_what_stands_in_its_way() {
    let sink = sink().await;
    greylist(&sink);
    let relay = Relay::start(&settings().to(sink.addr())).await;
    all_accepted(&relay.load(1).run().await);
    wait_for(&relay, "retry", 1).await;
    sink.clear();
    assert!(done(&relay, &["retry", "--reply", "greylisting"]).contains("1 of 1 entries done"));
    wait_for_messages(&sink, 1).await;
    relay.wait_until_empty().await;

    sink.block(local(11), "550 5.7.1 Service unavailable; client host blocked using our blocklist");
    all_accepted(&relay.load(2).first(1).run().await);
    wait_until_refused(&relay, 2).await;
    let (status, answer) = post(&relay, "retry", json!({ "all": true, "confirm": 2 })).await;
    assert_eq!((status, number(&answer, "/done")), (200, 2), "{answer:#}");
    let reasons = array(&answer, "/reasons");
    let said: u64 = reasons.iter().map(|reason| number(reason, "/count")).sum();
    assert!(said == 2 && reasons.iter().all(is_blame), "{answer:#}");
    assert_eq!(sink.messages(), 1);
    adds_up(&relay).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_held_after_kill_9_and_leaves_once_when_released() {
    let sink = sink().await;
    greylist(&sink);
    let settings = settings().set("queue", "retry_first", "\"100ms\"").set("queue", "retry_max", "\"200ms\"");
    let settings = settings.to(sink.addr());
    let mut relay = Relay::start(&settings).await;
    all_accepted(&relay.load(3).run().await);
    // Attempts come and go all the while: where one is on the wire the hold follows it.
    done(&relay, &["hold", "--all", "--reason", "ask the customer first", "--yes"]);
    wait_for(&relay, "held", 3).await;
    sink.clear();
    relay.kill9();
    relay.restart(&settings).await;
    wait_for(&relay, "held", 3).await;
    let list = listed(&relay, "reason=held").await;
    let held = &list["entries"][0]["held"];
    assert_eq!((text(held, "/reason"), held["until"].is_null()), ("ask the customer first", true));
    assert!(!text(held, "/actor").is_empty());
    let tried = remuda(&relay, &["retry", "--all", "--yes"]);
    assert_eq!(tried.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&tried.stdout).contains("release them first"));
    all_accepted(&relay.load(1).first(3).run().await);
    wait_for_messages(&sink, 1).await;
    assert_eq!(sink.messages(), 1, "only what is not held");
    done(&relay, &["release", "--reason-is", "held", "--yes"]);
    relay.wait_until_empty().await;
    arrived_once_each(&sink, 0..4);
    adds_up(&relay).await;
    let events = relay.get("/api/v1/events?kind=audit").await;
    assert!(events.contains("queue.release") && events.contains("waits for held"), "{events}");
}

fn reports(sink: &Sink) -> Vec<Taken> {
    sink.log().into_iter().filter(|taken| taken.reverse_path.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounce_tells_the_sender_that_the_operator_ended_it_and_why() {
    let sink = keeping_sink().await;
    sink.add(Rule::reply(Stage::Rcpt, "451 4.7.1 Greylisting in action").to_domain("sink.test"));
    let relay = Relay::start(&settings().to(sink.addr())).await;
    let recipients = |n: u64| vec![format!("u{n}@sink.test"), format!("v{n}@sink.test")];
    all_accepted(&relay.load(2).recipients(recipients).run().await);
    wait_for(&relay, "retry", 2).await;
    let ids: Vec<String> = relay.queue().await.iter().map(|entry| text(entry, "/id").to_owned()).collect();
    let without = remuda(&relay, &["bounce", &ids[0]]);
    assert!(String::from_utf8_lossy(&without.stderr).contains("say why"), "{without:?}");
    done(&relay, &["bounce", &ids[0], "--reason", "sent by mistake, the customer says"]);
    wait_for_messages(&sink, 1).await;
    let reports_seen = reports(&sink);
    assert_eq!(reports_seen[0].recipients, ["sender@example.test".into()]);
    let body = String::from_utf8_lossy(reports_seen[0].body.as_deref().unwrap()).into_owned();
    let plain = body.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(body.matches("Status: 5.7.0").count(), 2, "{body}");
    assert!(
        plain.contains("operator of this relay has ended its delivery: sent by mistake, the customer says"),
        "{body}"
    );
    assert!(plain.contains("451 4.7.1 Greylisting in action"), "what the receiver had said: {body}");
    done(&relay, &["bounce", &ids[1], "--reason", "spam run", "--silent"]);
    relay.wait_until_empty().await;
    let status = relay.status().await;
    let counts = ["bounced", "dsn", "expired"].map(|count| number(&status, &format!("/counts/{count}")));
    assert_eq!((counts, reports(&sink).len()), ([4, 1, 0], 1));
    adds_up(&relay).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_moves_from_a_blocked_pool_and_from_one_that_is_gone() {
    let sink = sink().await;
    sink.block(local(11), "550 5.7.1 Service unavailable; client host blocked using our blocklist");
    let mut relay = Relay::start(&settings().to(sink.addr())).await;
    all_accepted(&relay.load(6).run().await);
    wait_until_refused(&relay, 6).await;
    let ids: Vec<String> = relay.queue().await.iter().map(|entry| text(entry, "/id").to_owned()).collect();
    let elsewhere = remuda(&relay, &["move", &ids[0], "--to", "nowhere", "--reason", "x"]);
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("no pool"), "{elsewhere:?}");
    let first: Vec<&str> = ids[..2].iter().map(String::as_str).collect();
    done(&relay, &[&["move"], &first[..], &["--to", "spare", "--reason", "a is blocked", "--yes"]].concat());
    wait_for_messages(&sink, 2).await;
    assert_eq!(sink.source(local(12)).messages, 2);
    // A kill before that is on disk would send them again, as SMTP has it.
    wait_until("both are off the disk", async || {
        (number(&relay.status().await, "/counts/delivered") == 2).then_some(())
    })
    .await;

    relay.kill9();
    let without = Settings::new()
        .set("tenant.acme", "pools", "{ default = \"spare\" }")
        .binding("b", 12, "")
        .block("[pool.spare]\nactive = [\"b\"]\n".into())
        .to(sink.addr());
    relay.restart(&without).await;
    wait_for(&relay, "stranded", 4).await;
    assert_eq!(number(&relay.status().await, "/counts/stranded_recipients"), 4);
    adds_up(&relay).await;
    let (status, answer) = post(&relay, "retry", json!({ "all": true, "confirm": 4 })).await;
    assert_eq!((status, number(&answer, "/stranded")), (200, 4));
    let list = listed(&relay, "").await;
    let messages: Vec<&str> = array(&list, "/entries").iter().map(|entry| text(entry, "/message")).collect();
    let ids = json!([messages[0], messages[1], "0000000000001"]);
    let (_, answer) = post(&relay, "hold", json!({ "ids": ids, "dry_run": true })).await;
    assert_eq!((number(&answer, "/matched"), &answer["unknown"]), (2, &json!(["0000000000001"])));
    done(&relay, &["move", "--pool", "main", "--to", "spare", "--reason", "main is gone", "--yes"]);
    relay.wait_until_empty().await;
    arrived_once_each(&sink, 0..6);
    assert_eq!(number(&relay.status().await, "/counts/stranded_recipients"), 0);
    adds_up(&relay).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_move_while_attempts_run_and_each_arrives_once() {
    let sink = sink().await;
    let settings = settings()
        .set("queue", "max_attempts_in_flight", "40")
        .binding("slow", 13, "rate_limit = \"40/s\"")
        .block("[pool.slow]\nactive = [\"slow\"]\n".into())
        .set("tenant.acme", "pools", "{ default = \"slow\" }");
    let relay = Relay::start(&settings.to(sink.addr())).await;
    all_accepted(&relay.load(2_000).size(600).run().await);
    wait_for_messages(&sink, 20).await;
    let (status, answer) = post(
        &relay,
        "move",
        json!({
            "filter": { "pool": "slow" }, "to": "spare", "reason": "too slow", "confirm": 2_000,
        }),
    )
    .await;
    assert_eq!(status, 200, "{answer:#}");
    let [matched, done, wire, gone] =
        ["matched", "done", "on_the_wire", "gone"].map(|count| number(&answer, &format!("/{count}")));
    assert_eq!(matched, done + wire + gone, "{answer:#}");
    assert!(done > 1_000, "{answer:#}");
    relay.wait_until_empty().await;
    arrived_once_each(&sink, 0..2_000);
    let moved = sink.source(local(12)).messages;
    assert!(moved >= done && moved <= done + wire, "{moved} from the new pool's binding, {done} moved");
    adds_up(&relay).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_happens_to_many_before_somebody_has_said_how_many() {
    let sink = sink().await;
    greylist(&sink);
    let relay = Relay::start(&settings().to(sink.addr())).await;
    all_accepted(&relay.load(5).run().await);
    wait_for(&relay, "retry", 5).await;
    let hold = |more: Value| {
        let mut body = json!({ "reason": "test" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, status, matched) in [
        (hold(json!({})), 400, None),
        (hold(json!({ "filter": { "tenant": "acme" } })), 409, Some(5)),
        (hold(json!({ "filter": { "tenant": "acme" }, "confirm": 4 })), 409, Some(5)),
        (hold(json!({ "filter": { "tennant": "acme" }, "confirm": 5 })), 422, None),
        (hold(json!({ "all": true, "to": "spare" })), 400, None),
        (hold(json!({ "all": true, "for": "soon" })), 400, None),
        (hold(json!({ "ids": ["0000000000001"] })), 404, None),
        (json!({ "all": true, "confirm": 5 }), 400, None),
        (hold(json!({ "all": true, "dry_run": true })), 200, Some(5)),
    ] {
        let (answered, answer) = post(&relay, "hold", body.clone()).await;
        assert_eq!(answered, status, "{body}: {answer}");
        assert_eq!(answer["matched"].as_u64(), matched, "{body}: {answer}");
    }
    let refused = remuda(&relay, &["hold", "--all", "--reason", "test"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("5 entries match"), "{refused:?}");
    assert!(done(&relay, &["hold", "--all", "--dry-run"]).contains("hold of 5 entries; nothing was done"));
    assert_eq!(number(&listed(&relay, "reason=held").await, "/total"), 0);
    // What comes after it was counted is not meant.
    let (_, counted) = post(&relay, "hold", json!({ "all": true, "dry_run": true })).await;
    all_accepted(&relay.load(1).first(5).run().await);
    let body = json!({ "all": true, "reason": "test", "confirm": 5, "until": counted["until"] });
    let (status, answer) = post(&relay, "hold", body).await;
    assert_eq!((status, number(&answer, "/matched"), number(&answer, "/done")), (200, 5, 5), "{answer}");
    done(&relay, &["release", "--reason-is", "held", "--reason", "counted", "--yes"]);
    wait_for(&relay, "retry", 6).await;
    let answer: Value =
        serde_json::from_str(&done(&relay, &["hold", "--all", "--reason", "test", "--yes", "--for", "2h", "--json"]))
            .unwrap();
    assert_eq!((number(&answer, "/done"), number(&answer, "/matched")), (6, 6));
    assert_eq!(number(&listed(&relay, "reason=held").await, "/total"), 6);
    assert!(listed(&relay, "").await["entries"][0]["held"]["until"].is_string());
}
