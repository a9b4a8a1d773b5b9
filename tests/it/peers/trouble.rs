//! Receivers that refuse, stall and hang up at every stage, and clients that do.
//!
//! The receivers are aiosmtpd, told what to do wrong. What does not blame the mail for good is tried again and comes,
//! once; what does is reported to the sender, once.

use super::{arrived, settings};
use crate::support::peers::wire::{How, Wire};
use crate::support::peers::{Letter, Papers, Python, Receiver, Tls};
use crate::support::{Relay, Settings, keeping_sink, number, sink, wait_for_messages, wait_until};

/// What becomes of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Delivered by a later try.
    Later,
    /// Delivered by a later try, and it was taken before: nobody can tell.
    Twice,
    /// Reported to its sender.
    Bounced,
}

use Fate::{Bounced, Later, Twice};

const REPLIES: &[(&str, &str, Fate)] = &[
    ("banner", "421 4.3.2 not now", Later),
    ("banner", "450 4.3.2 not now", Later),
    ("banner", "554 5.3.2 not you", Later),
    ("banner", "521 5.3.2 no mail here", Later),
    ("ehlo", "421 4.3.2 not now", Later),
    ("ehlo", "451 4.3.0 not now", Later),
    ("mail", "421 4.3.2 not now", Later),
    ("mail", "451 4.3.0 not now", Later),
    ("mail", "550 5.1.8 no such sender", Bounced),
    ("rcpt", "421 4.3.2 not now", Later),
    ("rcpt", "450 4.2.0 greylisted", Later),
    ("rcpt", "452 4.5.3 too many", Later),
    ("rcpt", "550 5.1.1 no such user", Bounced),
    // The last line decides (RFC 5321 §4.2.1 wants the same code in all).
    ("rcpt", "550-5.1.1 no such user\n451 4.3.0 or is there", Later),
    ("rcpt", "451-4.3.0 there may be one\n550 5.1.1 no such user", Bounced),
    ("data", "421 4.3.2 not now", Later),
    ("data", "451 4.3.0 not now", Later),
    ("data", "554 5.6.0 no", Bounced),
    ("middle", "421 4.3.2 shutting down", Later),
    ("middle", "554 5.6.0 enough", Bounced),
    ("end", "421 4.3.2 not now", Later),
    ("end", "451 4.3.0 not now", Later),
    ("end", "550 5.6.0 not this", Bounced),
];

const SILENCE: &[(&str, &str, Fate)] = &[
    ("banner", "HANGUP", Later),
    ("ehlo", "HANGUP", Later),
    ("mail", "HANGUP", Later),
    ("rcpt", "HANGUP", Later),
    ("data", "HANGUP", Later),
    ("middle", "HANGUP", Later),
    ("end", "HANGUP", Twice),
    ("banner", "STALL", Later),
    ("ehlo", "STALL", Later),
    ("mail", "STALL", Later),
    ("rcpt", "STALL", Later),
    ("data", "STALL", Later),
    ("middle", "STALL", Later),
    ("end", "STALL", Twice),
    ("banner", "HALFCLOSE", Later),
    ("ehlo", "HALFCLOSE", Later),
    ("mail", "HALFCLOSE", Later),
    ("rcpt", "HALFCLOSE", Later),
    ("data", "HALFCLOSE", Later),
    ("middle", "HALFCLOSE", Later),
    ("end", "HALFCLOSE", Twice),
];

/// Short patience, and nothing that keeps a binding back for what one receiver does.
fn impatient() -> Settings {
    let steps = ["connect", "banner", "command", "mail", "rcpt", "data", "block", "end_of_data", "quit"];
    let mut settings = settings();
    for step in steps {
        settings = settings.set("delivery.timeouts", step, "\"1s\"");
    }
    settings
}

async fn fates(rows: &[(&'static str, &'static str, Fate)]) {
    let papers = Papers::new();
    let mut running = Vec::new();
    // Each row has a receiver and a relay of its own: none waits for another, and none is blamed for another.
    for (stage, what, fate) in rows {
        let times = if *fate == Bounced { -1 } else { 1 };
        let receiver = Python::that(&[(stage, what, times)], Tls::None, &papers);
        let reports = keeping_sink().await;
        let route = format!("[[destination_route]]\ndomain = \"peer.test\"\nhosts = [\"{}\"]\n", receiver.addr());
        let relay = Relay::start(&impatient().block(route).to(reports.addr())).await;
        let id = format!("{stage}-{}", what.split(' ').next().unwrap());
        let letter = Letter::plain(&id);
        Wire::at(relay.smtp()).await.send(&letter, How::Data).await.unwrap();
        running.push((id, letter, receiver, reports, relay, fate));
    }
    for (id, letter, receiver, reports, relay, fate) in running {
        eprintln!("{id}: {fate:?}");
        match fate {
            Later => drop(arrived(&receiver, &id, &letter).await),
            Twice => wait_until(&id, async || (receiver.taken().len() == 2).then_some(())).await,
            Bounced => wait_for_messages(&reports, 1).await,
        }
        relay.wait_until_empty().await;
        let times = [(Later, 1), (Twice, 2), (Bounced, 0)].into_iter().find(|(of, _)| of == fate).unwrap().1;
        assert_eq!((receiver.taken().len(), reports.messages()), (times, u64::from(times == 0)), "{id}");
        let status = relay.status().await;
        let counts = ["delivered", "bounced", "dsn"].map(|count| number(&status, &format!("/counts/{count}")));
        // The report is delivered as well.
        let wanted = if *fate == Bounced { [1, 1, 1] } else { [1, 0, 0] };
        assert_eq!(counts, wanted, "{id}: delivered, bounced, reports");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs python3-aiosmtpd; tests/run installs it"]
async fn a_reply_at_any_stage_defers_or_bounces_as_it_says() {
    fates(REPLIES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs python3-aiosmtpd; tests/run installs it"]
async fn a_receiver_that_stalls_or_hangs_up_at_any_stage_gets_the_mail_later() {
    fates(SILENCE).await;
}

/// A relay whose mail for `receiver` goes by TLS as `tls` says.
async fn relay_to(receiver: &Python, tls: &str) -> Relay {
    let route = format!("[[destination_route]]\ndomain = \"*\"\nhosts = [\"{}\"]\ntls = \"{tls}\"\n", receiver.addr());
    Relay::start(&impatient().block(route)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs python3-aiosmtpd; tests/run installs it"]
async fn a_receiver_that_refuses_starttls_gets_the_mail_in_the_clear_unless_it_has_to_be_safe() {
    let papers = Papers::new();
    for (what, result) in [
        ("454 4.7.0 not now", "starttls-not-supported"),
        ("554 5.7.3 not at all", "starttls-not-supported"),
        ("HANGUP", "validation-failure"),
    ] {
        let letter = Letter::plain(what);
        // Where it need not be safe, it goes at once, however often TLS is refused.
        let receiver = Python::that(&[("starttls", what, -1)], Tls::Offered, &papers);
        let relay = relay_to(&receiver, "opportunistic").await;
        Wire::at(relay.smtp()).await.send(&letter, How::Data).await.unwrap();
        let (taken, _) = arrived(&receiver, what, &letter).await.remove(0);
        assert_eq!(taken.tls, None, "{what}");
        relay.wait_until_empty().await;
        let counts = ["delivered", "deferred"];
        let status = relay.status().await;
        assert_eq!(counts.map(|count| number(&status, &format!("/counts/{count}"))), [1, 0], "{what}");
        assert_eq!(receiver.taken().len(), 1, "{what}");

        // Where it must be, it waits until TLS is had.
        let receiver = Python::that(&[("starttls", what, 1)], Tls::Offered, &papers);
        let relay = relay_to(&receiver, "required").await;
        Wire::at(relay.smtp()).await.send(&letter, How::Data).await.unwrap();
        let (taken, _) = arrived(&receiver, what, &letter).await.remove(0);
        assert_eq!(taken.tls.as_deref(), Some("TLSv1.3"), "{what}");
        relay.wait_until_empty().await;
        let status = relay.status().await;
        assert_eq!(counts.map(|count| number(&status, &format!("/counts/{count}"))), [1, 1], "{what}");
        assert_eq!(receiver.taken().len(), 1, "{what}");
        let events = relay.get("/api/v1/events").await;
        assert!(events.contains("tls_failed") && events.contains(result), "{what}: {events}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs python3-aiosmtpd; tests/run installs it"]
async fn a_receiver_that_knows_no_ehlo_gets_the_mail_by_helo() {
    let papers = Papers::new();
    for what in ["500 5.5.1 what", "502 not here", "555 5.5.4 no"] {
        // It refuses every EHLO: only by HELO can anything come.
        let receiver = Python::that(&[("ehlo", what, -1)], Tls::None, &papers);
        let relay = relay_to(&receiver, "opportunistic").await;
        let letter = Letter::plain(what);
        Wire::at(relay.smtp()).await.send(&letter, How::Data).await.unwrap();
        let (taken, _) = arrived(&receiver, what, &letter).await.remove(0);
        assert_eq!(taken.parameters, "", "{what}");
        relay.wait_until_empty().await;
        assert_eq!(receiver.taken().len(), 1, "{what}");
    }
}

#[tokio::test]
async fn a_client_that_shuts_its_side_behind_the_final_dot_is_answered() {
    let sink = sink().await;
    let relay = Relay::start(&settings().to(sink.addr())).await;
    let mut wire = Wire::at(relay.smtp()).await;
    wire.write(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n").await;
    for digit in ['2', '2', '3'] {
        wire.expect(digit).await.unwrap();
    }
    wire.write(b"Subject: x\r\n\r\nbody\r\n.\r\n").await;
    wire.shut().await;
    wire.expect('2').await.unwrap();
    let mut wire = Wire::at(relay.smtp()).await;
    wire.write(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nBDAT 20 LAST\r\nSubject: x\r\n\r\nbody\r\n").await;
    wire.shut().await;
    for _ in ["MAIL", "RCPT", "BDAT"] {
        wire.expect('2').await.unwrap();
    }
    wait_for_messages(&sink, 2).await;
}

#[tokio::test]
async fn what_a_client_has_not_finished_goes_nowhere() {
    let sink = sink().await;
    let settings = settings()
        .block("[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\nidle_timeout = \"1s\"\n".into());
    let relay = Relay::start(&settings.to(sink.addr())).await;
    for (door, shuts) in [(0, true), (1, false)] {
        let mut wire = Wire::at(relay.listener(door)).await;
        wire.write(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n").await;
        for digit in ['2', '2', '3'] {
            wire.expect(digit).await.unwrap();
        }
        // All but the LF of the final dot.
        wire.write(b"Subject: x\r\n\r\nbody\r\n.\r").await;
        if shuts {
            wire.shut().await;
            assert_eq!(wire.reply().await, "", "the end of the connection is not the end of the mail");
        } else {
            assert!(wire.reply().await.starts_with("421 4.4.2 "), "a client that stalls is told why");
            assert_eq!(wire.reply().await, "");
        }
    }
    // Within a chunk, within the last chunk, and behind a chunk that is not the last.
    for (chunks, answers) in [("BDAT 20\r\nSubject: x", 0), ("BDAT 20 LAST\r\nSubject: x", 0), ("BDAT 4\r\nbody", 1)] {
        let mut wire = Wire::at(relay.listener(0)).await;
        wire.write(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n").await;
        wire.write(chunks.as_bytes()).await;
        wire.shut().await;
        for _ in 0..2 + answers {
            wire.expect('2').await.unwrap();
        }
        assert_eq!(wire.reply().await, "", "{chunks}: the end of the connection is not the end of the mail");
    }
    assert_eq!(number(&relay.status().await, "/queue/messages"), 0);
    assert_eq!(sink.messages(), 0);
}
