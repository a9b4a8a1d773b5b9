//! What an operator does while the relay runs, by the commands an operator types: what follows from it on the wire, over a
//! restart, and in the log of acts.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{
    Relay, Settings, all_accepted, array, arrived_once_each, local, named, number, sink, text, wait_for_messages,
    wait_until,
};

/// `remuda ARGUMENTS --admin …` to its end.
fn remuda(relay: &Relay, arguments: &[&str]) -> Output {
    let (admin, token) = (relay.admin().to_string(), relay.state_dir().join("admin.token"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_remuda"));
    command.env_remove("REMUDA_TOKEN").args(arguments).args(["--admin", &admin]).arg("--token-file").arg(token);
    tokio::task::block_in_place(|| command.output().unwrap())
}

/// What it printed where it succeeded.
fn done(relay: &Relay, arguments: &[&str]) -> String {
    let output = remuda(relay, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The same as JSON.
fn json(relay: &Relay, arguments: &[&str]) -> Value {
    let text = done(relay, &[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What it said where it failed.
fn refused(relay: &Relay, arguments: &[&str]) -> String {
    let output = remuda(relay, arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// The events of this kind with this act (or what), oldest first.
async fn events(relay: &Relay, kind: &str, what: &str) -> Vec<Value> {
    let answer: Value = serde_json::from_str(&relay.get(&format!("/api/v1/events?kind={kind}")).await).unwrap();
    let is_meant = |event: &&Value| event["act"] == what || event["what"] == what;
    array(&answer, "/events").iter().filter(is_meant).cloned().collect()
}

/// `m1` and `m2` share `main`, `m3` stands by in `spare`.
fn settings(sink: &remuda::demo::sink::Sink) -> Settings {
    Settings::new()
        .binding("m1", 11, "")
        .binding("m2", 12, "")
        .binding("m3", 13, "")
        .pool("active = [\"m1\", \"m2\"]")
        .block("[pool.spare]\nactive = [\"m3\"]\n".into())
        .provider("bigmail", "sink.test", sink.addr())
}

async fn send(relay: &Relay, first: u64, count: u64) {
    all_accepted(&relay.load(count).first(first).run().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_is_suspended_and_resumed_by_hand() {
    let sink = sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    let answer = json(&relay, &["binding", "suspend", "m1", "--reason", "moved", "--for", "2h"]);
    assert_eq!((answer["changed"].as_bool(), array(&answer, "/warnings").len()), (Some(true), 0));
    send(&relay, 0, 20).await;
    wait_for_messages(&sink, 20).await;
    assert_eq!(sink.senders().into_iter().collect::<Vec<_>>(), [local(12)], "nothing leaves by m1");
    let status = relay.status().await;
    let m1 = named(&status, "/bindings", "m1");
    assert_eq!((text(m1, "/operator"), text(m1, "/reason")), ("suspended", "operator"));
    assert!(text(m1, "/evidence").contains("moved"), "{m1:#}");
    let event = events(&relay, "audit", "binding.suspend").await.pop().expect("an event");
    assert_eq!((text(&event, "/binding"), text(&event, "/reason")), ("m1", "moved"));
    assert!(!text(&event, "/actor").is_empty() && !text(&event, "/until").is_empty());

    let last = done(&relay, &["binding", "suspend", "m2", "--reason", "why not"]);
    assert!(last.contains("the last binding of pool main that can be used"), "{last}");
    let again = json(&relay, &["binding", "suspend", "m2", "--reason", "again"]);
    assert_eq!(again["changed"], false, "{again}");
    assert!(done(&relay, &["binding", "show", "m2"]).contains("health: suspended (operator)"));

    let back = done(&relay, &["binding", "resume", "m1", "--reason", "it is back", "--for", "1h"]);
    assert!(back.contains("m1 is resumed, and automation does not take it out again before"), "{back}");
    send(&relay, 20, 5).await;
    wait_for_messages(&sink, 25).await;
    assert_eq!(sink.source(local(11)).messages, 5);
    assert!(
        done(&relay, &["binding", "list"]).lines().any(|line| line.starts_with("m2") && line.contains("suspended"))
    );
    let nothing = json(&relay, &["binding", "resume", "m1", "--reason", "again"]);
    assert_eq!(nothing["changed"], false, "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_is_suspended_at_one_receiver_only() {
    let (big, other) = (sink().await, sink().await);
    let settings = settings(&big).provider("elsewhere", "other.test", other.addr());
    let relay = Relay::start(&settings).await;
    done(&relay, &["binding", "suspend", "m1", "--at", "bigmail", "--reason", "they asked for it"]);
    let to = |n: u64| vec![format!("u{n}@sink.test"), format!("u{n}@other.test")];
    all_accepted(&relay.load(20).recipients(to).run().await);
    wait_for_messages(&big, 20).await;
    wait_for_messages(&other, 20).await;
    assert_eq!(big.senders().into_iter().collect::<Vec<_>>(), [local(12)]);
    assert_eq!(other.senders().len(), 2);
    assert!(
        refused(&relay, &["binding", "suspend", "m1", "--at", "bigmial", "--reason", "x"]).contains("did you mean")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_asked_changes_nothing_and_leaves_no_event() {
    let sink = sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    let asked = |arguments: &[&str]| {
        let more = ["--reason", "to see", "--dry-run"];
        let answer = json(&relay, &arguments.iter().copied().chain(more).collect::<Vec<_>>());
        assert_eq!((&answer["changed"], &answer["dry_run"]), (&false.into(), &true.into()), "{arguments:?}: {answer}");
        assert!(text(&answer, "/message").starts_with("would be done"), "{answer}");
    };
    let as_the_file_says: [&[&str]; 6] = [
        &["binding", "suspend", "m1", "--for", "2h"],
        &["binding", "suspend", "m1", "--at", "bigmail"],
        &["binding", "drain", "m1"],
        &["binding", "remove", "m1"],
        &["binding", "set-cap", "m1", "7"],
        &["tenant", "hold", "acme"],
    ];
    as_the_file_says.into_iter().for_each(asked);
    let told = async || (relay.get("/api/v1/orders").await, relay.get("/api/v1/events?kind=audit").await);
    assert_eq!(told().await, ("{\"orders\":[]}".to_owned(), "{\"events\":[]}".to_owned()));
    for act in [&["binding", "suspend", "m1"][..], &["binding", "set-cap", "m1", "7"], &["tenant", "hold", "acme"]] {
        done(&relay, &[act, &["--reason", "really"]].concat());
    }
    let before = told().await;
    assert_eq!((before.0.matches("\"act\"").count(), before.1.matches("\"act\"").count()), (2, 3), "{before:?}");
    let back: [&[&str]; 3] =
        [&["binding", "resume", "m1"], &["binding", "set-cap", "m1", "default"], &["tenant", "release", "acme"]];
    back.into_iter().for_each(asked);
    assert_eq!(told().await, before);
    let status = relay.status().await;
    assert_eq!(text(named(&status, "/bindings", "m1"), "/operator"), "suspended");
    assert_eq!(named(&status, "/tenants", "acme")["held"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_answered_with_what_may_have_been_meant() {
    let sink = sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    for arguments in [
        vec!["binding", "show", "m11x"],
        vec!["binding", "drain", "M1", "--reason", "x"],
        vec!["pool", "show", "mian"],
        vec!["pool", "move-tier", "main", "M3", "0", "--reason", "x"],
        vec!["tenant", "hold", "amce", "--reason", "x"],
        vec!["tenant", "assign", "acme", "spaer", "--reason", "x"],
    ] {
        let said = refused(&relay, &arguments);
        assert!(said.contains("did you mean") || said.contains("known:"), "{arguments:?}: {said}");
    }
    assert!(refused(&relay, &["orders", "cancel", "7"]).contains("there is no order 7"));
    assert!(refused(&relay, &["binding", "suspend", "m1", "--reason", " "]).contains("reason is needed"));
    assert!(refused(&relay, &["binding", "suspend", "m1", "--reason", "x", "--for", "soon"]).contains("no duration"));
    assert!(done(&relay, &["orders"]).contains("no orders"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_was_set_stays_over_a_restart() {
    let sink = sink().await;
    let warm = Settings::new()
        .binding("m1", 11, "warmup = { ladder = \"standard\", stage = 1 }\ndaily_cap = 20_000")
        .binding("m2", 12, "")
        .pool("active = [\"m1\", \"m2\"]")
        .to(sink.addr());
    let mut relay = Relay::start(&warm).await;
    let said = done(&relay, &["binding", "set-stage", "m1", "4", "--reason", "warm elsewhere"]);
    assert!(said.contains("m1 stands on stage 4 (was 1): 5000 recipients today"), "{said}");
    relay.restart(&warm).await;
    let status = relay.status().await;
    let stage = named(&status, "/bindings", "m1");
    assert_eq!((number(stage, "/warmup/0/stage"), number(stage, "/warmup/0/allowance")), (4, 5_000));
    let clamped = json(&relay, &["binding", "set-stage", "m1", "99", "--reason", "all of it"]);
    assert!(text(&clamped, "/warnings/0").contains("is the last that holds it below its daily cap"), "{clamped}");
    assert!(refused(&relay, &["binding", "set-stage", "m2", "1", "--reason", "x"]).contains("has no warm-up"));
    assert_eq!(events(&relay, "audit", "binding.set-stage").await.len(), 2, "that of before the restart as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_in_use_is_removed_by_one_command_and_nothing_is_lost() {
    let sink = sink().await;
    let mut relay = Relay::start(&settings(&sink)).await;
    let load = relay.load(400).run();
    let (sent, said) = tokio::join!(load, async {
        wait_for_messages(&sink, 20).await;
        done(&relay, &["binding", "remove", "m1", "--reason", "the rack goes", "--wait", "60s"])
    });
    all_accepted(&sent);
    assert!(
        said.contains("m1 is removed") && said.contains("[binding.m1]") && said.contains("pool.main.active"),
        "{said}"
    );
    let by_m1 = sink.source(local(11)).messages;
    relay.wait_until_empty().await;
    arrived_once_each(&sink, 0..400);
    assert_eq!(sink.source(local(11)).messages, by_m1, "nothing leaves by it once it is removed");
    assert!(refused(&relay, &["binding", "show", "m1"]).contains("is gone by order 1"));

    let again = done(&relay, &["binding", "remove", "m1", "--reason", "once more"]);
    assert!(again.contains("m1 is removed already, by order 1"), "{again}");

    relay.restart(&settings(&sink)).await;
    let status = relay.status().await;
    let names: Vec<&str> = array(&status, "/bindings").iter().map(|b| text(b, "/name")).collect();
    assert_eq!(names, ["m2", "m3"]);
    send(&relay, 400, 10).await;
    relay.wait_until_empty().await;
    assert_eq!(sink.source(local(11)).messages, by_m1);
    let said = refused(&relay, &["binding", "remove", "m2", "--reason", "x"]);
    assert!(said.contains("m2 is the last binding that pool main has"), "{said}");

    done(&relay, &["orders", "cancel", "1"]);
    send(&relay, 410, 10).await;
    relay.wait_until_empty().await;
    assert!(sink.source(local(11)).messages > by_m1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_binding_takes_no_more_mail_until_it_is_resumed() {
    let sink = sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    let asked = json(&relay, &["binding", "drain", "m1", "--reason", "kernel", "--dry-run"]);
    assert_eq!((asked["dry_run"].as_bool(), asked["changed"].as_bool()), (Some(true), Some(false)));
    assert!(done(&relay, &["orders"]).contains("no orders"));
    done(&relay, &["binding", "drain", "m1", "--reason", "kernel", "--for", "1h"]);
    assert_eq!(text(named(&relay.status().await, "/bindings", "m1"), "/operator"), "draining");
    send(&relay, 0, 10).await;
    wait_for_messages(&sink, 10).await;
    assert_eq!(sink.source(local(11)).messages, 0);
    let said = refused(&relay, &["binding", "drain", "m2", "--reason", "x"]);
    assert!(said.contains("m2 is the last binding that pool main has"), "{said}");
    assert!(
        done(&relay, &["binding", "resume", "m1", "--reason", "done"]).contains("order 1 (drain m1) is taken back")
    );
    send(&relay, 10, 10).await;
    wait_for_messages(&sink, 20).await;
    assert!(sink.source(local(11)).messages > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_mail_waits_for_the_operator_and_goes_when_it_is_released() {
    let sink = sink().await;
    let mut relay = Relay::start(&settings(&sink)).await;
    let said = done(&relay, &["tenant", "hold", "acme", "--reason", "stolen password"]);
    assert!(said.contains("mail keeps its lifetime"), "{said}");
    send(&relay, 0, 5).await;
    wait_until("all of it waits for the operator", async || {
        let waits = relay.queue().await;
        (waits.len() == 5 && waits.iter().all(|entry| entry["reason"] == "tenant_held_by_operator")).then_some(())
    })
    .await;
    relay.restart(&settings(&sink)).await;
    assert_eq!(named(&relay.status().await, "/tenants", "acme")["held"], true);
    assert_eq!(sink.messages(), 0);
    done(&relay, &["tenant", "release", "acme", "--reason", "changed"]);
    relay.wait_until_empty().await;
    arrived_once_each(&sink, 0..5);
    let nothing = json(&relay, &["tenant", "release", "acme", "--reason", "again"]);
    assert_eq!(nothing["changed"], false);
    assert_eq!(events(&relay, "audit", "tenant.release").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_through_another_pool_and_an_order_ends_by_itself() {
    let sink = sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    done(&relay, &["tenant", "assign", "acme", "spare", "--reason", "a trial"]);
    send(&relay, 0, 5).await;
    wait_for_messages(&sink, 5).await;
    assert_eq!(sink.senders().into_iter().collect::<Vec<_>>(), [local(13)]);
    done(&relay, &["orders", "cancel", "1"]);
    done(&relay, &["binding", "set-cap", "m1", "1", "--reason", "slowly", "--for", "300ms"]);
    wait_until("the order has ended", async || {
        let ended = events(&relay, "config", "order_ended").await;
        ended.iter().any(|event| event["order"] == "2").then_some(())
    })
    .await;
    assert!(named(&relay.status().await, "/bindings", "m1")["cap"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_stands_in_another_tier() {
    let sink = sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    done(&relay, &["pool", "move-tier", "main", "m2", "1", "--reason", "rest"]);
    done(&relay, &["pool", "move-tier", "main", "m3", "0", "--weight", "3", "--reason", "help"]);
    let pool = json(&relay, &["pool", "show", "main"]);
    let tier = |n: usize| -> Vec<String> {
        let members = array(&pool, &format!("/tiers/{n}")).iter();
        members.map(|m| format!("{}×{}", text(m, "/binding"), number(m, "/weight"))).collect()
    };
    assert_eq!((tier(0), tier(1)), (vec!["m1×1".to_owned(), "m3×3".to_owned()], vec!["m2×1".to_owned()]));
    // One by one: of many at once each binding carries as many as it may have connections.
    for n in 0..20 {
        send(&relay, n, 1).await;
        relay.wait_until_empty().await;
    }
    assert_eq!((sink.source(local(12)).messages, sink.source(local(13)).messages), (0, 15));
    let already = json(&relay, &["pool", "move-tier", "main", "m2", "1", "--reason", "again"]);
    assert_eq!(already["changed"], false);
    assert!(refused(&relay, &["pool", "move-tier", "main", "m2", "9", "--reason", "x"]).contains("2 makes a new one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_beside_that_is_broken_stands_in_the_way_of_a_reload_and_of_no_order() {
    let sink = sink().await;
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.toml");
    std::fs::write(&rules, "").unwrap();
    let settings = settings(&sink).set("classify", "rules", &format!("[{:?}]", rules.display().to_string()));
    let mut relay = Relay::start(&settings).await;
    std::fs::write(&rules, "this is no rule").unwrap();
    relay.write(&settings);
    assert!(refused(&relay, &["reload"]).contains("rules.toml"));
    done(&relay, &["binding", "drain", "m1", "--reason", "listed", "--for", "500ms"]);
    send(&relay, 0, 5).await;
    wait_until("the order has ended", async || {
        let ended = events(&relay, "config", "order_ended").await;
        ended.iter().any(|event| event["order"] == "1").then_some(())
    })
    .await;
    done(&relay, &["tenant", "hold", "acme", "--reason", "stolen password"]);
    std::fs::write(&rules, "").unwrap();
    relay.reload(&settings).await;
}
