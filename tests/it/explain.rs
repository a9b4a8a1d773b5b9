//! `remuda explain` on a running relay: why a message waits, why another leaves, and which line set a limit.

use std::process::{Command, Output};
use std::time::Duration;

use remuda::demo::sink::{Act, Rule};
use remuda::outcome::Stage;
use serde_json::Value;

use crate::support::{
    Relay, Settings, all_accepted, array, day_with_room, local, moment, number, sink, text, wait_for_messages,
    wait_until,
};

fn remuda(arguments: &[&str]) -> Output {
    tokio::task::block_in_place(|| Command::new(env!("CARGO_BIN_EXE_remuda")).args(arguments).output().unwrap())
}

/// What `remuda explain` says of the running relay.
fn shown(relay: &Relay, arguments: &[&str]) -> String {
    let admin = relay.admin().to_string();
    let done = remuda(&[&["explain"], arguments, &["--admin", &admin]].concat());
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The one entry that waits for `reason`, as the queue lists it.
async fn waiting_for(relay: &Relay, reason: &str) -> Value {
    wait_until(&format!("an entry that waits for {reason}"), async || {
        relay.queue().await.into_iter().find(|entry| entry["reason"] == reason)
    })
    .await
}

async fn explained(relay: &Relay, path: &str) -> Value {
    let answer: Value = serde_json::from_str(&relay.get(path).await).unwrap();
    array(&answer, "/entries")[0].clone()
}

/// Verdict of the first binding.
fn verdict(entry: &Value) -> &str {
    text(entry, "/bindings/0/verdict")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_waits_for_a_cap_is_explained_with_the_next_day_and_the_line() {
    let sink = sink().await;
    let (day, next_day) = day_with_room();
    let settings = Settings::new()
        .set("server", "day", &day)
        .binding("small", 11, "daily_cap = 3")
        .pool("active = [\"small\"]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(4).run().await);
    wait_for_messages(&sink, 3).await;
    let entry = waiting_for(&relay, "cap").await;
    let id = text(&entry, "/id");
    let explained = explained(&relay, &format!("/api/v1/explain/{id}?limits=true")).await;
    assert_eq!((verdict(&explained), text(&explained, "/waits_for")), ("cap", "cap"));
    assert_eq!(number(&explained, "/bindings/0/left_today"), 0);
    assert_eq!(moment(&explained["bindings"][0]["until"]), next_day);
    let limits = array(&explained, "/bindings/0/limits");
    let cap = limits.iter().find(|limit| limit["name"] == "daily_cap (total)").unwrap();
    assert_eq!((text(cap, "/value"), text(cap, "/key")), ("3", "binding.small.daily_cap"));
    let config = std::fs::read_to_string(text(cap, "/at").rsplit_once(':').unwrap().0).unwrap();
    let line: usize = text(cap, "/at").rsplit_once(':').unwrap().1.parse().unwrap();
    assert_eq!(config.lines().nth(line - 1), Some("daily_cap = 3"));

    let said = shown(&relay, &[id]);
    assert!(said.contains("; waits: cap, until ") && said.contains("daily cap of the binding used up"), "{said}");
    assert!(shown(&relay, &[id, "--limits"]).contains("binding.small.daily_cap"));
    // The id of the message does as well.
    let message = text(&explained, "/message");
    assert!(shown(&relay, &[message]).contains(&format!("entry {id}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_waits_for_a_suspension_is_explained_with_its_reason_and_end() {
    let sink = sink().await;
    sink.block(local(11), "550 5.7.1 Service unavailable; client host blocked using our blocklist");
    let settings = Settings::new().binding("sick", 11, "").pool("active = [\"sick\"]").to(sink.addr());
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(6).run().await);
    let entry = waiting_for(&relay, "route_suspended").await;
    let explained = explained(&relay, &format!("/api/v1/explain/{}", text(&entry, "/id"))).await;
    assert_eq!(verdict(&explained), "route_suspended");
    assert!(explained["bindings"][0]["until"].is_string(), "{explained:#}");
    let said = shown(&relay, &[text(&entry, "/id")]);
    assert!(said.contains("suspended at this destination: ip_blocked"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_waits_for_a_window_is_explained() {
    let sink = sink().await;
    let stuck = sink.add(Rule::at(Stage::EndOfData, Act::After(Duration::from_secs(600), Box::new(Act::Accept))));
    let settings = Settings::new()
        .binding("narrow", 11, "max_outbound_connections = 1")
        .pool("active = [\"narrow\"]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(2).run().await);
    let entry = waiting_for(&relay, "window_full").await;
    let explained = explained(&relay, &format!("/api/v1/explain/{}", text(&entry, "/id"))).await;
    assert_eq!(verdict(&explained), "window_full");
    assert!(shown(&relay, &[text(&entry, "/id")]).contains("all its connections are in use"));
    let flying = waiting_for(&relay, "in_flight").await;
    assert!(shown(&relay, &[text(&flying, "/id")]).contains("an attempt is under way"));
    sink.remove(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_might_come_is_explained_before_it_comes_and_then_leaves_as_said() {
    let sink = sink().await;
    let settings = Settings::new()
        .binding("first", 11, "suspend_delivery = true")
        .binding("second", 12, "")
        .binding("spare", 13, "")
        .pool("active = [\"first\", \"second\"]\nbackup = [[\"spare\"]]")
        .provider("bigmail", "sink.test", sink.addr());
    let relay = Relay::start(&settings).await;
    let path = "/api/v1/explain?tenant=acme&to=someone@sink.test";
    let explained = explained(&relay, path).await;
    let verdicts: Vec<&str> = array(&explained, "/bindings").iter().map(|said| text(said, "/verdict")).collect();
    assert_eq!(verdicts, ["operator_suspended", "eligible", "tier_closed"]);
    assert_eq!(text(&explained, "/provider"), "bigmail");
    let select = ["select", "--tenant", "acme", "--to", "sink.test"];
    let said = shown(&relay, &select);
    assert!(said.contains("would leave at once") && said.contains("backup 1"), "{said}");

    all_accepted(&relay.load(1).recipients(|_| vec!["someone@sink.test".into()]).run().await);
    wait_for_messages(&sink, 1).await;
    assert_eq!(sink.source(local(12)).messages, 1);

    // One that waits for its own retry could leave any moment.
    sink.add(Rule::reply(Stage::Rcpt, "451 4.2.0 not now"));
    all_accepted(&relay.load(1).recipients(|_| vec!["other@sink.test".into()]).run().await);
    let entry = waiting_for(&relay, "retry").await;
    let said = shown(&relay, &[text(&entry, "/id")]);
    assert!(said.contains("; waits: retry, until ") && said.contains("may carry it now"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_explained_is_refused_in_words() {
    let sink = sink().await;
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let relay = Relay::start(&settings).await;
    let admin = relay.admin().to_string();
    for (arguments, words) in [
        (&["0000000000001"][..], "no such entry or message in the queue"),
        (&["no id"], "is no id of an entry or message"),
        (&["select", "--tenant", "nobody", "--to", "sink.test"], "no tenant \"nobody\" is configured"),
        (&["select", "--tenant", "acme", "--stream", "x", "--to", "sink.test"], "has no stream \"x\": it has default"),
        (&["select", "--tenant", "acme", "--pool", "x", "--to", "sink.test"], "no pool \"x\" is configured"),
        (&["select", "--tenant", "acme", "--to", "a..b"], "is neither a domain nor an address"),
        (&["limits", "b"], "no binding \"b\" is configured"),
        (&["limits", "a", "gmial"], "no provider \"gmial\" is configured"),
    ] {
        let done = remuda(&[&["explain"], arguments, &["--admin", &admin]].concat());
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains(words), "{arguments:?}: {said}");
    }
    assert!(shown(&relay, &["limits", "a"]).contains("max_outbound_connections (route)"));
}
