//! The line for each attempt, as an operator or a log shipper reads it.

use remuda::demo::sink::{Rule, Sink};
use remuda::message::{EntryId, MessageId};
use remuda::outcome::Stage;
use serde_json::Value;

use crate::support::{Relay, Settings, all_accepted, array, sink, text, wait_for_messages, wait_until};

/// One message deferred once and then delivered, one bounced.
async fn some_attempts(sink: &Sink, arguments: &'static [&'static str]) -> Relay {
    sink.unknown_user("nobody");
    sink.add(Rule::reply(Stage::Rcpt, "451 4.7.1 Greylisted, please come back").to_local("ann").times(1));
    let settings =
        Settings::new().binding("a", 11, "").pool("active = [\"a\"]").provider("big", "sink.test", sink.addr());
    let relay = Relay::start_with(&settings.to(sink.addr()), arguments).await;
    let to = ["ann", "nobody"];
    all_accepted(&relay.load(2).recipients(move |n| vec![format!("{}@sink.test", to[n as usize])]).run().await);
    // The one that came back, and the DSN.
    wait_for_messages(sink, 2).await;
    relay.wait_until_empty().await;
    relay
}

#[tokio::test]
async fn every_line_is_json_and_attempts_say_all_there_is_to_say() {
    let sink = sink().await;
    let relay = some_attempts(&sink, &["--log-format", "json"]).await;
    let log = relay.log();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    let attempts: Vec<Value> = lines.filter(|line: &Value| line["target"] == "attempt").collect();
    assert_eq!(attempts.len(), 4, "{attempts:#?}");
    for attempt in &attempts {
        for (key, value) in [("/tenant", "acme"), ("/stream", "default"), ("/pool", "main"), ("/binding", "a")] {
            assert_eq!(text(attempt, key), value, "{attempt:#}");
        }
        assert_eq!((text(attempt, "/local"), text(attempt, "/ehlo")), ("127.0.0.11", "a.test"));
        text(attempt, "/timestamp").parse::<jiff::Timestamp>().unwrap();
        text(attempt, "/id").parse::<EntryId>().unwrap();
        for key in ["to", "from", "destination", "remote", "rule", "reply", "next", "cause", "scope"] {
            assert!(attempt[key].is_string(), "no {key} in {attempt:#}");
        }
    }
    let with = |to: &str, disposition: &str| -> &Value {
        let is = |a: &&Value| a["to"] == to && a["disposition"] == disposition;
        attempts.iter().find(is).unwrap_or_else(|| panic!("no {disposition} {to} in {attempts:#?}"))
    };
    let deferred = with("ann@sink.test", "deferred");
    assert_eq!((text(deferred, "/cause"), text(deferred, "/destination")), ("greylisted", "big"), "{deferred:#}");
    assert_eq!(deferred["attempt"], 1);
    assert_eq!(text(deferred, "/rule"), "greylisted");
    let next: jiff::Timestamp = text(deferred, "/next").parse().unwrap();
    assert!(next > text(deferred, "/timestamp").parse().unwrap(), "{deferred:#}");
    assert_eq!(with("ann@sink.test", "delivered")["attempt"], 2);
    let message: MessageId = text(deferred, "/message").parse().unwrap();
    assert_eq!(text(with("ann@sink.test", "delivered"), "/message"), message.to_string(), "the same at each try");
    assert_ne!(text(deferred, "/id"), message.to_string());
    let bounced = with("nobody@sink.test", "bounced");
    assert_ne!(text(bounced, "/message"), message.to_string(), "another message");
    assert!(text(bounced, "/reply").starts_with("550 5.1.1"), "{bounced:#}");
    assert_eq!(text(bounced, "/next"), "");
    assert_eq!(text(with("sender@example.test", "delivered"), "/from"), "", "the DSN");
}

#[tokio::test]
async fn as_text_a_line_can_be_searched_by_key_and_value() {
    let sink = sink().await;
    let relay = some_attempts(&sink, &["--log-format", "text"]).await;
    let log = relay.log();
    let attempts: Vec<&str> = log.lines().filter(|line| line.contains(" attempt: ")).collect();
    assert_eq!(attempts.len(), 4, "{log}");
    let deferred = attempts.iter().find(|line| line.contains("disposition=deferred")).unwrap();
    for part in [
        " attempt: id=",
        " message=",
        "to=\"ann@sink.test\"",
        "tenant=acme",
        "pool=main",
        "binding=a",
        "local=127.0.0.11",
        "destination=big",
        "attempt=1",
        "cause=greylisted",
        "rule=",
        "next=20",
        "451 4.7.1 Greylisted",
    ] {
        assert!(deferred.contains(part), "no {part} in {deferred}");
    }
    assert!(!log.contains('\u{1b}'), "no colours in a file");
}

#[tokio::test]
async fn entry_and_message_of_a_line_both_lead_to_what_waits() {
    let sink = sink().await;
    sink.add(Rule::reply(Stage::Rcpt, "451 4.3.0 come back later"));
    let settings = Settings::new().set("queue", "retry_first", "\"1h\"").set("queue", "retry_max", "\"1h\"");
    let settings = settings.binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let relay = Relay::start_with(&settings, &["--log-format", "json"]).await;
    let to = || ["ann@one.test", "bob@two.test"].map(str::to_owned).to_vec();
    all_accepted(&relay.load(2).recipients(move |_| to()).run().await);
    let attempts = wait_until("both entries of both messages are tried", async || {
        let log = relay.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let attempts: Vec<Value> = lines.filter(|line| line["target"] == "attempt").collect();
        (attempts.len() == 4 && relay.queue().await.iter().all(|e| e["reason"] == "retry")).then_some(attempts)
    })
    .await;
    let explain = async |id: &str| serde_json::from_str::<Value>(&relay.get(&format!("/api/v1/explain/{id}")).await);
    for attempt in &attempts {
        let entry = explain(text(attempt, "/id")).await.unwrap();
        assert_eq!(
            (text(&entry, "/entries/0/bindings/0/binding"), text(&entry, "/entries/0/bindings/0/verdict")),
            ("a", "eligible"),
            "{entry:#}"
        );
        let of_message = |other: &&Value| other["message"] == attempt["message"];
        let mut ids: Vec<&str> = attempts.iter().filter(of_message).map(|other| text(other, "/id")).collect();
        ids.sort_unstable();
        let message = explain(text(attempt, "/message")).await.unwrap();
        let entries = array(&message, "/entries");
        assert_eq!(entries.iter().map(|entry| text(entry, "/id")).collect::<Vec<_>>(), ids, "{message:#}");
        assert_eq!(
            (text(&message, "/entries/0/domain"), text(&message, "/entries/1/domain")),
            ("one.test", "two.test")
        );
        assert!(entries.iter().all(|one| one["bindings"] == entry["entries"][0]["bindings"]), "{message:#}");
    }
    for id in ["0000000000001", "fzzzzzzzzzzzz"] {
        let (status, said) = relay.ask(&format!("/api/v1/explain/{id}")).await;
        assert_eq!(status, "404", "{said}");
    }
    assert_eq!(relay.ask("/api/v1/explain/what").await.0, "400");
}

#[tokio::test]
async fn a_receiver_cannot_write_lines_of_its_own() {
    let sink = sink().await;
    let forged = "2026-01-01T00:00:00.000000Z  INFO attempt: id=forged";
    sink.add(Rule::reply(Stage::Rcpt, format!("550 5.1.1 no such user\u{1b}[2J\r{forged}\n{forged}")).to_local("ann"));
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    let relay = Relay::start_with(&settings, &["--log-format", "text"]).await;
    all_accepted(&relay.load(1).recipients(|_| vec!["ann@sink.test".into()]).run().await);
    wait_for_messages(&sink, 1).await;
    relay.wait_until_empty().await;
    let log = relay.log();
    assert!(log.contains("5.1.1"), "{log}");
    assert!(!log.split(['\n', '\r']).any(|line| line.starts_with(forged)), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}
