//! From a transaction to what is stored.
//!
//! The one place where a stored message differs from what came: a `Received:` line goes in front, our control headers go
//! out, with them any mark (see [`crate::feedback`]) that is not of our making, and any `Return-Path:`, which is for the
//! last host to add (RFC 5321 §4.4). Nothing else is touched, since a relay must not alter what may be signed. Only a listener
//! for submission has missing `Date:` and `Message-ID:` fields added ([`complete`], RFC 6409 §8): its clients are where mail
//! begins. So are those that bring mail over HTTP.

use std::fmt::Display;

use bytes::Bytes;

use super::{Refusal, Transaction};
use crate::assignment::{Assigner, Mail, entries};
use crate::clock::Wall;
use crate::config::{Queue, UnknownPolicy};
use crate::message::header::{Headers, Trace, date, rewrite};
use crate::message::{Domain, Entry, MessageId};

/// What does not change from message to message.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Finds tenant, stream and pools.
    pub assigner: &'a Assigner,
    /// What to answer where there is none.
    pub unknown: UnknownPolicy,
    /// Names of the fields that go out, see [`removed`].
    pub removed: &'a [String],
    /// Our own name.
    pub hostname: &'a Domain,
    /// Lifetimes.
    pub queue: &'a Queue,
}

/// A message ready to be stored: commit `body` and `entries` together.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Its id, the one to answer `250` with.
    pub message: MessageId,
    /// The body as it will be sent, before dot-stuffing.
    pub body: Bytes,
    /// One per pool and recipient domain; never empty.
    pub entries: Vec<Entry>,
}

/// Names of the fields that a message does not keep: our control headers and what only the last host may add.
pub fn removed(assigner: &Assigner) -> Vec<String> {
    assigner.control_headers().iter().cloned().chain(["Return-Path".to_owned()]).collect()
}

/// Assigns a transaction and makes its records. `next_id` gives growing ids ([`crate::message::IdSource`]); the
/// message takes the first. Fails where the message has no tenant, stream or pool.
pub fn prepare(
    transaction: &Transaction,
    rules: Rules<'_>,
    next_id: &mut dyn FnMut() -> u64,
    now: Wall,
) -> Result<Prepared, Refusal> {
    let assigned =
        rules.assigner.assign(&transaction.incoming()).map_err(|why| Refusal::unassigned(&why, rules.unknown))?;
    let message = MessageId(next_id());
    let trace = Trace {
        helo: &transaction.helo,
        client: transaction.client.ip(),
        tls: transaction.tls.as_deref(),
        by: rules.hostname,
        protocol: transaction.protocol(),
        id: message,
        recipient: match transaction.recipients.as_slice() {
            [only] => Some(&only.address),
            _ => None,
        },
        at: now,
    };
    let body = rewrite(&transaction.body, trace.to_line().as_bytes(), rules.removed);
    let mail = Mail {
        message,
        reverse_path: transaction.reverse_path.clone(),
        size: body.len() as u64,
        eight_bit: transaction.eight_bit,
        wishes: transaction.wishes.clone(),
    };
    let entries = entries(&assigned, &mail, rules.queue, next_id, now);
    Ok(Prepared { message, body, entries })
}

/// A body with the fields in front that a message must have and this one lacks (RFC 6409 §8, RFC 5322 §3.6); `None` where it has
/// them. `id` is of no other message of this host.
pub fn complete(body: &[u8], hostname: &Domain, id: u64, now: Wall) -> Option<Bytes> {
    let lines = missing(body, hostname, MessageId(id), now);
    (!lines.is_empty()).then(|| rewrite(body, lines.as_bytes(), &[]))
}

/// The lines that [`complete`] adds; empty where there is nothing to add. `unique` stands in no other message of this host.
pub fn missing(body: &[u8], hostname: &Domain, unique: impl Display, now: Wall) -> String {
    let headers = Headers::of(body);
    let mut lines = String::new();
    if headers.count("Date") == 0 {
        lines += &format!("Date: {}\r\n", date(now));
    }
    if headers.count("Message-ID") == 0 {
        lines += &format!("Message-ID: <{}.{unique}@{hostname}>\r\n", now.as_millis());
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::assignment::tests::config;
    use crate::config::{Config, Feedback};
    use crate::message::{Mailbox, Wishes};

    fn transaction(header: &str, recipients: &[&str]) -> Transaction {
        Transaction {
            listener: 0,
            client: "192.0.2.7:4000".parse().expect("valid"),
            trusted: true,
            helo: "app.example".into(),
            esmtp: true,
            reverse_path: Some("news@acme.example".parse().expect("valid")),
            recipients: recipients.iter().map(|text| text.parse::<Mailbox>().expect("valid").into()).collect(),
            report: false,
            body: Bytes::from(format!("{header}Subject: x\r\n\r\nbody\r\n")),
            eight_bit: false,
            auth_user: None,
            wishes: Wishes::default(),
            tls: None,
            submission: false,
        }
    }

    fn run(transaction: &Transaction) -> Result<Prepared, Refusal> {
        run_with(&config(), transaction)
    }

    fn run_with(config: &Config, transaction: &Transaction) -> Result<Prepared, Refusal> {
        let assigner = Assigner::new(config);
        let rules = Rules {
            assigner: &assigner,
            removed: &removed(&assigner),
            unknown: UnknownPolicy::Defer,
            hostname: &config.server.hostname,
            queue: &config.queue,
        };
        let mut last = 0;
        let mut next_id = || {
            last += 1;
            last
        };
        prepare(transaction, rules, &mut next_id, Wall::from_millis(1_795_000_000_000))
    }

    #[test]
    fn a_message_becomes_a_body_and_one_entry_per_pool_and_domain() {
        let transaction =
            transaction("X-Remuda-Stream: transactional\r\n", &["a@x.example", "b@y.example", "c@x.example"]);
        let prepared = run(&transaction).expect("assigned");
        let body = String::from_utf8_lossy(&prepared.body).into_owned();
        assert_eq!(
            body,
            "Received: from app.example ([192.0.2.7])\r\n\tby relay.example.net with ESMTP id 0000000000001; \
             Wed, 18 Nov 2026 11:06:40 +0000\r\nSubject: x\r\n\r\nbody\r\n"
        );
        let [x, y] = &prepared.entries[..] else { panic!("two domains") };
        assert_eq!((x.id.0, y.id.0, x.message, y.message), (2, 3, MessageId(1), MessageId(1)));
        assert_eq!((x.domain.as_str(), x.recipients.len(), y.recipients.len()), ("x.example", 2, 1));
        assert_eq!((x.tenant.as_str(), x.stream.as_str(), x.pool.as_str()), ("acme", "transactional", "fast"));
        assert_eq!(x.size, body.len() as u64);
        assert_eq!(x.expires.since(x.arrived), Duration::from_secs(5 * 86_400));
    }

    #[test]
    fn a_login_is_in_the_trace_without_its_name_and_decides_the_tenant() {
        let mut transaction = transaction("", &["a@x.example"]);
        transaction.auth_user = Some("acme-app".into());
        transaction.reverse_path = Some("x@elsewhere.example".parse().expect("valid"));
        transaction.trusted = false;
        let prepared = run(&transaction).expect("assigned");
        let body = String::from_utf8_lossy(&prepared.body).into_owned();
        assert!(body.contains(" with ESMTPA id ") && !body.contains("acme-app"), "{body}");
        assert_eq!(prepared.entries[0].tenant.as_str(), "acme");
    }

    #[test]
    fn internationalised_mail_is_traced_as_such() {
        let mut transaction = transaction("", &["a@x.example"]);
        transaction.wishes.utf8 = true;
        transaction.recipients = vec![Mailbox::international("grüße@bücher.example").expect("valid").into()];
        let prepared = run(&transaction).expect("assigned");
        let body = String::from_utf8_lossy(&prepared.body).into_owned();
        assert!(body.contains(" with UTF8SMTP id ") && !body.contains("\tfor <"), "{body}");
        assert!(body.is_ascii(), "the trace asks nobody for SMTPUTF8: {body}");
        assert_eq!(prepared.entries[0].domain.as_str(), "xn--bcher-kva.example");
    }

    #[test]
    fn fields_that_are_missing_are_added_and_others_stay() {
        let hostname = "relay.example.net".parse().expect("valid");
        let now = Wall::from_millis(1_795_000_000_000);
        let (date, id) = (
            "Date: Wed, 18 Nov 2026 11:06:40 +0000\r\n",
            "Message-ID: <1795000000000.0000000000007@relay.example.net>\r\n",
        );
        let rest = "Subject: x\r\n\r\nDate: of the body\r\nMessage-ID: <b@body>\r\n";
        for (has, added) in [
            (String::new(), Some(format!("{date}{id}"))),
            ("dATE : today\r\n".into(), Some(id.to_owned())),
            ("Message-Id: <a@b>\r\n".into(), Some(date.to_owned())),
            ("Date: x\r\nMessage-ID: <a@b>\r\n".into(), None),
        ] {
            let body = format!("{has}{rest}");
            let completed = complete(body.as_bytes(), &hostname, 7, now);
            let completed = completed.map(|body| String::from_utf8(body.to_vec()).expect("UTF-8"));
            assert_eq!(completed, added.map(|added| format!("{added}{body}")), "{has}");
        }
        assert_eq!(complete(b"", &hostname, 7, now).expect("both").len(), date.len() + id.len());
    }

    #[test]
    fn the_trace_says_how_it_came() {
        for (esmtp, user, tls, utf8, with) in [
            (false, false, false, false, "SMTP"),
            (false, false, true, false, "SMTP"),
            (true, false, false, false, "ESMTP"),
            (true, true, false, false, "ESMTPA"),
            (true, false, true, false, "ESMTPS"),
            (true, true, true, false, "ESMTPSA"),
            (true, false, false, true, "UTF8SMTP"),
            (true, true, false, true, "UTF8SMTPA"),
            (true, false, true, true, "UTF8SMTPS"),
            (true, true, true, true, "UTF8SMTPSA"),
        ] {
            let mut transaction = transaction("", &["a@x.example"]);
            transaction.esmtp = esmtp;
            transaction.auth_user = user.then(|| "acme-app".into());
            transaction.tls = tls.then(|| "TLSv1.3 with cipher TLS_AES_128_GCM_SHA256".into());
            transaction.wishes.utf8 = utf8;
            let body = String::from_utf8_lossy(&run(&transaction).expect("assigned").body).into_owned();
            assert!(body.contains(&format!("\tby relay.example.net with {with} id ")), "{body}");
            let comment = "([192.0.2.7])\r\n\t(using TLSv1.3 with cipher TLS_AES_128_GCM_SHA256)\r\n\tby ";
            assert_eq!(body.contains(comment), tls, "{body}");
        }
    }

    #[test]
    fn a_return_path_is_for_the_last_host_to_add() {
        let transaction = transaction("Return-Path: <b-old@bounces.example>\r\nA: b\r\n", &["a@x.example"]);
        let body = String::from_utf8_lossy(&run(&transaction).expect("assigned").body).into_owned();
        assert!(body.ends_with("+0000\r\nA: b\r\nSubject: x\r\n\r\nbody\r\n"), "{body}");
    }

    #[test]
    fn marks_come_from_nobody_else_while_marks_are_made() {
        let foreign = "X-Remuda-Id: forged\r\nA: b\r\nx-remuda-ID :\r\n also\r\n forged\r\n";
        let body = |config: &Config| {
            let prepared = run_with(config, &transaction(foreign, &["a@x.example"])).expect("assigned");
            String::from_utf8_lossy(&prepared.body).into_owned()
        };
        let mut config = config();
        let addresses = vec!["fbl@relay.example.net".parse().expect("valid")];
        config.feedback = Some(Feedback {
            addresses,
            header: "X-Remuda-Id".into(),
            key_file: "feedback.keys".into(),
            accept_for: Duration::from_secs(1),
            max_report_bytes: 1,
            unattributed_kept: 1,
        });
        let kept = body(&config);
        assert!(kept.ends_with("+0000\r\nA: b\r\nSubject: x\r\n\r\nbody\r\n"), "{kept}");
        config.feedback = None;
        assert!(body(&config).contains(foreign), "a header that means nothing to us is the sender's");
    }

    #[test]
    fn a_single_recipient_is_named_and_a_bounce_lives_shorter() {
        let mut transaction = transaction("", &["a@x.example"]);
        transaction.reverse_path = None;
        transaction.esmtp = false;
        let prepared = run(&transaction).expect("assigned");
        let body = String::from_utf8_lossy(&prepared.body).into_owned();
        assert!(body.contains("with SMTP id 0000000000001\r\n\tfor <a@x.example>; "), "{body}");
        assert_eq!(prepared.entries[0].expires.since(prepared.entries[0].arrived), Duration::from_secs(86_400));
    }

    #[test]
    fn what_has_no_place_is_refused_as_configured() {
        let unknown = run(&transaction("X-Remuda-Stream: nope\r\n", &["a@x.example"])).expect_err("no such stream");
        assert_eq!((unknown.code, unknown.enhanced.to_string().as_str()), (451, "4.7.1"));
        assert_eq!(unknown.text, "unknown stream: tenant acme has no pool for stream \"nope\"");
        let twice = "X-Remuda-Stream: a\r\nX-Remuda-Stream: b\r\n";
        assert_eq!(run(&transaction(twice, &["a@x.example"])).expect_err("contradiction").code, 550);
    }
}
