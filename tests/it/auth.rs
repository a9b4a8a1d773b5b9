//! Users log in with AUTH and send as the tenant that is theirs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Relay, Settings, Talker, Users, keeping_sink, local, quoted, sink, wait_for_messages};

/// Pools of one binding each for `acme` (user acme) and `globex` (user globex, or everybody at globex.test); a listener
/// with a login beside the usual one.
fn two_tenants(users: &Users, mode: &str) -> Settings {
    Settings::new()
        .set("server", "users_file", &users.toml())
        .binding("a", 11, "")
        .binding("b", 12, "")
        .pool("active = [\"a\"]")
        .block("[pool.other]\nactive = [\"b\"]\n".into())
        .set("tenant.acme", "match", "{ auth_user = [\"acme\"], client = [\"127.0.0.0/8\"] }")
        .set("tenant.globex", "match", "{ auth_user = [\"globex\"], sender_domain = [\"globex.test\"] }")
        .set("tenant.globex", "pools", "{ default = \"other\" }")
        .block(format!("[[listener]]\naddress = \"127.0.0.1:0\"\nauth = \"{mode}\"\nauth_insecure = true\n"))
}

/// `\0user\0password` in base64.
fn plain(user: &str, password: &str) -> String {
    let script = "printf '\\0%s\\0%s' \"$0\" \"$1\" | base64 -w0";
    let output = Command::new("sh").args(["-c", script, user, password]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

async fn logged_in(relay: &Relay, user: &str, password: &str) -> (Talker, String) {
    let mut client = Talker::at(relay.listener(1)).await;
    assert_eq!(client.say("EHLO client.test").await, "250 AUTH PLAIN LOGIN SCRAM-SHA-256");
    let reply = client.say(&format!("AUTH PLAIN {}", plain(user, password))).await;
    (client, reply)
}

async fn send(client: &mut Talker, from: &str, headers: &str) -> String {
    for (line, code) in [(&*format!("MAIL FROM:<{from}>"), "250"), ("RCPT TO:<user@sink.test>", "250"), ("DATA", "354")]
    {
        let reply = client.say(line).await;
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
    client.say(&format!("{headers}Subject: x\r\n\r\ntext\r\n.")).await
}

#[tokio::test]
async fn the_user_decides_the_tenant_whatever_sender_and_headers_say() {
    let sink = keeping_sink().await;
    let users = Users::of(&[("acme", "one password"), ("globex", "another one")]);
    let relay = Relay::start(&two_tenants(&users, "required").to(sink.addr())).await;
    for (n, (user, password, from, headers, source)) in [
        ("acme", "one password", "x@globex.test", "", 11),
        ("acme", "one password", "x@acme.test", "X-Remuda-Tenant: globex\r\n", 11),
        ("globex", "another one", "x@acme.test", "", 12),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut client, reply) = logged_in(&relay, user, password).await;
        assert_eq!(reply, "235 2.7.0 authenticated");
        let reply = send(&mut client, from, headers).await;
        assert!(reply.starts_with("250 2.6.0 "), "{reply}");
        wait_for_messages(&sink, n as u64 + 1).await;
        let taken = &sink.log()[n];
        let body = String::from_utf8_lossy(taken.body.as_deref().unwrap()).into_owned();
        assert_eq!(taken.source, local(source), "{user}");
        assert!(body.contains("\r\n\tby relay.test with ESMTPA id ") && !body.contains("X-Remuda"), "{body}");
    }
    let metrics = relay.metrics().await;
    assert!(metrics.contains("remuda_ingress_logins_total{result=\"accepted\"} 3\n"), "{metrics}");
    assert!(metrics.contains("remuda_ingress_logins_total{result=\"refused\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn without_the_right_password_nothing_goes_and_nothing_of_it_is_told() {
    let sink = sink().await;
    let users = Users::of(&[("acme", "one password")]);
    let relay = Relay::start(&two_tenants(&users, "required").to(sink.addr())).await;
    let mut client = Talker::at(relay.listener(1)).await;
    client.say("EHLO client.test").await;
    assert_eq!(client.say("MAIL FROM:<a@b.test>").await, "530 5.7.0 authentication required");
    let (mut client, reply) = logged_in(&relay, "acme", "wrong-hunter2").await;
    assert_eq!(reply, "535 5.7.8 user name or password is wrong");
    let of_nobody = client.say(&format!("AUTH PLAIN {}", plain("hunter3", "x"))).await;
    assert_eq!(of_nobody, reply, "who is a user and who is not is not told");
    assert_eq!(client.say("MAIL FROM:<a@b.test>").await, "530 5.7.0 authentication required");
    assert_eq!(client.say(&format!("AUTH PLAIN {}", plain("acme", "hunter4"))).await, reply);
    assert_eq!(client.reply().await, "421 4.7.0 too many failed logins, closing");
    assert_eq!(client.reply().await, "");

    let (log, metrics) = (relay.log(), relay.metrics().await);
    assert!(log.contains("login refused") && log.contains("(unknown)") && log.contains("acme"), "{log}");
    for said in [&log, &metrics, &relay.get("/api/v1/status").await] {
        assert!(!said.contains("hunter") && !said.contains("argon2"), "{said}");
    }
    assert!(metrics.contains("remuda_ingress_logins_total{result=\"refused\"} 3\n"), "{metrics}");
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn where_it_is_optional_strangers_are_told_to_log_in_and_trusted_clients_need_not() {
    let sink = sink().await;
    let users = Users::of(&[("acme", "one password")]);
    let trusting = "[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\nauth = \"optional\"\nauth_insecure = true\n";
    let relay = Relay::start(&two_tenants(&users, "optional").block(trusting.into()).to(sink.addr())).await;
    let mut client = Talker::at(relay.listener(1)).await;
    client.say("EHLO client.test").await;
    client.say("MAIL FROM:<a@b.test>").await;
    assert_eq!(client.say("RCPT TO:<b@sink.test>").await, "550 5.7.1 relaying denied without authentication");
    let mut client = Talker::at(relay.listener(2)).await;
    client.say("EHLO client.test").await;
    assert!(send(&mut client, "a@b.test", "").await.starts_with("250 "));
    let mut plain_one = Talker::at(relay.listener(0)).await;
    assert_eq!(plain_one.say("EHLO client.test").await, "250 ENHANCEDSTATUSCODES", "no AUTH where none is configured");
    wait_for_messages(&sink, 1).await;
}

#[tokio::test]
async fn a_new_user_can_log_in_at_once_and_a_bad_file_locks_nobody_out() {
    let users = Users::of(&[("acme", "one password")]);
    let sink = sink().await;
    let relay = Relay::start(&two_tenants(&users, "required").to(sink.addr())).await;
    let other = Users::of(&[("globex", "another one")]);
    users.write(&(users.text() + &other.text()));
    assert!(logged_in(&relay, "globex", "another one").await.1.starts_with("235 "));
    users.write("globex:another one\n");
    assert!(logged_in(&relay, "globex", "another one").await.1.starts_with("235 "));
    let log = relay.log();
    assert!(log.contains("the former users stay in force") && log.contains("line 1: no argon2id hash"), "{log}");
    users.write(&other.text());
    assert!(logged_in(&relay, "acme", "one password").await.1.starts_with("535 "));
}

fn remuda(arguments: &[&str], config: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_remuda")).args(arguments).arg("-c").arg(config).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn check_and_run_name_what_is_wrong_with_logins_and_the_remedy() {
    let users = Users::of(&[("acme", "one password")]);
    let state = tempfile::tempdir().unwrap();
    let config = state.path().join("remuda.toml");
    let good = two_tenants(&users, "required").to("127.0.0.1:9".parse().unwrap()).text(state.path());
    let said = |text: &str| {
        fs::write(&config, text).unwrap();
        remuda(&["check"], &config)
    };
    assert_eq!(said(&good).0, Some(0), "{}", said(&good).1);
    assert!(!said(&good).1.contains("is no tenant's"));
    let (code, stray) = said(&good.replacen("auth_user = [\"acme\"]", "auth_user = [\"other\"]", 1));
    assert!(
        code == Some(0) && stray.contains("warning: ") && stray.contains("user \"acme\" is no tenant's"),
        "{stray}"
    );
    for (from, to, says) in [
        ("auth = \"required\"", "auth = \"on\"", "write one of \"off\", \"optional\", \"required\""),
        (
            "address = \"127.0.0.1:0\"\nauth",
            "address = \"0.0.0.0:0\"\nauth",
            "listener[1].auth_insecure: passwords would cross the network readable; leave it out and write tls",
        ),
        (
            "users_file = ",
            "# users_file = ",
            "listener[1].auth: nobody could log in: server.users_file is missing; write",
        ),
        (&*users.toml(), &*quoted(&state.path().join("none")), "none: cannot be read: No such file"),
    ] {
        let (code, said) = said(&good.replacen(from, to, 1));
        assert!(code == Some(1) && said.contains(says), "{says}\n{said}");
    }
    fs::set_permissions(users.path(), fs::Permissions::from_mode(0o644)).unwrap();
    for verb in ["check", "run"] {
        fs::write(&config, &good).unwrap();
        let (code, said) = remuda(&[verb], &config);
        assert!(code == Some(1) && said.contains("its mode is 0644") && said.contains("chmod 640"), "{verb}: {said}");
    }
}

#[test]
fn user_hash_takes_a_password_from_its_input_and_shows_it_nowhere() {
    let hash = |name: &str, input: &str| {
        let command = "printf '%s' \"$2\" | \"$0\" user hash \"$1\"";
        let output = Command::new("sh").args(["-c", command, env!("CARGO_BIN_EXE_remuda"), name, input]).output();
        let output = output.unwrap();
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, line, warned) = hash("acme", "hunter2\n");
    assert_eq!(code, Some(0), "{warned}");
    assert!(line.starts_with("acme:$argon2id$v=19$m=19456,t=2,p=1$") && line.ends_with('\n'), "{line}");
    assert!(warned.contains("fewer than 12") && !(line + &warned).contains("hunter2"), "{warned}");
    assert_ne!(hash("acme", "hunter2\n").1, hash("acme", "hunter2\n").1, "salted");
    for (name, input) in [("a b", "long enough to do"), ("a:b", "long enough to do"), ("acme", ""), ("acme", "a\tb")] {
        let (code, line, said) = hash(name, input);
        assert_eq!((code, &*line), (Some(1), ""), "{said}");
    }
}

mod peers {
    use super::*;

    const PYTHON: &str = r#"
import smtplib, sys
port = int(sys.argv[1])
for mechanism in ("PLAIN", "LOGIN"):
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test") as client:
        client.ehlo()
        client.user, client.password = "acme", "one password"
        call = client.auth_plain if mechanism == "PLAIN" else client.auth_login
        code, said = client.auth(mechanism, call)
        assert code == 235, (code, said)
        assert client.sendmail("x@acme.test", ["one@sink.test"], b"Subject: x\r\n\r\n" + mechanism.encode()) == {}
with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test") as client:
    try:
        client.login("acme", "wrong")
    except smtplib.SMTPAuthenticationError as error:
        assert error.smtp_code == 535, error
    else:
        raise AssertionError("let in")
"#;

    fn run(command: &mut Command) -> String {
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
        said
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs python3 and swaks; tests/run installs them"]
    async fn python_and_swaks_log_in_by_plain_and_login() {
        let sink = keeping_sink().await;
        let users = Users::of(&[("acme", "one password")]);
        let relay = Relay::start(&two_tenants(&users, "required").to(sink.addr())).await;
        let port = relay.listener(1).port().to_string();
        run(Command::new("python3").args(["-c", PYTHON, &port]));
        for mechanism in ["PLAIN", "LOGIN"] {
            run(Command::new("swaks")
                .args(["--server", "127.0.0.1", "--port", &port, "--ehlo", "client.test", "--auth", mechanism])
                .args(["--auth-user", "acme", "--auth-password", "one password"])
                .args(["--from", "x@acme.test", "--to", "two@sink.test"]));
        }
        wait_for_messages(&sink, 4).await;
        assert!(sink.log().iter().all(|taken| taken.source == local(11)));
    }
}
