//! Programs that others wrote take our mail.

use super::{What, arrived, once_each, settings};
use crate::support::peers::wire::{How, Wire};
use crate::support::peers::{Exim, Letter, OpenSmtpd, Papers, Postfix, Python, Receiver, Tls};
use crate::support::{Relay, wait_until};

use What::{Dsn, EightBit, Large, Many, Plain, Utf8, Wishes};

/// The letters that every receiver takes as they are.
const ANY: &[What] = &[Plain, EightBit, Large, Many];

/// Sends the letters to a receiver; they come as they were, in the clear or not as `tls` says.
async fn takes(receiver: &dyn Receiver, tls: Tls, letters: &[What]) -> Relay {
    let relay = Relay::start(&settings().to(receiver.addr())).await;
    let mut wire = Wire::at(relay.smtp()).await;
    let letters: Vec<_> =
        letters.iter().map(|what| (format!("out-{what:?}"), what.letter(&format!("out-{what:?}")))).collect();
    for (id, letter) in &letters {
        wire.send(letter, How::Data).await.unwrap_or_else(|said| panic!("{id}: {said}"));
    }
    for (id, letter) in &letters {
        for (taken, _) in arrived(receiver, id, letter).await {
            let encrypted = taken.tls.as_deref().is_some_and(|version| version.contains("1.3"));
            assert_eq!(encrypted, tls != Tls::None, "{id}: {:?}", taken.tls);
        }
    }
    relay.wait_until_empty().await;
    once_each(receiver, letters.iter().map(|(id, letter)| (&**id, letter.to.len())));
    relay
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs python3-aiosmtpd; tests/run installs it"]
async fn aiosmtpd_takes_our_mail() {
    let papers = Papers::new();
    let all =
        ["8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES", "CHUNKING", "SIZE 60000000", "LIMITS RCPTMAX=40"];
    let rows: &[(&[&str], Tls, &[What])] = &[
        (&["8BITMIME", "PIPELINING"], Tls::None, ANY),
        // No pipelining, no enhanced codes, no size.
        (&["8BITMIME"], Tls::None, &[Plain, EightBit, Many]),
        (&[], Tls::None, &[Plain]),
        (&all, Tls::None, &[Plain, EightBit, Large, Many, Utf8]),
        (&all, Tls::Offered, &[Plain, Large, Many]),
        (&["8BITMIME"], Tls::Required, &[Plain, EightBit]),
    ];
    for (offers, tls, letters) in rows {
        let receiver = Python::offering(offers, *tls, &papers);
        takes(&receiver, *tls, letters).await;
        for taken in receiver.taken() {
            let most = if offers.contains(&"LIMITS RCPTMAX=40") { 40 } else { 100 };
            assert!(taken.to.len() <= most, "{} recipients at once of {most}", taken.to.len());
            assert_eq!(taken.bdat, offers.contains(&"CHUNKING"), "{offers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postfix and root; tests/run installs it"]
async fn postfix_takes_our_mail() {
    let papers = Papers::new();
    let postfix = Postfix::receiver(Tls::None, &papers, "").await;
    takes(&postfix, Tls::None, &[Plain, EightBit, Large, Many, Utf8, Dsn, Wishes]).await;
    reports_success(&postfix).await;
    let less = "smtpd_discard_ehlo_keywords = pipelining, chunking, dsn\n";
    takes(&Postfix::receiver(Tls::None, &papers, less).await, Tls::None, &[Plain, EightBit, Many]).await;
    takes(&Postfix::receiver(Tls::Required, &papers, "").await, Tls::Required, &[Plain, EightBit, Large, Utf8]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Exim and root; tests/run brings it"]
async fn exim_takes_our_mail() {
    let papers = Papers::new();
    let exim = Exim::receiver(Tls::None, true, &papers).await;
    takes(&exim, Tls::None, &[Plain, EightBit, Large, Many, Utf8, Dsn, Wishes]).await;
    reports_success(&exim).await;
    takes(&Exim::receiver(Tls::None, false, &papers).await, Tls::None, &[Plain, EightBit, Many]).await;
    takes(&Exim::receiver(Tls::Required, true, &papers).await, Tls::Required, &[Plain, EightBit, Large, Utf8]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSMTPD, root and mounts; tests/run brings it"]
async fn opensmtpd_takes_our_mail() {
    if !OpenSmtpd::possible() {
        return;
    }
    let papers = Papers::new();
    // Not over TLS: with the OpenSSL 3 of Debian 12 it signs no handshake, for no client and by no kind of key.
    takes(&OpenSmtpd::receiver(Tls::None, &papers).await, Tls::None, ANY).await;
}

/// The receiver was asked for a report of success by the parameters that the sender gave us, and gives it.
async fn reports_success(receiver: &dyn Receiver) {
    let relay = Relay::start(&settings().to(receiver.addr())).await;
    let letter = Letter { from: "sender@peer.test".into(), ..Letter::dsn("reported") };
    Wire::at(relay.smtp()).await.send(&letter, How::Data).await.unwrap();
    let report = wait_until("a report of success", async || {
        let mut texts = receiver.taken().into_iter().map(|taken| String::from_utf8_lossy(&taken.octets).to_lowercase());
        texts.find(|text| text.contains("multipart/report") && text.contains("sender@peer.test"))
    })
    .await;
    let report: String = report.split_whitespace().collect();
    // Exim gives both back as they came, in xtext.
    let report = report.replace("+2b", "+");
    assert!(report.contains("original-envelope-id:qq+314159"), "{report}");
    assert!(report.contains("original-recipient:rfc822;first+tag@peer.test"), "{report}");
    assert!(report.contains("action:delivered") && !report.contains("none@peer.test"), "{report}");
}

/// Two receivers: peer.test at the first, everybody else at the second, where reports come.
async fn with_reports(receiver: &Python, reports: &Python) -> Relay {
    let route = format!("[[destination_route]]\ndomain = \"peer.test\"\nhosts = [\"{}\"]\n", receiver.addr());
    Relay::start(&settings().block(route).to(reports.addr())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs python3-aiosmtpd; tests/run installs it"]
async fn what_goes_to_a_host_without_dsn_is_reported_as_relayed_to_who_asked() {
    let papers = Papers::new();
    let receiver = Python::offering(&["8BITMIME", "PIPELINING"], Tls::None, &papers);
    let reports = Python::offering(&["8BITMIME"], Tls::None, &papers);
    let relay = with_reports(&receiver, &reports).await;
    let letters = [Letter::dsn("asked"), Letter::wishes("wishes")];
    for letter in &letters {
        Wire::at(relay.smtp()).await.send(letter, How::Data).await.unwrap();
    }
    for (id, letter) in ["asked", "wishes"].into_iter().zip(&letters) {
        for (taken, _) in arrived(&receiver, id, letter).await {
            let said = taken.to.iter().all(|(_, parameters)| parameters.is_empty());
            assert!(said && !taken.parameters.contains("ENVID") && !taken.parameters.contains("RET"), "{taken:?}");
        }
    }
    relay.wait_until_empty().await;
    // Who asked for success, of which message. All of it comes back only with failures (RFC 3461 §4.3).
    for (envelope, who, others) in [
        ("qq+314159", &["all"][..], &["none"][..]),
        ("full", &["success", "ends"], &["failure", "delay", "trouble", "moved", "plain"]),
    ] {
        let mut texts: Vec<String> =
            reports.taken().iter().map(|taken| String::from_utf8_lossy(&taken.octets).to_lowercase()).collect();
        texts.retain(|text| text.contains(&format!("original-envelope-id: {envelope}\r\n")));
        let [text] = &texts[..] else { panic!("{} reports of {envelope}", texts.len()) };
        let fields: String = text.split_whitespace().collect();
        assert_eq!(fields.matches("action:relayed").count(), who.len(), "{text}");
        assert_eq!(fields.matches("action:").count(), who.len(), "{text}");
        for name in who {
            assert!(fields.contains(&format!("final-recipient:rfc822;{name}@peer.test")), "{name}: {text}");
        }
        for name in others {
            assert!(!fields.contains(&format!("{name}@peer.test")), "{name}: {text}");
        }
        assert!(text.contains("text/rfc822-headers") && !text.contains("two dots"), "{text}");
    }
    assert_eq!(reports.taken().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs python3-aiosmtpd; tests/run installs it"]
async fn an_address_in_utf8_is_refused_for_a_receiver_without_smtputf8() {
    let papers = Papers::new();
    let receiver = Python::offering(&["8BITMIME"], Tls::None, &papers);
    let reports = Python::offering(&["8BITMIME", "SMTPUTF8"], Tls::None, &papers);
    let relay = with_reports(&receiver, &reports).await;
    let header = Letter { from: "sender@example.test".into(), ..Letter::utf8("header") };
    // Of one recipient the trace field would tell, in the header.
    let to = ["grüße@peer.test", "jürgen@peer.test"].map(|address| (address.into(), Vec::new())).to_vec();
    let address = Letter { octets: Letter::plain("address").octets, to, ..header.clone() };
    // RFC 6531 §3.5 and §4.2: 5.6.9 for a header, 5.6.7 for an address.
    for (letter, status) in [(header, "Status: 5.6.9"), (address, "Status: 5.6.7")] {
        Wire::at(relay.smtp()).await.send(&letter, How::Data).await.unwrap();
        let text = wait_until(status, async || {
            let mut texts = reports.taken().into_iter().filter(|taken| taken.from.is_empty() && taken.to.len() == 1);
            texts.find_map(|taken| {
                let text = String::from_utf8_lossy(&taken.octets).into_owned();
                (taken.to[0].0 == "sender@example.test" && text.contains(status)).then_some(text)
            })
        })
        .await;
        assert!(text.contains("gr=C3=BC=C3=9Fe@peer.test"), "{text}");
    }
    assert!(receiver.taken().is_empty());
}

/// Prints the decoded text of a message.
const DECODE: &str = r#"
import email, email.policy, sys
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.SMTP)
sys.stdout.buffer.write(message.get_payload(decode=True))
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs python3-aiosmtpd; tests/run installs it"]
async fn eight_bits_become_seven_for_a_receiver_that_takes_no_more() {
    use std::io::Write as _;

    let papers = Papers::new();
    let receiver = Python::offering(&[], Tls::None, &papers);
    let relay = Relay::start(&settings().to(receiver.addr())).await;
    let letter = Letter::eight_bit("seven");
    Wire::at(relay.smtp()).await.send(&letter, How::Data).await.unwrap();
    let taken = wait_until("the letter", async || receiver.taken().pop()).await;
    assert!(taken.octets.is_ascii() && taken.parameters.is_empty(), "{}", taken.parameters);
    // Another's reader finds what was written.
    let mut reader = std::process::Command::new("/usr/bin/python3")
        .args(["-c", DECODE])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(&taken.octets).unwrap();
    let decoded = reader.wait_with_output().unwrap().stdout;
    assert_eq!(decoded, b"gr\xc3\xbc\xc3\x9fe\r\nand \xff\xfe\r\n");
}

/// postgrey on a port of its own, asked by Postfix about each recipient.
mod greylisting {
    use std::process::{Child, Command, Stdio};

    use tokio::net::TcpStream;

    use super::*;
    use crate::support::peers::free_port;

    struct Postgrey(Child);

    impl Drop for Postgrey {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Postfix, postgrey and root; tests/run installs them"]
    async fn postgrey_lets_our_second_try_in() {
        let (directory, address, papers) = (tempfile::tempdir().unwrap(), free_port(), Papers::new());
        let postgrey = Command::new("postgrey")
            .args([&format!("--inet={address}"), "--delay=2", "--user=root", "--group=root"])
            .arg(format!("--dbdir={}", directory.path().display()))
            .arg(format!("--pidfile={}/pid", directory.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgrey");
        let _postgrey = Postgrey(postgrey);
        wait_until("postgrey listens", async || TcpStream::connect(address).await.ok().map(drop)).await;
        let check = format!("smtpd_recipient_restrictions = check_policy_service inet:{address}\n");
        let postfix = Postfix::receiver(Tls::None, &papers, &check).await;
        let relay = takes(&postfix, Tls::None, &[Plain]).await;
        assert!(
            postfix.log().contains("450 4.2.0 <user@peer.test>: Recipient address rejected: Greylisted"),
            "{}",
            postfix.log()
        );
        assert_eq!(crate::support::number(&relay.status().await, "/counts/bounced"), 0);
    }
}
