//! The client's side of SMTP by the whole program: eight-bit mail to a host that cannot take it.

use remuda::demo::sink::{Sink, SinkOptions};

use crate::support::{Relay, Settings, Talker, anywhere, wait_for_messages, wait_until};

async fn send(relay: &Relay, lines: &[&str]) {
    let mut client = Talker::at(relay.smtp()).await;
    for (line, code) in [
        ("EHLO me.test", "250"),
        ("MAIL FROM:<sender@example.test> BODY=8BITMIME", "250"),
        ("RCPT TO:<a@sink.test>", "250"),
        ("DATA", "354"),
    ] {
        let reply = client.say(line).await;
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
    let reply = client.say(&format!("{}\r\n.", lines.join("\r\n"))).await;
    assert!(reply.starts_with("250"), "{reply}");
}

#[tokio::test]
async fn eight_bit_mail_reaches_a_host_without_8bitmime_or_comes_back() {
    let options = SinkOptions { eight_bit_mime: false, keep_bodies: true, ..SinkOptions::default() };
    let sink = Sink::start_with(anywhere(), options).await.unwrap();
    let relay = Relay::start(&Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink.addr())).await;
    let kind = "Content-Type: text/plain; charset=utf-8";
    send(&relay, &["Subject: x", "MIME-Version: 1.0", kind, "Content-Transfer-Encoding: 8bit", "", "grüße"]).await;
    wait_for_messages(&sink, 1).await;
    let taken = sink.take_log().remove(0);
    let body = String::from_utf8(taken.body.unwrap().to_vec()).unwrap();
    assert!(body.contains("Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BC=C3=9Fe\r\n"), "{body}");
    assert!(!taken.parameters.contains("8BITMIME"), "{}", taken.parameters);

    send(&relay, &["DKIM-Signature: v=1; d=example.test", "Subject: x", "", "grüße"]).await;
    let told = wait_until("its sender is told", async || sink.log().first().cloned()).await;
    assert!(told.reverse_path.is_empty());
    let body = String::from_utf8_lossy(&told.body.unwrap()).into_owned();
    assert!(body.contains("Status: 5.6.3") && body.contains("under a DKIM signature"), "{body}");
}
