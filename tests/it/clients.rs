//! Software that others wrote: swaks and Python as clients, Postfix as a receiver and as a client, Exim as a client.
//!
//! The files in `config/clients` are used as they stand; only addresses, ports and directories are put in their places.

use std::net::SocketAddr;

use crate::support::peers::{Exim, Postfix};

mod peers {
    use std::process::Command;

    use remuda::demo::sink::Sink;

    use super::{Postfix, exim_as_client, postfix_as_client, shipped};
    use crate::support::{
        Relay, Settings, Users, all_accepted, arrived_once_each, keeping_sink, local, named, number, wait_for_messages,
        wait_until,
    };

    fn plain() -> Settings {
        Settings::new().binding("a", 11, "").pool("active = [\"a\"]")
    }

    fn run(command: &mut Command) -> String {
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
        said
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs swaks; tests/run installs it"]
    async fn swaks_sends_one_message() {
        let sink = keeping_sink().await;
        let relay = Relay::start(&plain().to(sink.addr())).await;
        let said = run(Command::new("swaks")
            .args(["--server", "127.0.0.1", "--port", &relay.smtp().port().to_string()])
            .args(["--ehlo", "client.test", "--from", "sender@example.test", "--to", "one@sink.test,two@sink.test"])
            .args(["--header", "X-Test-Id: 1", "--body", "one line\n.a dot at the beginning of another\n"]));
        assert!(said.contains("250"), "{said}");
        wait_for_messages(&sink, 1).await;
        relay.wait_until_empty().await;
        let taken = &sink.log()[0];
        assert_eq!((taken.source, taken.id.as_deref()), (local(11), Some("1")));
        let body = String::from_utf8_lossy(taken.body.as_deref().unwrap()).into_owned();
        assert!(body.contains("\r\n..a dot at the beginning of another\r\n"), "stuffed once on the wire:\n{body}");
    }

    const PYTHON: &str = r#"
import smtplib, sys
from email.message import EmailMessage
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), local_hostname="client.test") as client:
    for number in range(20):
        message = EmailMessage()
        message["From"] = "sender@example.test"
        message["To"] = f"user{number}@sink.test"
        message["Subject"] = "Grüße" if number % 2 else "plain"
        message["X-Test-Id"] = str(number)
        message.set_content("Zeile mit Umlaut: äöü\n.\n..\n" * 3, cte="8bit")
        refused = client.send_message(message, mail_options=["BODY=8BITMIME"])
        assert refused == {}, refused
    try:
        client.sendmail("sender@example.test", ["no domain at all"], b"Subject: x\r\n\r\n")
    except smtplib.SMTPRecipientsRefused as error:
        assert all(500 <= code <= 599 for code, _ in error.recipients.values()), error
    else:
        raise AssertionError("an address that is none was taken")
"#;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs python3; tests/run installs it"]
    async fn python_sends_twenty_messages_over_one_connection() {
        let sink = keeping_sink().await;
        let relay = Relay::start(&plain().to(sink.addr())).await;
        run(Command::new("python3").args(["-c", PYTHON, &relay.smtp().port().to_string()]));
        wait_for_messages(&sink, 20).await;
        relay.wait_until_empty().await;
        arrived_once_each(&sink, 0..20);
        for taken in sink.log() {
            let body = taken.body.as_deref().unwrap();
            assert!(taken.parameters.contains("BODY=8BITMIME"), "eight bits are announced: {}", taken.parameters);
            let lines = body.split(|b| *b == b'\n');
            assert_eq!(lines.filter(|line| *line == b"..\r").count(), 3, "{}", String::from_utf8_lossy(body));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Postfix and root; tests/run installs it"]
    async fn postfix_takes_our_mail_and_refuses_whom_it_does_not_know() {
        let postfix = Postfix::start(&["alice", "bob"], None).await;
        let sink = keeping_sink().await;
        let settings = plain()
            .block(format!("[[destination_route]]\ndomain = \"postfix.test\"\nhosts = [\"{}\"]\n", postfix.addr()))
            .to(sink.addr());
        let relay = Relay::start(&settings).await;
        let whom = |n: u64| vec![format!("{}@postfix.test", if n.is_multiple_of(2) { "alice" } else { "bob" })];
        all_accepted(&relay.load(200).recipients(whom).run().await);
        all_accepted(&relay.load(1).first(200).recipients(|_| vec!["carol@postfix.test".into()]).run().await);
        relay.wait_until_empty().await;
        wait_until("all is in the mailboxes", async || {
            (postfix.mailbox("alice").len() + postfix.mailbox("bob").len() >= 200).then_some(())
        })
        .await;
        let mut numbers = Vec::new();
        for message in [postfix.mailbox("alice"), postfix.mailbox("bob")].concat() {
            let id = message.lines().find_map(|line| line.strip_prefix("X-Test-Id: ")).unwrap();
            numbers.push(id.trim().parse::<u64>().unwrap());
            assert!(message.contains("(127.0.0.11)") || message.contains("[127.0.0.11]"), "{message}");
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());

        wait_for_messages(&sink, 1).await;
        let dsn = &sink.log()[0];
        assert_eq!((&*dsn.reverse_path, &*dsn.recipients), ("", &["sender@example.test".into()][..]));
        let status = relay.status().await;
        assert_eq!((number(&status, "/counts/bounced"), number(&status, "/counts/dsn")), (1, 1));
        assert_eq!(named(&status, "/bindings", "a")["health"], "active");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Postfix and root; tests/run installs it"]
    async fn postfix_sends_through_us() {
        let sink = keeping_sink().await;
        let relay = Relay::start(&plain().to(sink.addr())).await;
        let postfix = Postfix::start(&["alice"], Some(relay.smtp())).await;
        let load = remuda::demo::injector::Load::new(postfix.addr(), 50);
        all_accepted(&load.run().await);
        wait_for_messages(&sink, 50).await;
        arrived_once_each(&sink, 0..50);
        assert!(sink.log().iter().all(|taken| taken.source == local(11)));
        // Postfix has its own way with the envelope; the number is in the message.
        assert!(sink.log().iter().all(|taken| &*taken.reverse_path == "sender@example.test"));
    }

    /// A relay with `config/clients/remuda.toml`, its two tenants leaving by bindings of their own. Listener 1 asks for a
    /// login, listener 2 trusts.
    async fn relay_of_the_example(sink: &Sink) -> (Users, Relay) {
        let users = Users::of(&[("acme", "change-me-acme"), ("globex", "change-me-globex")]);
        let example = shipped("remuda.toml").replace(":2587", ":0").replace(":2525", ":0");
        let settings = Settings::new()
            .without("tenant.acme")
            .set("server", "users_file", &users.toml())
            .binding("a", 11, "")
            .binding("g", 12, "")
            .block("[pool.acme]\nactive = [\"a\"]\n[pool.globex]\nactive = [\"g\"]\n".into())
            .block(example)
            .to(sink.addr());
        (users, Relay::start(&settings).await)
    }

    const SENDERS: [(&str, u8); 2] = [("news@acme.example", 11), ("info@globex.example", 12)];

    /// Each message left from the address of its sender's tenant.
    async fn came_from_their_own(sink: &Sink, messages: u64, protocol: &str) {
        wait_for_messages(sink, messages).await;
        for (sender, last) in SENDERS {
            let log = sink.log();
            let theirs: Vec<_> = log.iter().filter(|taken| &*taken.reverse_path == sender).collect();
            assert_eq!(theirs.len() as u64, messages / 2, "{sender}");
            for taken in theirs {
                let body = String::from_utf8_lossy(taken.body.as_deref().unwrap()).into_owned();
                assert_eq!(taken.source, local(last), "{sender}\n{body}");
                assert!(body.contains(&format!("by relay.test with {protocol} id ")), "{body}");
            }
        }
    }

    async fn send_by_turns(to: std::net::SocketAddr, messages: u64) {
        let load = remuda::demo::injector::Load::new(to, messages);
        all_accepted(&load.reverse_path(|n| SENDERS[n as usize % 2].0.into()).run().await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Postfix, libsasl2-modules and root; tests/run installs them"]
    async fn postfix_logs_in_by_another_user_for_each_sender() {
        let sink = keeping_sink().await;
        let (_users, relay) = relay_of_the_example(&sink).await;
        let postfix = postfix_as_client(&["login.cf", "remuda_relay", "remuda_users"], relay.listener(1)).await;
        send_by_turns(postfix.addr(), 20).await;
        came_from_their_own(&sink, 20, "ESMTPA").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Postfix and root; tests/run installs it"]
    async fn postfix_without_a_login_is_known_by_its_senders_domains() {
        let sink = keeping_sink().await;
        let (_users, relay) = relay_of_the_example(&sink).await;
        let postfix = postfix_as_client(&["trusted.cf"], relay.listener(2)).await;
        send_by_turns(postfix.addr(), 20).await;
        came_from_their_own(&sink, 20, "ESMTP").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Exim and root; tests/run fetches it"]
    async fn exim_logs_in_by_another_user_for_each_sender() {
        let sink = keeping_sink().await;
        let (_users, relay) = relay_of_the_example(&sink).await;
        let exim = exim_as_client(relay.listener(1));
        for n in 0..6 {
            exim.send(SENDERS[n % 2].0, "user@sink.test");
        }
        came_from_their_own(&sink, 6, "ESMTPA").await;
        let log = exim.log();
        assert!(log.contains("A=remuda_plain") && !log.contains("change-me"), "{log}");
        exim.send("stranger@elsewhere.example", "user@sink.test");
        let log = exim.log();
        assert!(log.contains("stranger@elsewhere.example") && log.contains("== user@sink.test"), "it waits:\n{log}");
        assert_eq!(sink.messages(), 6, "nobody's mail does not leave as somebody else's");
    }
}

/// A file of `config/clients`.
fn shipped(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/clients").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Takes everybody's mail, and sends it to `relay` by these files of `config/clients/postfix`: those that end in `.cf` are
/// appended to main.cf, the others lie beside it.
async fn postfix_as_client(files: &[&str], relay: SocketAddr) -> Postfix {
    let texts = files.iter().map(|name| {
        let text = shipped(&format!("postfix/{name}"));
        let text = text.replace("[127.0.0.1]:2587", &format!("[127.0.0.1]:{}", relay.port()));
        (*name, text.replace("[127.0.0.1]:2525", &format!("[127.0.0.1]:{}", relay.port())))
    });
    let (main, beside): (Vec<_>, Vec<_>) = texts.partition(|(name, _)| name.ends_with(".cf"));
    let main: String = main.into_iter().map(|(_, text)| text).collect();
    Postfix::client(&main, &beside).await
}

/// Sends everything to `relay` with the files of `config/clients/exim`.
fn exim_as_client(relay: SocketAddr) -> Exim {
    let file = |name: &str| {
        let text = shipped(&format!("exim/{name}"));
        text.replace("REMUDA_PORT = 2587", &format!("REMUDA_PORT = {}", relay.port()))
    };
    let files = ["00_remuda_main", "190_remuda_router", "30_remuda_transport", "30_remuda_auth"].map(file);
    Exim::with_client_files(files, &file("remuda.users"))
}
