//! What senders are told, by the whole program: late mail, texts of their own, bounces that fail.

use std::process::Command;

use mail_parser::MessageParser;
use remuda::demo::sink::{Rule, Sink, Taken};
use remuda::outcome::Stage;

use crate::support::{Relay, Settings, all_accepted, keeping_sink, quoted, wait_for_messages};

const TEXTS: &str = include_str!("../../config/reports.toml");

fn settings(sink: &Sink) -> Settings {
    Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr())
}

/// The only report that came, and its parts as text.
fn report(sink: &Sink) -> (Taken, Vec<String>) {
    let mut reports: Vec<Taken> = sink.log().into_iter().filter(|taken| taken.reverse_path.is_empty()).collect();
    assert_eq!(reports.len(), 1, "{reports:?}");
    let taken = reports.remove(0);
    let body = taken.body.clone().unwrap();
    let message = MessageParser::default().parse(&body[..]).unwrap();
    let subject = message.subject().unwrap_or_default().to_owned();
    let parts = message.parts.iter().map(|part| String::from_utf8_lossy(part.contents()).into_owned());
    let parts = std::iter::once(subject).chain(parts).collect();
    (taken, parts)
}

#[tokio::test]
async fn late_mail_is_told_of_in_the_words_of_the_operator() {
    let sink = keeping_sink().await;
    sink.add(Rule::reply(Stage::Rcpt, "451 4.3.0 trouble here").to_local("later"));
    let home = tempfile::tempdir().unwrap();
    let texts = home.path().join("texts.toml");
    std::fs::write(&texts, TEXTS.replace("Your message is delayed", "Ihre Nachricht verspätet sich")).unwrap();
    let settings = settings(&sink)
        .set("queue", "retry_first", "\"10m\"")
        .set("queue", "retry_max", "\"10m\"")
        .set("queue", "delay_warning", "[\"1s\"]")
        .set("reports", "template", &quoted(&texts));
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(1).recipients(|_| vec!["later@sink.test".into()]).run().await);
    wait_for_messages(&sink, 1).await;
    let (taken, parts) = report(&sink);
    assert_eq!(taken.recipients, ["sender@example.test".into()]);
    assert_eq!(parts[0], "Ihre Nachricht verspätet sich");
    let status = parts.iter().find(|part| part.starts_with("Reporting-MTA:")).expect("a status");
    for field in
        ["Action: delayed", "Status: 4.3.0", "Diagnostic-Code: smtp; 451 4.3.0 trouble here", "Will-Retry-Until: "]
    {
        assert!(status.contains(field), "{status}");
    }
    let waits = async || (relay.queue().await.len() == 1).then_some(());
    crate::support::wait_until("only the late mail waits", waits).await;
    assert!(relay.metrics().await.contains("remuda_reported_recipients_total{action=\"delayed\"} 1"));
}

#[tokio::test]
async fn a_bounce_that_fails_reaches_the_postmaster() {
    let sink = keeping_sink().await;
    sink.unknown_user("nobody");
    let settings = settings(&sink).set("reports", "double_bounce", "\"postmaster\"").set(
        "reports",
        "postmaster",
        "\"pm@sink.test\"",
    );
    let relay = Relay::start(&settings).await;
    let load = relay.load(1).reverse_path(|_| String::new()).recipients(|_| vec!["nobody@sink.test".into()]);
    all_accepted(&load.run().await);
    wait_for_messages(&sink, 1).await;
    let (taken, parts) = report(&sink);
    assert_eq!(taken.recipients, ["pm@sink.test".into()]);
    assert_eq!(parts[0], "A bounce could not be delivered");
    assert!(relay.metrics().await.contains("remuda_double_bounces_total{fate=\"reported\"} 1"));
    let events = relay.get("/api/v1/events?kind=note").await;
    assert!(events.contains("double_bounce") && events.contains("nobody@sink.test"), "{events}");
}

#[test]
fn a_mistake_in_the_texts_is_found_before_the_start() {
    let home = tempfile::tempdir().unwrap();
    let texts = home.path().join("texts.toml");
    std::fs::write(&texts, TEXTS.replace("{hostname}.", "{hostnam}.")).unwrap();
    let settings = Settings::new()
        .binding("a", 11, "")
        .pool("active = [\"a\"]")
        .set("reports", "template", &quoted(&texts))
        .text(home.path());
    let config = home.path().join("remuda.toml");
    std::fs::write(&config, settings).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_remuda")).args(["check", "-c"]).arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("reports.template: ") && said.contains("greeting has {hostnam}"), "{said}");
}
