//! Signatures: what a receiver got verifies, by mail-auth and by a verifier of somebody else.

use std::path::Path;
use std::process::Command;

use hickory_resolver::Resolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use remuda::demo::sink::Sink;
use remuda::demo::zone::Zone;

use crate::http_in::unstuffed;
use crate::support::{Relay, Settings, Talker, anywhere, keeping_sink, wait_for_messages};

fn remuda(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_remuda")).args(arguments).current_dir(directory).output().unwrap();
    let [out, err] = [done.stdout, done.stderr].map(|said| String::from_utf8(said).unwrap());
    (done.status.code(), out, err)
}

/// Makes a key as an operator would: name of its record and the record.
fn keygen(directory: &Path, domain: &str, selector: &str, more: &[&str]) -> (String, String) {
    let (code, out, err) = remuda(directory, &[&["dkim", "keygen", domain, selector], more].concat());
    assert_eq!(code, Some(0), "{err}");
    let name = out.split(' ').next().unwrap().trim_end_matches('.').to_owned();
    let record: String = out.split('"').skip(1).step_by(2).collect();
    let table = format!("[dkim.{}-{selector}]\ndomain = \"{domain}\"", domain.replace('.', "-"));
    assert!(err.contains(&table), "{err}");
    (name, record)
}

/// `acme` has two keys for its domain and one of the house, `globex` that of the house only.
fn settings(directory: &Path) -> Settings {
    let key = |name: &str, domain: &str, selector: &str, more: &str| {
        let file = directory.join(format!("{selector}.{domain}.pem")).display().to_string();
        format!("[dkim.{name}]\ndomain = \"{domain}\"\nselector = \"{selector}\"\nkey = {file:?}\n{more}")
    };
    Settings::new()
        .binding("a", 11, "")
        .pool("active = [\"a\"]")
        .set("tenant.acme", "dkim", "[\"house\"]")
        .set("tenant.acme", "match", "{ sender_domain = [\"acme.test\"] }")
        .set("tenant.globex", "match", "{ client = [\"127.0.0.0/8\"] }")
        .set("tenant.globex", "pools", "{ default = \"main\" }")
        .set("tenant.globex", "dkim", "[\"house\"]")
        .block(key("rsa", "acme.test", "r1", "tenants = [\"acme\"]\nsubdomains = true\n"))
        .block(key("ed", "acme.test", "e1", "tenants = [\"acme\"]\n"))
        .block(key("house", "relay.example", "h1", ""))
}

async fn world() -> (tempfile::TempDir, Zone, Sink, Relay) {
    let directory = tempfile::tempdir().unwrap();
    let zone = Zone::start(anywhere()).await.unwrap();
    for (domain, selector, more) in
        [("acme.test", "r1", &[][..]), ("acme.test", "e1", &["--ed25519"]), ("relay.example", "h1", &["--rsa", "2048"])]
    {
        let (name, record) = keygen(directory.path(), domain, selector, more);
        zone.txt(&name, &record);
    }
    let sink = keeping_sink().await;
    let relay = Relay::start(&settings(directory.path()).to(sink.addr())).await;
    (directory, zone, sink, relay)
}

async fn send(relay: &Relay, sender: &str, message: &str) {
    send_to(relay, sender, "user@sink.test", message).await;
}

async fn send_to(relay: &Relay, sender: &str, recipient: &str, message: &str) {
    let mut client = Talker::at(relay.smtp()).await;
    client.say("EHLO client.test").await;
    for (line, code) in
        [(format!("MAIL FROM:<{sender}>"), "250"), (format!("RCPT TO:<{recipient}>"), "250"), ("DATA".into(), "354")]
    {
        let reply = client.say(&line).await;
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
    let reply = client.say(&format!("{message}\r\n.")).await;
    assert!(reply.starts_with("250 "), "{reply}");
}

fn authenticator(zone: &Zone) -> MessageAuthenticator {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = zone.addr().port();
        connection
    });
    let server = NameServerConfig::new(zone.addr().ip(), true, connections.to_vec());
    let config = ResolverConfig::from_name_servers(vec![server]);
    let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    MessageAuthenticator(builder.build().unwrap())
}

/// Domain, selector and whether it holds, of all signatures from the top.
async fn verified(zone: &Zone, message: &[u8]) -> Vec<(String, bool)> {
    let parsed = AuthenticatedMessage::parse(message).unwrap();
    let results = authenticator(zone).verify_dkim(&parsed).await;
    let shown = |output: &mail_auth::DkimOutput<'_>| {
        let signature = output.signature().unwrap();
        (format!("{}/{}", signature.d, signature.s), *output.result() == DkimResult::Pass)
    };
    results.iter().map(shown).collect()
}

fn held(names: &[&str]) -> Vec<(String, bool)> {
    names.iter().map(|name| ((*name).to_owned(), true)).collect()
}

/// Messages that signing must get right.
const ODD: [&str; 5] = [
    "From: Ann <ann@acme.test>\r\nTo: user@sink.test\r\nSubject: x\r\n\r\nHello\r\n..stuffed\r\n \t \r\n\r\n",
    "FROM : ann@acme.test\r\nSubject:  folded\r\n\t\tand \r\n more \r\n\r\nGr\u{fc}\u{df}e\r\n",
    "From: ann@acme.test\r\n\r\n",
    "From: ann@acme.test\r\nSubject: a\r\nSubject: b\r\nX: :\r\n\r\n\r\n\r\nx\r\n\r\n\r\n",
    "Received: from elsewhere\r\nReturn-Path: <x@y>\r\nFrom: ann@acme.test\r\nList-Unsubscribe: <https://acme.test/u>\r\n\r\nx",
];

#[tokio::test]
async fn what_a_receiver_got_verifies_and_nobody_signs_as_another() {
    let (_directory, zone, sink, relay) = world().await;
    for message in ODD {
        send(&relay, "ann@acme.test", message).await;
    }
    wait_for_messages(&sink, ODD.len() as u64).await;
    for taken in sink.log() {
        let body = unstuffed(&taken.body.unwrap());
        let all = held(&["acme.test/r1", "acme.test/e1", "relay.example/h1"]);
        assert_eq!(verified(&zone, &body).await, all, "{}", String::from_utf8_lossy(&body));
        let top = String::from_utf8_lossy(&body).into_owned();
        let (signatures, _) = top.split_once("\r\nReceived: from client.test").unwrap();
        assert_eq!(signatures.matches("DKIM-Signature: ").count(), 3, "above our trace field: {top}");
    }
    sink.forget();
    for (sender, from, signed) in [
        ("ann@acme.test", "news@mail.acme.test", &["acme.test/r1", "relay.example/h1"][..]),
        ("ann@acme.test", "x@elsewhere.test", &["relay.example/h1"]),
        ("ann@acme.test", "ceo@relay.example", &[]),
        ("x@globex.test", "ann@acme.test", &["relay.example/h1"]),
        ("x@globex.test", "x@globex.test", &["relay.example/h1"]),
    ] {
        let done = sink.messages();
        send(&relay, sender, &format!("From: {from}\r\nSubject: x\r\n\r\nx")).await;
        wait_for_messages(&sink, done + 1).await;
        let body = sink.take_log().pop().unwrap().body.unwrap();
        assert_eq!(verified(&zone, &body).await, held(signed), "{sender} as {from}");
    }
    let metrics = relay.metrics().await;
    let count = format!("remuda_dkim_signatures_total{{key=\"rsa\",result=\"signed\"}} {}\n", ODD.len() + 1);
    assert!(metrics.contains(&count), "{metrics}");
    assert!(metrics.contains("remuda_dkim_sign_seconds_count "), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_read_again_at_a_reload_and_a_bad_file_changes_nothing() {
    let (directory, zone, sink, mut relay) = world().await;
    let settings = settings(directory.path()).to(sink.addr());
    let file = directory.path().join("h1.relay.example.pem");
    std::fs::write(&file, "hunter2").unwrap();
    relay.write(&settings);
    let (status, answer) = relay.post("/api/v1/reload", &serde_json::Value::Null).await;
    assert_ne!(status, "200");
    let said = answer.to_string();
    assert!(
        said.contains("dkim.house.key") && said.contains("no private key in PEM") && !said.contains("hunter"),
        "{said}"
    );
    send(&relay, "x@globex.test", "From: x@globex.test\r\n\r\nx").await;
    wait_for_messages(&sink, 1).await;
    assert_eq!(verified(&zone, sink.log()[0].body.as_deref().unwrap()).await, held(&["relay.example/h1"]));

    std::fs::remove_file(&file).unwrap();
    let (name, record) = keygen(directory.path(), "relay.example", "h1", &["--ed25519"]);
    zone.remove(&name);
    zone.txt(&name, &record);
    relay.reload(&settings).await;
    send(&relay, "x@globex.test", "From: x@globex.test\r\n\r\nx").await;
    wait_for_messages(&sink, 2).await;
    let body = sink.log()[1].body.clone().unwrap();
    assert!(String::from_utf8_lossy(&body).contains("a=ed25519-sha256"));
    assert_eq!(verified(&zone, &body).await, held(&["relay.example/h1"]));
    assert!(!relay.log().contains("BEGIN PRIVATE"));
}

#[test]
fn what_keygen_prints_can_be_pasted_into_a_configuration_anywhere() {
    let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut settings = Settings::new().binding("a", 11, "").pool("active = [\"a\"]");
    for (domain, selector, more) in [
        ("acme.test", "s1", &[][..]),
        ("acme.test", "s1.2026", &["--ed25519"]),
        ("globex.test", "s1", &["--ed25519", "--out", "sub dir/k\"1.pem"]),
    ] {
        std::fs::create_dir_all(here.path().join("sub dir")).unwrap();
        let (code, _, err) = remuda(here.path(), &[&["dkim", "keygen", domain, selector], more].concat());
        assert_eq!(code, Some(0), "{err}");
        assert!(err.contains("chown remuda") && err.contains("/etc/remuda"), "{err}");
        let (_, lines) = err.split_once("\n[dkim.").unwrap();
        settings = settings.block(format!("[dkim.{}", lines.replace("TENANT", "acme")));
    }
    let text = settings.to("127.0.0.1:9".parse().unwrap()).text(elsewhere.path());
    std::fs::write(elsewhere.path().join("remuda.toml"), text).unwrap();
    let (code, out, err) = remuda(elsewhere.path(), &["check", "-c", "remuda.toml"]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn a_key_is_made_once_for_its_owner_only_and_its_record_can_be_had_again() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (name, record) = keygen(directory.path(), "acme.test", "s1", &[]);
    assert!(name == "s1._domainkey.acme.test" && record.starts_with("v=DKIM1; k=rsa; p=MII"), "{name} {record}");
    let file = directory.path().join("s1.acme.test.pem");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, _, err) = remuda(directory.path(), &["dkim", "keygen", "acme.test", "s1"]);
    assert!(code == Some(1) && err.contains("File exists"), "{err}");
    let (_, again, _) = remuda(directory.path(), &["dkim", "record", "acme.test", "s1", "s1.acme.test.pem"]);
    assert_eq!(again.split('"').skip(1).step_by(2).collect::<String>(), record);
    for wrong in [&["dkim", "keygen", "acme.test", "a b"][..], &["dkim", "keygen", "acme.test", "s2", "--rsa", "1024"]]
    {
        assert_eq!(remuda(directory.path(), wrong).0, Some(2));
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = directory.path().join("remuda.toml");
    let text = Settings::new()
        .binding("a", 11, "")
        .pool("active = [\"a\"]")
        .block(
            "[dkim.k]\ndomain = \"acme.test\"\nselector = \"s1\"\nkey = \"s1.acme.test.pem\"\ntenants = [\"acme\"]\n"
                .into(),
        )
        .to("127.0.0.1:9".parse().unwrap())
        .text(directory.path());
    std::fs::write(config, text).unwrap();
    let (code, _, err) = remuda(directory.path(), &["check", "-c", "remuda.toml"]);
    assert!(code == Some(1) && err.contains("its mode is 0644: others could sign as acme.test; chmod 600"), "{err}");
}

mod peers {
    use super::*;

    /// Verifies every signature of each file by the records in the first argument, as `dkimpy` does it.
    const VERIFY: &str = r#"
import dkim, json, sys
records = json.load(open(sys.argv[1]))
def txt(name, timeout=5):
    return records[name.decode().rstrip('.')].encode()
for path in sys.argv[2:]:
    message = dkim.DKIM(open(path, 'rb').read())
    count = sum(1 for name, _ in message.headers if name.lower() == b'dkim-signature')
    print(path.rsplit('/')[-1], [message.verify(idx=n, dnsfunc=txt) for n in range(count)])
"#;

    /// What `dkimpy` says of the signatures of each message, by the records of the keys in `directory`.
    fn dkimpy(directory: &Path, messages: &[Vec<u8>]) -> String {
        let mut records = serde_json::Map::new();
        for (domain, selector) in [("acme.test", "r1"), ("acme.test", "e1"), ("relay.example", "h1")] {
            let file = format!("{selector}.{domain}.pem");
            let (_, out, _) = remuda(directory, &["dkim", "record", domain, selector, &file]);
            let record: String = out.split('"').skip(1).step_by(2).collect();
            records.insert(format!("{selector}._domainkey.{domain}"), record.into());
        }
        let list = directory.join("records.json");
        std::fs::write(&list, serde_json::Value::Object(records).to_string()).unwrap();
        let mut files = Vec::new();
        for (n, message) in messages.iter().enumerate() {
            let path = directory.join(format!("{n}.eml"));
            std::fs::write(&path, message).unwrap();
            files.push(path);
        }
        let done = Command::new("/usr/bin/python3").args(["-c", VERIFY]).arg(&list).args(&files).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
        said
    }

    #[tokio::test]
    #[ignore = "needs python3-dkim; tests/run installs it"]
    async fn a_verifier_of_somebody_else_says_the_same() {
        let (directory, zone, sink, relay) = world().await;
        // dkimpy reads no header with a space before a colon, signed or not (RFC 5322 §4.5).
        let readable: Vec<&str> = ODD.into_iter().filter(|message| !message.starts_with("FROM :")).collect();
        for message in &readable {
            send(&relay, "ann@acme.test", message).await;
        }
        wait_for_messages(&sink, readable.len() as u64).await;
        drop(zone);
        let messages: Vec<Vec<u8>> = sink.log().into_iter().map(|taken| unstuffed(&taken.body.unwrap())).collect();
        let said = dkimpy(directory.path(), &messages);
        assert_eq!(said.matches("[True, True, True]").count(), readable.len(), "{said}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs Postfix, python3-dkim and root; tests/run installs them"]
    async fn signatures_hold_in_a_mailbox_of_postfix_also_where_mail_was_converted_for_it() {
        use crate::support::peers::{Papers, Postfix, Receiver, Tls};
        use crate::support::wait_until;

        let papers = Papers::new();
        let usual = "To: user@peer.test\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@acme.test>\r\n";
        let letters = [
            format!("From: Ann <ann@acme.test>\r\n{usual}Subject: dots\r\n\r\nHello\r\n..stuffed\r\n \t \r\n\r\n\r\n"),
            format!(
                "From: ann@acme.test\r\n{usual}Subject:  folded\r\n\t\tand \r\n more \r\n\r\n{}\r\n",
                "x".repeat(900)
            ),
            format!(
                "From: ann@acme.test\r\n{usual}MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Transfer-Encoding: 8bit\r\n\r\nGr\u{fc}\u{df}e\r\n"
            ),
        ];
        for (more, is_converted) in [("", false), ("smtpd_discard_ehlo_keywords = 8bitmime, smtputf8\n", true)] {
            let (directory, _zone, _sink, mut relay) = world().await;
            let postfix = Postfix::receiver(Tls::None, &papers, more).await;
            relay.reload(&settings(directory.path()).to(postfix.addr())).await;
            for letter in &letters {
                send_to(&relay, "ann@acme.test", "user@peer.test", letter).await;
            }
            let taken = wait_until("Postfix has the letters", async || {
                let taken = postfix.taken();
                (taken.len() == letters.len()).then_some(taken)
            })
            .await;
            assert_eq!(taken.iter().all(|taken| taken.octets.is_ascii()), is_converted);
            let messages: Vec<Vec<u8>> = taken.into_iter().map(|taken| taken.octets.to_vec()).collect();
            let said = dkimpy(directory.path(), &messages);
            assert_eq!(said.matches("[True, True, True]").count(), letters.len(), "{more}{said}");
        }
    }
}
