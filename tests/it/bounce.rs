//! A recipient that does not exist: one DSN to the sender, nobody else is blamed.

use mail_parser::{MessageParser, MimeHeaders, PartType};
use remuda::demo::sink::{Sink, Taken};

use crate::support::{Relay, Settings, all_accepted, keeping_sink, named, number, wait_for_messages};

async fn relay_to(sink: &Sink) -> Relay {
    let settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr());
    Relay::start(&settings).await
}

fn dsns(sink: &Sink) -> Vec<Taken> {
    sink.log().into_iter().filter(|taken| taken.reverse_path.is_empty()).collect()
}

#[tokio::test]
async fn an_unknown_user_bounces_once_with_a_dsn_others_can_read() {
    let sink = keeping_sink().await;
    sink.unknown_user("nobody");
    let relay = relay_to(&sink).await;
    let load = relay.load(1).recipients(|_| vec!["nobody@sink.test".into(), "somebody@sink.test".into()]);
    all_accepted(&load.run().await);
    wait_for_messages(&sink, 2).await;
    relay.wait_until_empty().await;

    let dsns = dsns(&sink);
    assert_eq!(dsns.len(), 1, "one DSN");
    assert_eq!(dsns[0].recipients, ["sender@example.test".into()]);
    reads_as_a_dsn(dsns[0].body.as_deref().unwrap());

    let others: Vec<_> = sink.log().into_iter().filter(|t| !t.reverse_path.is_empty()).collect();
    assert_eq!(others.len(), 1);
    assert_eq!(others[0].recipients, ["somebody@sink.test".into()]);

    let status = relay.status().await;
    let counts = ["bounced", "dsn", "delivered"].map(|count| number(&status, &format!("/counts/{count}")));
    // The DSN itself is delivered, too.
    assert_eq!(counts, [1, 1, 2]);
    let binding = named(&status, "/bindings", "a");
    assert_eq!(binding["health"], "active", "{binding:#}");
    let blamed = |route: &serde_json::Value| route["health"] != "active";
    assert!(!crate::support::array(binding, "/routes").iter().any(blamed), "{binding:#}");
}

fn reads_as_a_dsn(body: &[u8]) {
    let message = MessageParser::default().parse(body).unwrap();
    let kind = message.content_type().unwrap();
    assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
    assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
    let part = |ctype: &str, subtype: &str| {
        let is = |p: &&mail_parser::MessagePart<'_>| {
            p.content_type().is_some_and(|c| c.ctype() == ctype && c.subtype() == Some(subtype))
        };
        message.parts.iter().find(is).unwrap_or_else(|| panic!("no {ctype}/{subtype} part"))
    };
    let status = match &part("message", "delivery-status").body {
        PartType::Text(text) => text.to_string(),
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("delivery-status is {other:?}"),
    };
    let lower = status.to_ascii_lowercase();
    for field in [
        "reporting-mta: dns; relay.test",
        "final-recipient: rfc822; nobody@sink.test",
        "action: failed",
        "status: 5.1.1",
        "diagnostic-code: smtp; 550 5.1.1",
    ] {
        assert!(lower.contains(field), "no `{field}` in\n{status}");
    }
    assert!(!lower.contains("somebody@"), "the other recipient is no failure:\n{status}");
    assert_eq!(message.header("X-Test-Id"), None, "the DSN is a message of its own");
}

#[tokio::test]
async fn a_bounce_of_a_bounce_is_never_sent() {
    let sink = keeping_sink().await;
    sink.unknown_user("nobody");
    let relay = relay_to(&sink).await;
    // The tenant is known by its address, so that a null reverse path is accepted.
    let load = relay.load(1).reverse_path(|_| String::new()).recipients(|_| vec!["nobody@sink.test".into()]);
    all_accepted(&load.run().await);
    crate::support::wait_until("it is bounced", async || {
        (number(&relay.status().await, "/counts/bounced") == 1).then_some(())
    })
    .await;
    relay.wait_until_empty().await;
    assert_eq!((sink.messages(), number(&relay.status().await, "/counts/dsn")), (0, 0));
}

#[tokio::test]
async fn a_message_given_up_at_the_end_of_its_lifetime_is_reported() {
    use remuda::demo::sink::Rule;
    use remuda::outcome::Stage;

    let sink = keeping_sink().await;
    sink.add(Rule::reply(Stage::Rcpt, "451 4.3.0 trouble here, try again later").to_local("later"));
    let settings = Settings::new()
        .set("queue", "retry_first", "\"100ms\"")
        .set("queue", "lifetime", "\"1s\"")
        .binding("a", 11, "")
        .pool("active = [\"a\"]")
        .to(sink.addr());
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(1).recipients(|_| vec!["later@sink.test".into()]).run().await);
    wait_for_messages(&sink, 1).await;
    relay.wait_until_empty().await;
    let status = relay.status().await;
    assert_eq!(["expired", "bounced", "dsn"].map(|c| number(&status, &format!("/counts/{c}"))), [1, 0, 1]);
    assert!(sink.source(crate::support::local(11)).refusals >= 2, "it was tried more than once before");
    assert_eq!(dsns(&sink).len(), 1);
}
