//! Programs that others wrote take our mail.

use super::{What, arrived, settings};
use crate::support::peers::wire::{How, Wire};
use crate::support::peers::{Exim, OpenSmtpd, Papers, Postfix, Python, Receiver, Tls};
use crate::support::{Relay, wait_until};

use What::{EightBit, Large, Many, Plain};

/// The letters that every receiver takes as they are.
const ANY: &[What] = &[Plain, EightBit, Large, Many];

/// Sends the letters to a receiver; they come as they were, in the clear or not as `tls` says.
async fn takes(receiver: &dyn Receiver, tls: Tls, letters: &[What]) -> Relay {
    let relay = Relay::start(&settings().to(receiver.addr())).await;
    let mut wire = Wire::at(relay.smtp()).await;
    let letters: Vec<_> = letters.iter().map(|what| (format!("out-{what:?}"), what.letter(&format!("out-{what:?}")))).collect();
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
    relay
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs python3-aiosmtpd; tests/run installs it"]
async fn aiosmtpd_takes_our_mail() {
    let papers = Papers::new();
    takes(&Python::offering(&["8BITMIME", "PIPELINING"], Tls::None, &papers), Tls::None, ANY).await;
    // No pipelining, no enhanced codes, no size.
    takes(&Python::offering(&["8BITMIME"], Tls::None, &papers), Tls::None, &[Plain, EightBit, Many]).await;
    takes(&Python::offering(&[], Tls::None, &papers), Tls::None, &[Plain]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postfix and root; tests/run installs it"]
async fn postfix_takes_our_mail() {
    let papers = Papers::new();
    takes(&Postfix::receiver(Tls::None, &papers, "").await, Tls::None, ANY).await;
    let less = "smtpd_discard_ehlo_keywords = pipelining, chunking, dsn\n";
    takes(&Postfix::receiver(Tls::None, &papers, less).await, Tls::None, &[Plain, EightBit, Many]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Exim and root; tests/run brings it"]
async fn exim_takes_our_mail() {
    let papers = Papers::new();
    takes(&Exim::receiver(Tls::None, true, &papers).await, Tls::None, ANY).await;
    takes(&Exim::receiver(Tls::None, false, &papers).await, Tls::None, &[Plain, EightBit, Many]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSMTPD, root and mounts; tests/run brings it"]
async fn opensmtpd_takes_our_mail() {
    if !OpenSmtpd::possible() {
        return;
    }
    let papers = Papers::new();
    takes(&OpenSmtpd::receiver(Tls::None, &papers).await, Tls::None, ANY).await;
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
        assert!(postfix.log().contains("450 4.2.0 <user@peer.test>: Recipient address rejected: Greylisted"), "{}", postfix.log());
        assert_eq!(crate::support::number(&relay.status().await, "/counts/bounced"), 0);
    }
}
