//! Descriptions and what becomes of them, read by another's parser.

use mail_parser::{MessageParser, MimeHeaders};
use serde_json::{Value, json};

use super::*;
use crate::clock::Wall;

fn given(control: &[String]) -> Given<'_> {
    Given { now: Wall::from_millis(1_795_000_000_000), nonce: "n0nce", control_headers: control }
}

fn made(value: Value) -> Result<(Envelope, String), Wrong> {
    let control = ["X-Remuda-Tenant".to_owned(), "X-Remuda-Stream".to_owned()];
    let message = read(value.to_string().as_bytes(), 200)?;
    let envelope = message.envelope(100)?;
    let octets = build(&message, given(&control))?;
    Ok((envelope, String::from_utf8(octets).expect("UTF-8")))
}

fn with(field: &str, value: Value) -> Value {
    let mut all = json!({ "from": "a@x.test", "to": "b@y.test", "subject": "s", "text": "t" });
    all[field] = value;
    all
}

#[test]
fn the_smallest_message() {
    let (envelope, text) = made(json!({ "from": "a@x.test", "to": ["b@y.test"], "text": "Hello\nyou" })).expect("made");
    assert_eq!(
        text,
        "From: <a@x.test>\r\nTo: <b@y.test>\r\nDate: Wed, 18 Nov 2026 11:06:40 +0000\r\nMessage-ID: <n0nce@x.test>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=\"utf-8\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         Hello\r\nyou\r\n"
    );
    assert_eq!((envelope.to.len(), envelope.from.map(|from| from.to_string()).as_deref()), (1, Some("a@x.test")));
}

#[test]
fn everything_at_once_is_read_back_by_another() {
    let (envelope, text) = made(json!({
        "from": { "address": "ann@x.test", "name": "Änn, \"the\" <boss>" },
        "to": ["b@y.test", "\"C, D\" <c@y.test>"], "cc": "e@z.test", "bcc": ["hidden@z.test", "b@y.test"],
        "reply_to": "r@x.test", "sender": "bounces@x.test", "subject": format!("Grüße {}", "lang ".repeat(60)),
        "text": "Grüße\r\n.\r\nFrom x\n", "html": "<p>Grüße <img src=\"cid:logo\"></p>",
        "headers": { "X-Id": ["1", "2"], "List-Unsubscribe": "<https://x.test/u>", "message-id": "<own@x.test>" },
        "attachments": [
            { "name": "Rechnung März.pdf", "type": "application/pdf", "content": "AAEC/w==" },
            { "name": "logo.png", "type": "image/png", "content": "iVBORw==", "id": "logo" },
            { "name": "a.txt", "type": "application/octet-stream", "content": "YQpiDWMNCg==" }
        ],
        "stream": "news", "envelope_id": "7", "ret": "full", "notify": "never"
    }))
    .expect("made");
    let to: Vec<&str> = envelope.to.iter().map(|path| path.address.as_str()).collect();
    assert_eq!(to, ["b@y.test", "c@y.test", "e@z.test", "hidden@z.test"]);
    assert_eq!(envelope.from.map(|from| from.to_string()).as_deref(), Some("bounces@x.test"));
    assert_eq!(envelope.stream.as_deref(), Some("news"));
    assert!(text.is_ascii() && !text.contains("hidden@") && !text.to_lowercase().contains("bcc"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 998) && !text.replace("\r\n", "").contains(['\r', '\n']));
    let parsed = MessageParser::default().parse(text.as_bytes()).expect("a message");
    let from = parsed.from().and_then(|from| from.first()).expect("one");
    assert_eq!((from.name(), from.address()), (Some("Änn, \"the\" <boss>"), Some("ann@x.test")));
    assert_eq!(parsed.to().and_then(|to| to.last()).and_then(|to| to.name()), Some("C, D"));
    assert_eq!(parsed.subject().map(str::trim), Some(format!("Grüße {}", "lang ".repeat(60)).trim()));
    assert_eq!(parsed.message_id(), Some("own@x.test"));
    assert_eq!(text.matches("X-Id: ").count(), 2);
    assert_eq!(parsed.body_text(0).as_deref(), Some("Grüße\r\n.\r\nFrom x\r\n"));
    assert!(parsed.body_html(0).expect("html").contains("Grüße <img"));
    let names: Vec<_> = parsed.parts.iter().filter_map(|part| part.attachment_name()).collect();
    assert_eq!(names, ["logo.png", "Rechnung März.pdf", "a.txt"]);
    let octets = |name: &str| {
        parsed.parts.iter().find(|part| part.attachment_name() == Some(name)).map(|part| part.contents().to_vec())
    };
    assert_eq!(octets("Rechnung März.pdf"), Some(vec![0, 1, 2, 0xff]));
    assert_eq!(octets("a.txt"), Some(b"a\nb\rc\r\n".to_vec()), "octet by octet");
}

#[test]
fn no_value_begins_another_field() {
    for (field, value) in [
        ("subject", json!("x\r\nBcc: c@z.test")),
        ("subject", json!("x\nBcc: c@z.test")),
        ("subject", json!("x\u{0}y")),
        ("subject", json!("x\u{85}y")),
        ("subject", json!("x\u{2028}y")),
        ("from", json!({ "address": "a@x.test", "name": "x\r\nBcc: c@z.test" })),
        ("from", json!("a@x.test\r\nBcc: c@z.test")),
        ("from", json!({ "address": "a@x.test>\r\nBcc: <c@z.test" })),
        ("sender", json!("a@x.test>\r\nRCPT TO:<c@z.test")),
        ("stream", json!("x\r\nBcc: c@z.test")),
        ("envelope_id", json!("x\r\ny")),
    ] {
        assert_eq!(made(with(field, value.clone())).expect_err("refused").field, field, "{value}");
    }
    for (headers, field) in [
        (json!({ "X-A": "b\r\nBcc: c@z.test" }), "headers.X-A"),
        (json!({ "X-A": ["b", "c\r\n\r\nd"] }), "headers.X-A"),
        (json!({ "X-A\r\nBcc": "c@z.test" }), "headers.X-ABcc"),
        (json!({ "X-A: b\r\nBcc": "c@z.test" }), "headers.X-A: bBcc"),
        (json!({ "X A": "b" }), "headers.X A"),
        (json!({ "": "b" }), "headers."),
        (json!({ "bcc": "c@z.test" }), "headers.bcc"),
        (json!({ "FROM": "c@z.test" }), "headers.FROM"),
        (json!({ "x-remuda-tenant": "globex" }), "headers.x-remuda-tenant"),
        (json!({ "Content-Transfer-Encoding": "binary" }), "headers.Content-Transfer-Encoding"),
        (json!({ "Date": ["a", "b"] }), "headers.Date"),
        (json!({ "X-A": "b".repeat(20_000) }), "headers.X-A"),
    ] {
        assert_eq!(made(with("headers", headers.clone())).expect_err("refused").field, field, "{headers}");
    }
    let file = |name: &str, media: &str, content: &str, id: Option<&str>| {
        with("attachments", json!([{ "name": name, "type": media, "content": content, "id": id }]))
    };
    for (value, field) in [
        (file("a\r\nb", "text/plain", "", None), "attachments[0].name"),
        (file("a", "text/plain\r\nX: y", "", None), "attachments[0].type"),
        (file("a", "text/plain; charset=x", "", None), "attachments[0].type"),
        (file("a", "message/rfc822", "", None), "attachments[0].type"),
        (file("a", "text", "", None), "attachments[0].type"),
        (file("a", "text/plain", "%%%", None), "attachments[0].content"),
        (file("a", "text/plain", "YQ", None), "attachments[0].content"),
        (file("a", "text/plain", "YQ==", Some("x>\r\n")), "attachments[0].id"),
        (file("a", "text/plain", "YQ==", Some("x")), "attachments"),
    ] {
        assert_eq!(made(value.clone()).expect_err("refused").field, field, "{value}");
    }
}

#[test]
fn a_slip_is_named_with_its_place() {
    for (value, field) in [
        (json!([]), "body"),
        (json!({ "to": "b@y.test", "text": "t" }), "from"),
        (json!({ "from": "a@x.test", "text": "t" }), "to"),
        (json!({ "from": "a@x.test", "to": "b@y.test" }), "text"),
        (with("to", json!(["b@y.test", 7])), "to[1]"),
        (with("to", json!(["b@y.test", "nobody"])), "to[1]"),
        (with("cc", json!({ "adress": "b@y.test" })), "cc"),
        (with("reply_to", json!("nobody")), "reply_to[0]"),
        (with("sbject", json!("x")), "sbject"),
        (with("text", json!(7)), "text"),
        (with("cc", json!(vec![0; 200])), "body"),
        (with("attachments", json!([{ "name": ["x"] }])), "body"),
        (with("text", json!("a\u{0}")), "text"),
        (with("attachments", json!([{ "name": "x" }])), "attachments[0]"),
        (with("headers", json!({ "X-A": 7 })), "headers.X-A"),
    ] {
        assert_eq!(made(value.clone()).expect_err("wrong").field, field, "{value}");
    }
    let hint = made(with("sbject", json!("x"))).expect_err("wrong").detail;
    assert!(hint.contains("did you mean \"subject\""), "{hint}");
    assert_eq!(read(b"{", 200).expect_err("half").field, "body");
    for (twice, field) in [
        (r#"{"to":"a@x.test","to":"b@x.test"}"#, "to"),
        (r#"{"from":"a@x.test","headers":{"X-A":"b","X-A":"c"}}"#, "headers.X-A"),
        (r#"{"from":{"address":"a@x.test","address":"b@x.test"}}"#, "from"),
    ] {
        assert_eq!(read(twice.as_bytes(), 200).expect_err("twice").field, field, "{twice}");
    }
}
