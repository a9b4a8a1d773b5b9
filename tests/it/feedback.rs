//! What comes back by mail: bounces and complaints enter by SMTP, from strangers, and end as evidence on the binding
//! that delivered; forged ones end nowhere.

use std::net::SocketAddr;

use remuda::demo::sink::{Rule, Sink};
use remuda::feedback::token::{Attempted, Keys};
use remuda::message::MessageId;
use remuda::outcome::Stage;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::{Relay, Settings, keeping_sink, number, wait_for_messages};

const DOMAIN: &str = "bounces.acme.test";

/// Two bindings, a provider, a tenant whose return paths are rewritten, and a second listener that trusts nobody here.
fn settings(sink: &Sink) -> Settings {
    Settings::new()
        .set("feedback", "addresses", "[\"fbl@relay.test\"]")
        .set("feedback", "max_report_bytes", "\"64 KiB\"")
        .set("feedback", "unattributed_kept", "3")
        .set("tenant.acme", "return_path_domain", &format!("{DOMAIN:?}"))
        .binding("a", 11, "")
        .binding("b", 12, "")
        .pool("active = [\"a\", \"b\"]")
        .provider("receiver", "receiver.test", sink.addr())
        .to(sink.addr())
        .block("[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"10.0.0.0/8\"]\n".into())
}

/// A client that says what it is told, and nothing else.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let mut client = Self(BufReader::new(TcpStream::connect(address).await.unwrap()));
        assert!(client.reply().await.starts_with("220 "));
        assert!(client.says("HELO mx.receiver.test").await.starts_with("250 "));
        client
    }

    async fn reply(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    async fn says(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.reply().await
    }

    /// One transaction; the first reply that is no success, or the last.
    async fn sends(&mut self, from: &str, to: &str, mail: &str) -> String {
        for line in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"), "DATA".into()] {
            let reply = self.says(&line).await;
            if !reply.starts_with(['2', '3']) {
                assert!(self.says("RSET").await.starts_with("250 "));
                return reply;
            }
        }
        let stuffed = mail.replace("\n.", "\n..").replace('\n', "\r\n");
        self.says(&format!("{stuffed}\r\n.")).await
    }
}

/// Sends a report as a receiver does: from somebody nobody trusts, with the null reverse path.
async fn report(relay: &Relay, to: &str, mail: &str) -> String {
    Client::connect(relay.listener(1)).await.sends("", to, mail).await
}

/// A message goes through the relay; its id.
async fn relayed(relay: &Relay, sink: &Sink, to: &str) -> MessageId {
    let before = sink.messages();
    let reply = Client::connect(relay.smtp()).await.sends("news@acme.test", to, "Subject: news\n\nhello").await;
    let id = reply.split(' ').nth(2).unwrap_or_else(|| panic!("{reply}")).parse().unwrap_or_else(|_| panic!("{reply}"));
    wait_for_messages(sink, before + 1).await;
    relay.wait_until_empty().await;
    id
}

fn keys(relay: &Relay) -> Keys {
    Keys::parse(&std::fs::read_to_string(relay.state_dir().join("feedback.keys")).unwrap()).unwrap()
}

/// The mark that an attempt of this message over `binding` has.
fn mark(keys: &Keys, message: MessageId, binding: &str) -> String {
    keys.seal(&Attempted {
        message,
        at: message.time(),
        recipients: 1,
        tenant: "acme".into(),
        pool: "main".into(),
        binding: binding.into(),
        destination: Some("receiver".into()),
    })
}

fn forged(message: MessageId) -> String {
    mark(&Keys::parse(&Keys::file_text([1; 32])).unwrap(), message, "a")
}

fn old(message: MessageId) -> MessageId {
    let long_ago = message.time().as_millis() - 31 * 86_400_000;
    MessageId(((long_ago as u64) << 20) | 1)
}

fn bounce(recipient: &str, diagnostic: &str, quoted: &str) -> String {
    format!(
        "From: MAILER-DAEMON@receiver.test\nTo: <>\nSubject: Undelivered Mail Returned to Sender\nMIME-Version: 1.0\n\
         Auto-Submitted: auto-replied\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b1\"\n\n\
         --b1\nContent-Type: text/plain\n\nYour message could not be delivered.\n\n\
         --b1\nContent-Type: message/delivery-status\n\n\
         Reporting-MTA: dns; mx.receiver.test\n\n\
         Final-Recipient: rfc822; {recipient}\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; {diagnostic}\n\n\
         --b1\nContent-Type: text/rfc822-headers\n\n{quoted}From: news@acme.test\nSubject: news\n\n--b1--\n"
    )
}

/// A complaint without recipient, sender or body (RFC 6590): all it has is the header field with the mark.
fn complaint(mark: &str) -> String {
    format!(
        "From: staff@receiver.test\nTo: fbl@relay.test\nSubject: complaint about message from 127.0.0.11\n\
         MIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary=\"b1\"\n\n\
         --b1\nContent-Type: text/plain\n\nThis is an email abuse report.\n\n\
         --b1\nContent-Type: message/feedback-report\n\n\
         Feedback-Type: abuse\nUser-Agent: Feedback/1.0\nVersion: 1\nIncidents: 7\n\n\
         --b1\nContent-Type: text/rfc822-headers\n\n\
         From: redacted@acme.test\nTo: redacted@receiver.test\nX-Remuda-Id: {mark}\nSubject: news\n\n--b1--\n"
    )
}

/// The value of a metric, with all these labels; 0 where there is none.
async fn metric(relay: &Relay, name: &str, labels: &[&str]) -> u64 {
    let metrics = relay.metrics().await;
    let line = metrics.lines().find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

async fn verdicts(relay: &Relay, verdict: &str) -> u64 {
    let metrics = relay.metrics().await;
    let label = format!("verdict=\"{verdict}\"");
    let lines = metrics.lines().filter(|line| line.starts_with("remuda_reports_total{") && line.contains(&label));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_may_send_reports_and_nothing_else() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    let id = relayed(&relay, &sink, "bob@receiver.test").await;
    let ours = format!("b-{}@{DOMAIN}", mark(&keys(&relay), id, "a"));
    let mut client = Client::connect(relay.listener(1)).await;
    assert!(client.says("MAIL FROM:<>").await.starts_with("250 "));
    for (to, reply) in [
        ("bob@receiver.test".to_owned(), "550 5.7.1 relaying denied"),
        ("news@relay.test".to_owned(), "550 5.7.1 relaying denied"),
        (format!("news@{DOMAIN}"), "550 5.1.1 no such address"),
        (format!("b-{}@{DOMAIN}", forged(id)), "550 5.1.1 no such address"),
        (ours.clone(), "250 2.1.5 recipient ok"),
        ("fbl@relay.test".to_owned(), "452 4.5.3 reports go alone, send it in another transaction"),
        ("bob@receiver.test".to_owned(), "550 5.7.1 relaying denied"),
    ] {
        assert_eq!(client.says(&format!("RCPT TO:<{to}>")).await, reply, "{to}");
    }
    // Trusted clients have no other door: theirs is a report, too, and goes alone.
    let mut trusted = Client::connect(relay.smtp()).await;
    assert!(trusted.says("MAIL FROM:<news@acme.test>").await.starts_with("250 "));
    assert!(trusted.says("RCPT TO:<bob@receiver.test>").await.starts_with("250 "));
    assert!(trusted.says(&format!("RCPT TO:<{ours}>")).await.starts_with("452 4.5.3 "));
    assert_eq!(verdicts(&relay, "forged").await, 1);
    assert_eq!(sink.messages(), 1, "nothing was relayed for them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_above_the_limit_is_refused_and_the_door_stays_open() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    let mut client = Client::connect(relay.listener(1)).await;
    assert!(client.says("MAIL FROM:<> SIZE=70000").await.starts_with("250 "));
    let reply = client.says("RCPT TO:<fbl@relay.test>").await;
    assert_eq!(reply, "552 5.3.4 report is larger than the limit of 65536 octets");
    assert!(client.says("RSET").await.starts_with("250 "));
    let long = "0123456789\n".repeat(10_000);
    assert_eq!(client.sends("", "fbl@relay.test", &long).await, "552 5.3.4 message is larger than the limit");
    assert!(client.sends("", "FBL@relay.test", "Subject: hello").await.starts_with("250 2.6.0 "));
}

/// Mails kept in this directory, oldest first.
fn kept(relay: &Relay, directory: &str) -> Vec<String> {
    let files = std::fs::read_dir(relay.state_dir().join(directory)).into_iter().flatten();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_report_is_kept_aside_and_shown() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    for n in 0..5 {
        let mail = format!("Subject: offer {n}\n\nbuy");
        let reply =
            Client::connect(relay.listener(1)).await.sends("spam@elsewhere.test", "fbl@relay.test", &mail).await;
        assert!(reply.starts_with("250 2.6.0 "), "{reply}");
    }
    let reply = report(&relay, &format!("postmaster@{DOMAIN}"), "Subject: hello postmaster").await;
    assert!(reply.starts_with("250 2.6.0 "), "{reply}");
    // Without a domain it is the same.
    let reply = report(&relay, "Postmaster", "Subject: hello without domain").await;
    assert!(reply.starts_with("250 2.6.0 "), "{reply}");
    let texts = kept(&relay, "unattributed/strangers");
    assert_eq!(texts.len(), 3, "as many as configured");
    assert!(
        texts[0].starts_with("Return-Path: <spam@elsewhere.test>\r\nX-Remuda-Verdict: not_a_bounce\r\nReceived: from")
    );
    let texts = kept(&relay, "unattributed/ours");
    assert_eq!(texts.len(), 2);
    assert!(texts[0].ends_with("Subject: hello postmaster\r\n"), "{}", texts[0]);
    assert_eq!(verdicts(&relay, "not_a_bounce").await, 7);
    assert!(
        relay.log().contains("report verdict=not_a_bounce mail_kind=not-a-bounce mail=kept_aside"),
        "{}",
        relay.log()
    );
    assert_eq!(number(&relay.status().await, "/counts/accepted_messages"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_shows_the_reports() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    assert!(report(&relay, "fbl@relay.test", "Subject: hello").await.starts_with("250 "));
    let admin = relay.admin().to_string();
    for more in [&["--kind", "report"][..], &[]] {
        let arguments = [&["events", "--admin", &admin], more].concat();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_remuda"));
        let done = tokio::task::block_in_place(|| command.args(&arguments).output().unwrap());
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(said.contains("report") && said.contains("not_a_bounce") && said.contains("not-a-bounce"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_answer_to_a_rewritten_return_path_reaches_the_sender() {
    let sink = keeping_sink().await;
    let settings = settings(&sink);
    let mut relay = Relay::start(&settings).await;
    let id = relayed(&relay, &sink, "bob@receiver.test").await;
    // The sender is known after a restart.
    relay.restart(&settings).await;
    let to = format!("b-{}@{DOMAIN}", mark(&keys(&relay), id, "a"));
    let reply =
        Client::connect(relay.listener(1)).await.sends("bob@receiver.test", &to, "Subject: thanks\n\nhello").await;
    assert!(reply.starts_with("250 2.6.0 "), "{reply}");
    wait_for_messages(&sink, 2).await;
    relay.wait_until_empty().await;
    let taken = sink.log().pop().unwrap();
    assert_eq!((&*taken.reverse_path, &taken.recipients[..]), ("", &["news@acme.test".into()][..]));
    let body = String::from_utf8_lossy(taken.body.as_deref().unwrap()).into_owned();
    let received = "Received: from mx.receiver.test ([127.0.0.1])\r\n\tby relay.test with SMTP id ";
    assert_eq!(body.matches("Received:").count(), 1);
    assert!(body.contains(received) && body.contains("Subject: thanks\r\n\r\nhello"), "{body}");
    let status = relay.status().await;
    let counts = ["accepted_messages", "delivered"].map(|count| number(&status, &format!("/counts/{count}")));
    assert_eq!(counts, [1, 1], "since the restart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounce_counts_once_across_a_restart() {
    let sink = keeping_sink().await;
    let settings = settings(&sink);
    let mut relay = Relay::start(&settings).await;
    let id = relayed(&relay, &sink, "bob@receiver.test").await;
    let keys = keys(&relay);
    let to = format!("b-{}@{DOMAIN}", mark(&keys, id, "a"));
    let mail = bounce("bob@receiver.test", "550 5.1.1 no such user", "");
    assert!(report(&relay, &to, &mail).await.starts_with("250 2.6.0 "));
    assert_eq!((verdicts(&relay, "booked").await, verdicts(&relay, "duplicate").await), (1, 0));
    assert!(report(&relay, &to, &mail).await.starts_with("250 2.6.0 "));
    assert_eq!((verdicts(&relay, "booked").await, verdicts(&relay, "duplicate").await), (1, 1));
    relay.wait_until_empty().await;
    relay.restart(&settings).await;
    assert!(report(&relay, &to, &mail).await.starts_with("250 2.6.0 "));
    assert_eq!((verdicts(&relay, "booked").await, verdicts(&relay, "duplicate").await), (0, 1));
    // The sender got it once.
    relay.wait_until_empty().await;
    let bounces = sink.log().into_iter().filter(|taken| taken.reverse_path.is_empty());
    assert_eq!(bounces.map(|taken| taken.recipients).collect::<Vec<_>>(), [["news@acme.test".into()]]);
    // One about an attempt a month ago is taken, and counts for nothing.
    let late = format!("b-{}@{DOMAIN}", mark(&keys, old(id), "a"));
    assert!(report(&relay, &late, &mail).await.starts_with("250 2.6.0 "));
    assert_eq!(verdicts(&relay, "late").await, 1);
    assert_eq!(metric(&relay, "remuda_late_bounces_total", &[]).await, 0, "none since the restart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_bounce_and_a_redacted_complaint_are_evidence_on_the_binding_that_delivered_and_a_forged_one_is_not() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    relayed(&relay, &sink, "bob@receiver.test").await;
    let taken = sink.log().pop().unwrap();
    let body = String::from_utf8_lossy(taken.body.as_deref().unwrap()).into_owned();
    let field = body.lines().find_map(|line| line.strip_prefix("X-Remuda-Id: ")).unwrap_or_else(|| panic!("{body}"));
    let (delivered_by, other) = if taken.ehlo.starts_with('a') { ("a", "b") } else { ("b", "a") };
    let on = |binding: &str| format!("binding=\"{binding}\"");
    let provider = "destination=\"receiver\"";

    // Sent by the receiver to the return path that it saw.
    let address = if delivered_by == "a" { "127.0.0.11" } else { "127.0.0.12" };
    let blocked = format!("550 5.7.1 Service unavailable; client [{address}] blocked using zen.spamhaus.org");
    let reply = report(&relay, &taken.reverse_path, &bounce("bob@receiver.test", &blocked, "")).await;
    assert!(reply.starts_with("250 2.6.0 "), "{reply}");
    let labels = [&*on(delivered_by), provider, "cause=\"spam_block_ip\""];
    assert_eq!(metric(&relay, "remuda_late_bounces_total", &labels).await, 1);
    assert!(relay.log().contains("_counts=true") || relay.log().contains(" counts=true"), "{}", relay.log());

    // One complaint, whatever it claims: the message had one recipient.
    assert!(report(&relay, "fbl@relay.test", &complaint(field)).await.starts_with("250 2.6.0 "));
    let labels = [&*on(delivered_by), provider, "tenant=\"acme\""];
    assert_eq!(metric(&relay, "remuda_complaints_total", &labels).await, 1);

    let id = MessageId(0x0001_9f00_1234_5678);
    let quoted = format!("X-Remuda-Id: {}\n", forged(id));
    for mail in [complaint(&forged(id)), bounce("bob@receiver.test", &blocked, &quoted)] {
        assert!(report(&relay, "fbl@relay.test", &mail).await.starts_with("250 2.6.0 "));
    }
    assert_eq!(verdicts(&relay, "forged").await, 2);
    for name in ["remuda_late_bounces_total", "remuda_complaints_total"] {
        assert_eq!(metric(&relay, name, &[&on(other)]).await, 0);
        assert_eq!(metric(&relay, name, &[&on(delivered_by)]).await, 1);
    }
    assert_eq!(verdicts(&relay, "booked").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarder_whose_own_address_was_refused_moves_nothing() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    for name in ["ann", "bob", "carl"] {
        relayed(&relay, &sink, &format!("{name}@receiver.test")).await;
        let to = sink.log().pop().unwrap().reverse_path;
        let blocked = "550 5.7.1 Service unavailable; client host blocked using zen.spamhaus.org";
        let mail = bounce(&format!("{name}@{name}.test"), blocked, "");
        let mail = mail.replace("Action: failed", &format!("Action: failed\nRemote-MTA: dns; mx.{name}.test"));
        assert!(report(&relay, &to, &mail).await.starts_with("250 2.6.0 "));
    }
    assert_eq!(verdicts(&relay, "booked").await, 3);
    assert_eq!(metric(&relay, "remuda_late_bounces_total", &["cause=\"spam_block_ip\""]).await, 0);
    assert!(!relay.log().contains("counts=true"), "{}", relay.log());
    assert_eq!(relay.get("/api/v1/events?kind=health").await, "{\"events\":[]}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_bounce_from_a_site_is_attributed_to_it_and_survives_a_new_return_path_domain() {
    let sink = keeping_sink().await;
    let mut relay = Relay::start(&settings(&sink)).await;
    relayed(&relay, &sink, "bob@elsewhere.test").await;
    let to = sink.log().pop().unwrap().reverse_path;
    let mail = |name: &str| bounce(&format!("{name}@elsewhere.test"), "550 5.1.1 no such user", "");
    assert!(report(&relay, &to, &mail("bob")).await.starts_with("250 2.6.0 "));
    let destination = || {
        let log = relay.log();
        let line = log.lines().rev().find(|line| line.contains("report verdict=booked")).unwrap_or_default().to_owned();
        line.split(' ').find(|word| word.starts_with("destination=")).map(str::to_owned)
    };
    assert!(destination().is_some_and(|named| named.len() > "destination=".len()), "{}", relay.log());
    relay.wait_until_empty().await;

    let renamed = settings(&sink).set("tenant.acme", "return_path_domain", "\"rp.acme.test\"");
    relay.restart(&renamed).await;
    assert!(report(&relay, &to, &mail("alias-of-bob")).await.starts_with("250 2.6.0 "));
    wait_for_messages(&sink, 3).await;
    let passed = sink.log().pop().unwrap();
    assert_eq!((&*passed.reverse_path, &passed.recipients[..]), ("", &["news@acme.test".into()][..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounce_that_its_sender_refuses_is_kept() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&settings(&sink)).await;
    relayed(&relay, &sink, "bob@receiver.test").await;
    let to = sink.log().pop().unwrap().reverse_path;
    sink.add(Rule::reply(Stage::Rcpt, "550 5.1.1 no such user news".to_owned()).to_local("news"));
    let mail = bounce("bob@receiver.test", "550 5.1.1 no such user", "");
    assert!(report(&relay, &to, &mail).await.starts_with("250 2.6.0 "));
    relay.wait_until_empty().await;
    let texts = kept(&relay, "unattributed/ours");
    assert_eq!(texts.len(), 1);
    let head =
        "Return-Path: <>\r\nX-Remuda-Verdict: undeliverable\r\nX-Remuda-Undeliverable: <news@acme.test> 550 5.1.1";
    assert!(
        texts[0].starts_with(head) && texts[0].contains("Final-Recipient: rfc822; bob@receiver.test"),
        "{}",
        texts[0]
    );
}
