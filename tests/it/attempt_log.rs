//! The line for each attempt, as an operator or a log shipper reads it.

use remuda::demo::sink::{Rule, Sink};
use remuda::outcome::Stage;
use serde_json::Value;

use crate::support::{Relay, Settings, all_accepted, sink, text, wait_for_messages};

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
        for key in ["id", "to", "from", "destination", "remote", "rule", "reply", "next", "cause", "scope"] {
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
    let bounced = with("nobody@sink.test", "bounced");
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
