//! Software that others wrote: swaks and Python as clients, Postfix as a receiver and as a client, Exim as a client.
//!
//! The files in `config/clients` are used as they stand; only addresses, ports and directories are put in their places.

mod peers {
    use std::process::Command;

    use remuda::demo::sink::Sink;

    use super::exim::Exim;
    use super::postfix::Postfix;
    use super::shipped;
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
        let postfix = Postfix::start_as_client(&["login.cf", "remuda_relay", "remuda_users"], relay.listener(1)).await;
        send_by_turns(postfix.addr(), 20).await;
        came_from_their_own(&sink, 20, "ESMTPA").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Postfix and root; tests/run installs it"]
    async fn postfix_without_a_login_is_known_by_its_senders_domains() {
        let sink = keeping_sink().await;
        let (_users, relay) = relay_of_the_example(&sink).await;
        let postfix = Postfix::start_as_client(&["trusted.cf"], relay.listener(2)).await;
        send_by_turns(postfix.addr(), 20).await;
        came_from_their_own(&sink, 20, "ESMTP").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Exim and root; tests/run fetches it"]
    async fn exim_logs_in_by_another_user_for_each_sender() {
        let sink = keeping_sink().await;
        let (_users, relay) = relay_of_the_example(&sink).await;
        let exim = Exim::with_client_files(relay.listener(1));
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

mod exim {
    use std::fs;
    use std::io::Write as _;
    use std::net::SocketAddr;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use tempfile::TempDir;

    use super::shipped;

    /// Exim from its Debian package, unpacked by `tests/run` beside the build (Postfix and Exim cannot both be installed):
    /// configuration, spool and log in one directory.
    pub(super) struct Exim {
        directory: TempDir,
    }

    impl Drop for Exim {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("--- Exim's logs\n{}", self.log());
            }
        }
    }

    impl Exim {
        /// Sends everything to `relay` with the files of `config/clients/exim`.
        pub(super) fn with_client_files(relay: SocketAddr) -> Self {
            let exim = Self { directory: tempfile::tempdir().unwrap() };
            fs::set_permissions(exim.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let base = exim.directory.path().display().to_string();
            for name in ["spool", "log"] {
                fs::create_dir(exim.path(name)).unwrap();
                let own = Command::new("chown").arg("Debian-exim:Debian-exim").arg(exim.path(name)).status();
                assert!(own.expect("chown").success(), "Exim needs root and its user");
            }
            // It runs itself anew as its own user, who may not look into the directory of the builds.
            let program = program();
            fs::copy(&program, exim.path("exim4"))
                .unwrap_or_else(|e| panic!("{}: {e}; tests/run fetches it", program.display()));
            let program = exim.path("exim4").display().to_string();
            let file = |name: &str| {
                let text = shipped(&format!("exim/{name}"));
                text.replace("/etc/exim4", &base)
                    .replace("REMUDA_PORT = 2587", &format!("REMUDA_PORT = {}", relay.port()))
            };
            let main = format!(
                "exim_path = {program}\nprimary_hostname = client.test\nspool_directory = {base}/spool\nlog_file_path = {base}/log/%slog\n\
                 domainlist local_domains = @\nlog_selector = +smtp_confirmation +all_parents\n\
                 keep_environment =\nqualify_domain = client.test\n\
                 {}\nbegin routers\n{}\nbegin transports\n{}\nbegin authenticators\n{}\nbegin retry\n* * F,2h,10m\n",
                file("00_remuda_main"),
                file("190_remuda_router"),
                file("30_remuda_transport"),
                file("30_remuda_auth"),
            );
            fs::write(exim.path("exim.conf"), main).unwrap();
            fs::write(exim.path("remuda.users"), file("remuda.users")).unwrap();
            exim
        }

        /// Hands it a message and waits for its one try to deliver it.
        pub(super) fn send(&self, from: &str, to: &str) {
            let mut child = Command::new(self.path("exim4"))
                .arg("-C")
                .arg(self.path("exim.conf"))
                .args(["-odi", "-f", from, to])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let text = format!("From: {from}\nTo: {to}\nSubject: by Exim\n\nhello\n");
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.success(), "{}\n{said}\n{}", output.status, self.log());
        }

        /// Its logs.
        pub(super) fn log(&self) -> String {
            let read = |name| fs::read_to_string(self.path("log").join(name)).unwrap_or_default();
            ["mainlog", "rejectlog", "paniclog"].map(read).concat()
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }
    }

    /// Where `tests/run` unpacks it: in the directory of all builds.
    fn program() -> PathBuf {
        let builds = Path::new(env!("CARGO_BIN_EXE_remuda")).ancestors().nth(2).unwrap();
        builds.join("peers/exim4/usr/sbin/exim4")
    }
}

mod postfix {
    use std::fs;
    use std::net::{SocketAddr, TcpListener};
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use tempfile::TempDir;
    use tokio::net::TcpStream;

    use super::shipped;
    use crate::support::{anywhere, wait_until};

    /// A Postfix of its own: configuration, queue, data, log and mailboxes in one directory; stopped by its own means.
    pub(super) struct Postfix {
        directory: TempDir,
        address: SocketAddr,
    }

    impl Drop for Postfix {
        fn drop(&mut self) {
            let stopped = control(&self.config(), "stop");
            if std::thread::panicking() {
                eprintln!("--- stop: {stopped}\n--- Postfix's log\n{}", self.log());
            }
        }
    }

    impl Postfix {
        /// Takes mail for `users` at postfix.test into Maildirs, and with `relay_host` sends all other mail there.
        pub(super) async fn start(users: &[&str], relay_host: Option<SocketAddr>) -> Self {
            let postfix = Self::new();
            postfix.write(
                users,
                &relay_host.map(|to| format!("relayhost = [{}]:{}", to.ip(), to.port())).unwrap_or_default(),
            );
            postfix.run().await
        }

        /// Takes everybody's mail, and sends it to `relay` by these files of `config/clients/postfix`: those that end in `.cf`
        /// are appended to main.cf, the others lie beside it.
        pub(super) async fn start_as_client(files: &[&str], relay: SocketAddr) -> Self {
            let postfix = Self::new();
            let config = postfix.config();
            let mut more = String::new();
            for name in files {
                let text = shipped(&format!("postfix/{name}")).replace("/etc/postfix", &config.display().to_string());
                let text = text.replace("[127.0.0.1]:2587", &format!("[127.0.0.1]:{}", relay.port()));
                let text = text.replace("[127.0.0.1]:2525", &format!("[127.0.0.1]:{}", relay.port()));
                if name.ends_with(".cf") {
                    more += &text;
                } else {
                    fs::create_dir_all(&config).unwrap();
                    fs::write(config.join(name), text).unwrap();
                }
            }
            postfix.write(&[], &more);
            postfix.run().await
        }

        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            // It cannot be asked for a port of the system's choice; one that was free just now is the next best.
            let address = TcpListener::bind(anywhere()).unwrap().local_addr().unwrap();
            Self { directory, address }
        }

        async fn run(self) -> Self {
            let said = control(&self.config(), "start");
            let address = self.address;
            wait_until("Postfix listens", async || TcpStream::connect(address).await.ok().map(drop)).await;
            assert!(!said.contains("fatal"), "{said}");
            self
        }

        /// Where it takes mail.
        pub(super) fn addr(&self) -> SocketAddr {
            self.address
        }

        /// The messages in the mailbox of `user`.
        pub(super) fn mailbox(&self, user: &str) -> Vec<String> {
            let Ok(files) = fs::read_dir(self.path("mail").join(user).join("new")) else { return Vec::new() };
            files.map(|file| String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap()).into_owned()).collect()
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn config(&self) -> PathBuf {
            self.path("config")
        }

        fn log(&self) -> String {
            fs::read_to_string(self.path("log")).unwrap_or_default()
        }

        fn write(&self, users: &[&str], more: &str) {
            fs::set_permissions(self.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
            for name in ["config", "queue", "data", "mail"] {
                fs::create_dir_all(self.path(name)).unwrap();
            }
            give(&self.path("data"), "postfix");
            give(&self.path("mail"), "nobody");
            let base = self.directory.path().display();
            let port = self.address.port();
            let mailboxes: Vec<String> = users.iter().map(|u| format!("{{{u}@postfix.test = {u}/}}")).collect();
            let networks = if more.is_empty() { "" } else { "127.0.0.0/8" };
            let (uid, gid) = (id("-u", "nobody"), id("-g", "nobody"));
            let main = format!(
                "compatibility_level = 3.6\n\
                 queue_directory = {base}/queue\ndata_directory = {base}/data\n\
                 maillog_file = {base}/log\nmaillog_file_prefixes = {base}\n\
                 myhostname = mx.postfix.test\nmydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
                 mynetworks = {networks}\nalias_maps =\nlocal_recipient_maps =\nbiff = no\n\
                 smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n\
                 smtp_host_lookup = native\nsmtp_dns_support_level = disabled\n\
                 virtual_mailbox_domains = postfix.test\nvirtual_mailbox_base = {base}/mail\n\
                 virtual_mailbox_maps = inline:{{ {} }}\n\
                 virtual_uid_maps = static:{uid}\nvirtual_gid_maps = static:{gid}\nvirtual_minimum_uid = 1\n{more}\n",
                mailboxes.join(", ")
            );
            let master = format!(
                "127.0.0.1:{port} inet n - n - - smtpd\n\
                 pickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
                 tlsmgr unix - - n 1000? 1 tlsmgr\nrewrite unix - - n - - trivial-rewrite\n\
                 bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
                 verify unix - - n - 1 verify\nflush unix n - n 1000? 0 flush\nproxymap unix - - n - - proxymap\n\
                 smtp unix - - n - - smtp\nrelay unix - - n - - smtp\nshowq unix n - n - - showq\n\
                 error unix - - n - - error\nretry unix - - n - - error\ndiscard unix - - n - - discard\n\
                 virtual unix - n n - - virtual\nanvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\n\
                 postlog unix-dgram n - n - 1 postlogd\n"
            );
            fs::write(self.config().join("main.cf"), main).unwrap();
            fs::write(self.config().join("master.cf"), master).unwrap();
        }
    }

    /// `postfix -c DIR VERB`; what it said.
    fn control(config: &Path, verb: &str) -> String {
        let output = Command::new("postfix").arg("-c").arg(config).arg(verb).output().expect("postfix");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn give(path: &Path, user: &str) {
        let status = Command::new("chown").arg(user).arg(path).status().expect("chown");
        assert!(status.success(), "Postfix needs root: chown {user} {}", path.display());
    }

    fn id(what: &str, user: &str) -> String {
        let output = Command::new("id").args([what, user]).output().expect("id");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}
