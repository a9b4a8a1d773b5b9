//! TLS with clients that bring mail, logins over it, and clients whom others name.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{PATIENCE, Relay, Settings, Users, keeping_sink, quoted, sink, wait_for_messages, wait_until};

/// Certificates by name, each signed by itself.
struct Pki(TempDir);

impl Pki {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Makes, or renews, the certificate of this name for these hosts.
    fn make(&self, name: &str, hosts: &[&str]) -> CertificateDer<'static> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(hosts).unwrap();
        self.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
        self.write(&format!("{name}.pem"), &made.cert.pem());
        made.cert.der().clone()
    }

    fn write(&self, file: &str, text: &str) {
        let aside = self.path("aside");
        fs::write(&aside, text).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(aside, self.path(file)).unwrap();
    }

    fn toml(&self, name: &str) -> String {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        format!("[certificate.{name}]\ncertificate = {}\nkey = {}\n", quoted(&certificate), quoted(&key))
    }
}

fn settings(to: SocketAddr) -> Settings {
    Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(to)
}

fn listener(lines: &str) -> String {
    format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{lines}\n")
}

const TRUST: &str = "trust = [\"127.0.0.0/8\"]";

/// A client over anything.
struct Client<S>(BufReader<S>);

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Client<S> {
    async fn greeted(stream: S) -> Self {
        let mut client = Self(BufReader::new(stream));
        let greeting = client.reply().await;
        assert!(greeting.starts_with("220 "), "{greeting}");
        client
    }

    /// The whole reply, its lines joined; empty at the end of the connection.
    async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let before = reply.len();
            let read = tokio::time::timeout(PATIENCE, self.0.read_line(&mut reply)).await.expect("in time");
            if read.unwrap_or(0) == 0 || reply.as_bytes().get(before + 3) != Some(&b'-') {
                return reply;
            }
        }
    }

    async fn say(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.0.get_mut().flush().await.unwrap();
        self.reply().await
    }

    async fn says(&mut self, line: &str, code: &str) -> String {
        let reply = self.say(line).await;
        assert!(reply.starts_with(code), "{line}: {reply}");
        reply
    }

    async fn send(&mut self, from: &str) {
        self.says(&format!("MAIL FROM:<{from}>"), "250 ").await;
        self.says("RCPT TO:<user@sink.test>", "250 ").await;
        self.says("DATA", "354 ").await;
        self.says("Subject: x\r\n\r\ntext\r\n.", "250 ").await;
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// A handshake that believes this certificate only.
async fn shake(
    stream: TcpStream,
    believed: &CertificateDer<'static>,
    host: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(believed.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn starttls(address: SocketAddr, believed: &CertificateDer<'static>) -> Client<TlsStream<TcpStream>> {
    let mut client = Client::greeted(connect(address).await).await;
    let offers = client.says("EHLO client.test", "250-").await;
    assert!(offers.contains("STARTTLS"), "{offers}");
    client.says("STARTTLS", "220 2.0.0 ").await;
    Client(BufReader::new(shake(client.0.into_inner(), believed, "relay.test").await.unwrap()))
}

#[tokio::test]
async fn mail_comes_by_starttls_and_by_implicit_tls_and_the_trace_says_so() {
    let (pki, sink) = (Pki::new(), keeping_sink().await);
    let certificate = pki.make("relay", &["relay.test"]);
    let tls = |mode: &str| listener(&format!("tls = \"{mode}\"\ncertificates = [\"relay\"]\n{TRUST}"));
    let settings = settings(sink.addr()).block(pki.toml("relay")).block(tls("required")).block(tls("implicit"));
    let relay = Relay::start(&settings).await;

    let mut plain = Client::greeted(connect(relay.listener(1)).await).await;
    plain.says("EHLO client.test", "250-").await;
    plain.says("MAIL FROM:<a@acme.test>", "530 5.7.0 ").await;
    let mut client = starttls(relay.listener(1), &certificate).await;
    client.says("MAIL FROM:<a@acme.test>", "503 ").await;
    let offers = client.says("EHLO client.test", "250-").await;
    assert!(!offers.contains("STARTTLS"), "{offers}");
    client.send("a@acme.test").await;
    client.says("QUIT", "221 ").await;
    let mut rest = Vec::new();
    assert_eq!(client.0.read_to_end(&mut rest).await.unwrap(), 0, "the end of TLS is said");

    let stream = shake(connect(relay.listener(2)).await, &certificate, "relay.test").await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().map(|group| group.name());
    assert_eq!(group, Some(rustls::NamedGroup::X25519MLKEM768), "as the client has it");
    let mut client = Client::greeted(stream).await;
    client.says("EHLO client.test", "250-").await;
    client.send("a@acme.test").await;
    wait_for_messages(&sink, 2).await;
    for taken in sink.log() {
        let body = String::from_utf8_lossy(taken.body.as_deref().unwrap()).into_owned();
        let trace = "Received: from client.test ([127.0.0.1])\r\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 \
                     key-exchange X25519MLKEM768)\r\n\tby relay.test with ESMTPS id ";
        assert!(body.starts_with(trace), "{body}");
    }
    let metrics = relay.metrics().await;
    for line in [
        "remuda_ingress_tls_sessions_total{group=\"X25519MLKEM768\",version=\"TLSv1.3\"} 2\n",
        "remuda_ingress_tls_failures_total{reason=\"refused\"} 0\n",
        "remuda_ingress_tls_certificate_expiry_timestamp_seconds{certificate=\"relay\"} ",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn whoever_injects_text_speaks_no_tls_or_says_nothing_is_let_go() {
    let (pki, sink) = (Pki::new(), sink().await);
    pki.make("relay", &["relay.test"]);
    let more = format!("certificates = [\"relay\"]\nidle_timeout = \"2s\"\n{TRUST}");
    let tls = |mode: &str| listener(&format!("tls = \"{mode}\"\n{more}"));
    let settings = settings(sink.addr()).block(pki.toml("relay")).block(tls("starttls")).block(tls("implicit"));
    let relay = Relay::start(&settings).await;

    // In one piece with STARTTLS, and between the 220 and the handshake.
    let mut client = Client::greeted(connect(relay.listener(1)).await).await;
    client.says("EHLO client.test", "250-").await;
    client.says("STARTTLS\r\nEHLO evil.test", "554 5.5.1 ").await;
    assert_eq!(client.reply().await, "");
    let mut client = Client::greeted(connect(relay.listener(1)).await).await;
    client.says("EHLO client.test", "250-").await;
    client.says("STARTTLS", "220 ").await;
    client.0.get_mut().write_all(b"EHLO evil.test\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = client.0.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains("250"), "{rest:?}");

    let mut stream = connect(relay.listener(2)).await;
    stream.write_all(b"EHLO client.test\r\n").await.unwrap();
    let _ = stream.read_to_end(&mut rest).await;
    // Says nothing at all, or stops in the middle of its first record.
    for half in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = connect(relay.listener(2)).await;
        stream.write_all(half).await.unwrap();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("let go");
    }
    drop(connect(relay.listener(2)).await);
    wait_until("all are counted", async || {
        let metrics = relay.metrics().await;
        let counted = |reason: &str, n: u32| {
            metrics.contains(&format!("remuda_ingress_tls_failures_total{{reason=\"{reason}\"}} {n}\n"))
        };
        (counted("refused", 2) && counted("timeout", 2) && counted("gone", 1)).then_some(())
    })
    .await;
    assert!(relay.log().contains("no TLS with a client"), "{}", relay.log());
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn certificates_are_chosen_by_name_and_follow_their_files() {
    let (pki, sink) = (Pki::new(), sink().await);
    let first = pki.make("relay", &["relay.test"]);
    let wild = pki.make("wild", &["*.acme.test"]);
    let tls = listener("tls = \"implicit\"\ncertificates = [\"relay\", \"wild\"]");
    let settings = settings(sink.addr()).block(pki.toml("relay")).block(pki.toml("wild")).block(tls);
    let mut relay = Relay::start(&settings).await;
    let at = relay.listener(1);
    assert!(shake(connect(at).await, &first, "relay.test").await.is_ok());
    assert!(shake(connect(at).await, &wild, "mail.acme.test").await.is_ok());
    assert!(shake(connect(at).await, &wild, "relay.test").await.is_err(), "that is another one");

    // By itself; with a bad one nothing changes.
    let renewed = pki.make("relay", &["relay.test"]);
    wait_until("the renewed one is shown", async || {
        shake(connect(at).await, &renewed, "relay.test").await.is_ok().then_some(())
    })
    .await;
    pki.write("relay.pem", "no certificate\n");
    relay.signal("HUP");
    wait_until("it is complained of", async || relay.log().contains("the former one stays in force").then_some(()))
        .await;
    assert!(shake(connect(at).await, &renewed, "relay.test").await.is_ok());
    // By a reload, at once.
    let again = pki.make("relay", &["relay.test"]);
    relay.reload(&settings).await;
    assert!(shake(connect(relay.listener(1)).await, &again, "relay.test").await.is_ok());
}

#[tokio::test]
async fn without_a_certificate_there_is_no_tls_and_everything_else_goes_on() {
    let (pki, sink) = (Pki::new(), sink().await);
    let tls = listener(&format!("tls = \"starttls\"\ncertificates = [\"relay\"]\n{TRUST}"));
    let settings = settings(sink.addr()).block(pki.toml("relay")).block(tls);
    let relay = Relay::start(&settings).await;
    let mut client = Client::greeted(connect(relay.listener(1)).await).await;
    let offers = client.says("EHLO client.test", "250-").await;
    assert!(!offers.contains("STARTTLS"), "{offers}");
    client.says("STARTTLS", "454 4.7.0 ").await;
    client.send("a@acme.test").await;
    wait_for_messages(&sink, 1).await;
    assert!(relay.log().contains("there is no TLS where it should be shown"), "{}", relay.log());
    let check = Command::new(env!("CARGO_BIN_EXE_remuda")).args(["check", "-c"]).arg(relay.file()).output().unwrap();
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(
        check.status.code() == Some(1) && said.contains("certificate.relay: ") && said.contains("cannot be read"),
        "{said}"
    );
    let certificate = pki.make("relay", &["relay.test"]);
    drop(client);
    wait_until("it is there", async || {
        let mut client = Client::greeted(connect(relay.listener(1)).await).await;
        client.say("EHLO client.test").await.contains("STARTTLS").then_some(())
    })
    .await;
    let mut client = starttls(relay.listener(1), &certificate).await;
    client.says("EHLO client.test", "250-").await;
}

/// `PROXY …` for this client.
fn v1(client: &str) -> String {
    format!("PROXY TCP4 {client} 127.0.0.1 4711 25\r\n")
}

/// The same in binary, with something behind the addresses.
fn v2(client: [u8; 4]) -> Vec<u8> {
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10";
    [&head[..], &client, &[127, 0, 0, 1, 0x12, 0x67, 0, 25], &[4, 0, 1, 0]].concat()
}

#[tokio::test]
async fn a_balancer_says_who_its_client_is_and_nobody_else_does() {
    let (pki, sink) = (Pki::new(), keeping_sink().await);
    let certificate = pki.make("relay", &["relay.test"]);
    let proxied = "proxy_protocol = [\"127.0.0.1\"]\ntrust = [\"10.9.8.0/24\", \"127.0.0.0/8\"]\nidle_timeout = \"2s\"";
    let settings = settings(sink.addr())
        .set("tenant.acme", "match", "{ client = [\"10.0.0.0/8\"] }")
        .block(pki.toml("relay"))
        .block(listener(&format!("{proxied}\nmax_connections_per_client = 1")))
        .block(listener(&format!("{proxied}\ntls = \"implicit\"\ncertificates = [\"relay\"]")));
    let relay = Relay::start(&settings).await;
    let proxied = async |header: &[u8]| {
        let mut stream = connect(relay.listener(1)).await;
        stream.write_all(header).await.unwrap();
        Client(BufReader::new(stream))
    };
    let mut client = proxied(v1("10.9.8.7").as_bytes()).await;
    assert!(client.reply().await.starts_with("220 "));
    client.says("EHLO client.test", "250-").await;
    client.send("a@acme.test").await;
    // Seats are that client's, not the balancer's.
    let mut second = proxied(&v2([10, 9, 8, 7])).await;
    assert_eq!(second.reply().await, "421 4.7.0 too many connections, try again later\r\n");
    let mut stranger = proxied(&v2([10, 1, 1, 1])).await;
    assert!(stranger.reply().await.starts_with("220 "));
    stranger.says("EHLO client.test", "250-").await;
    stranger.says("MAIL FROM:<a@acme.test>", "250 ").await;
    stranger.says("RCPT TO:<user@sink.test>", "550 5.7.1 ").await;

    // Under TLS the header goes before the handshake.
    let mut stream = connect(relay.listener(2)).await;
    stream.write_all(&v2([10, 9, 8, 9])).await.unwrap();
    let mut client = Client::greeted(shake(stream, &certificate, "relay.test").await.unwrap()).await;
    client.says("EHLO client.test", "250-").await;
    client.send("a@acme.test").await;
    wait_for_messages(&sink, 2).await;
    let all: String = sink.log().iter().map(|taken| String::from_utf8_lossy(taken.body.as_deref().unwrap())).collect();
    assert!(all.contains("from client.test ([10.9.8.7])") && all.contains("from client.test ([10.9.8.9])"), "{all}");

    // Without one, with half of one, and with something else in front.
    for header in [&b"EHLO client.test\r\n"[..], b"PROXY TCP4 10.9.8.7", b"", b"PROXY TCP4 10.9.8.7 x 1 25\r\nQUIT\r\n"]
    {
        let mut client = proxied(header).await;
        assert_eq!(client.reply().await, "", "{header:?}");
    }
    let metrics = relay.metrics().await;
    assert!(metrics.contains("remuda_ingress_proxy_refused_total 4\n"), "{metrics}");
    // Nobody else is believed, whether it comes before the greeting or behind.
    let mut stream = connect(relay.listener(0)).await;
    stream.write_all(v1("10.9.8.7").as_bytes()).await.unwrap();
    let mut client = Client(BufReader::new(stream));
    let mut said = client.reply().await;
    if said.starts_with("220 ") {
        said = client.reply().await;
    }
    assert!(said.starts_with("554 "), "{said}");
    assert_eq!(client.reply().await, "");
}

#[tokio::test]
async fn whom_a_balancer_does_not_name_is_not_trusted_as_the_balancer_is() {
    let sink = keeping_sink().await;
    let proxied = "proxy_protocol = [\"127.0.0.1\"]\nxclient = [\"127.0.0.1\"]\ntrust = [\"127.0.0.0/8\"]";
    let relay = Relay::start(&settings(sink.addr()).block(listener(proxied))).await;
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let unspecified = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0";
    let unix = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8"[..], &[b'x'; 216]].concat();
    let named = v1("127.0.0.1");
    for (header, is_trusted) in [
        (&b"PROXY UNKNOWN\r\n"[..], false),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", false),
        (local, false),
        (unspecified, false),
        (&unix, false),
        (named.as_bytes(), true),
    ] {
        let mut stream = connect(relay.listener(1)).await;
        stream.write_all(header).await.unwrap();
        let mut client = Client(BufReader::new(stream));
        assert!(client.reply().await.starts_with("220 "), "{header:?}");
        let offers = client.says("EHLO client.test", "250-").await;
        assert_eq!(offers.contains("XCLIENT"), is_trusted, "{header:?}");
        client.says("MAIL FROM:<a@acme.test>", "250 ").await;
        client.says("RCPT TO:<user@sink.test>", if is_trusted { "250 " } else { "550 5.7.1 " }).await;
    }
}

#[tokio::test]
async fn text_that_came_with_data_is_seen_where_the_command_fills_the_buffer() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&settings(sink.addr()).block(listener("trust = [\"127.0.0.0/8\"]"))).await;
    // What is left of the first buffer behind the EHLO line, all of a fresh one, and neither.
    for octets in [512 - 8, 512, 600] {
        let mut client = Client::greeted(connect(relay.listener(1)).await).await;
        client.says("EHLO x", "250-").await;
        let (head, tail) = ("MAIL FROM:<a@acme.test>\r\nRCPT TO:<user@sink.test>\r\nNOOP ", "\r\nDATA\r\n");
        let pad = "x".repeat(octets - head.len() - tail.len());
        let group = format!("{head}{pad}{tail}Subject: x\r\n\r\ntext\r\n.\r\n");
        client.0.get_mut().write_all(group.as_bytes()).await.unwrap();
        for reply in ["250 2.1.0 ", "250 2.1.5 ", "250 2.0.0 ", "554 5.5.1 "] {
            let said = client.reply().await;
            assert!(said.starts_with(reply), "{octets}: {said}");
        }
    }
}

#[tokio::test]
async fn a_mail_server_in_front_names_its_clients() {
    let sink = keeping_sink().await;
    let settings = settings(sink.addr())
        .set("tenant.acme", "match", "{ client = [\"10.0.0.0/8\"] }")
        .block(listener("xclient = [\"127.0.0.1\"]\ntrust = [\"10.9.8.0/24\"]"));
    let relay = Relay::start(&settings).await;
    let mut client = Client::greeted(connect(relay.listener(1)).await).await;
    let offers = client.says("EHLO filter.test", "250-").await;
    assert!(offers.contains("XCLIENT NAME ADDR PORT PROTO HELO") && offers.contains("XFORWARD NAME"), "{offers}");
    client.says("XCLIENT NAME=[UNAVAILABLE] ADDR=10.9.8.7", "220 ").await;
    client.says("EHLO app.test", "250-").await;
    client.says("XFORWARD ADDR=192.0.2.9 HELO=origin.test", "250 ").await;
    client.send("a@acme.test").await;
    wait_for_messages(&sink, 1).await;
    let body = String::from_utf8_lossy(sink.log()[0].body.as_deref().unwrap()).into_owned();
    assert!(body.starts_with("Received: from app.test ([10.9.8.7])\r\n"), "{body}");
    let log = relay.log();
    let told = log.lines().find(|line| line.contains("192.0.2.9 origin.test -"));
    assert!(told.is_some_and(|line| line.contains("id=")), "{log}");
    client.says("XCLIENT ADDR=192.0.2.9", "220 ").await;
    client.says("EHLO app.test", "250-").await;
    client.says("MAIL FROM:<a@acme.test>", "250 ").await;
    client.says("RCPT TO:<user@sink.test>", "550 5.7.1 ").await;
}

fn coded(octets: &[u8]) -> String {
    use base64ct::{Base64, Encoding};
    Base64::encode_string(octets)
}

fn decoded(text: &str) -> Vec<u8> {
    use base64ct::{Base64, Encoding};
    Base64::decode_vec(text.trim_end()).unwrap()
}

/// A client's side of SCRAM-SHA-256 (RFC 5802 §3), bound to `key`.
async fn scram(client: &mut Client<TlsStream<TcpStream>>, password: &str, key: &[u8]) -> String {
    use aws_lc_rs::{digest, hmac, pbkdf2};
    let mac = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec();
    let (header, bare) = ("p=tls-exporter,,", "n=acme,r=abcdefghijkl");
    let first =
        client.says(&format!("AUTH SCRAM-SHA-256-PLUS {}", coded(format!("{header}{bare}").as_bytes())), "334 ").await;
    let first = String::from_utf8(decoded(&first[4..])).unwrap();
    let part = |name: &str| first.split(',').find_map(|part| part.strip_prefix(name)).unwrap().to_owned();
    let (nonce, salt, passes) = (part("r="), decoded(&part("s=")), part("i=").parse::<u32>().unwrap());
    let mut salted = [0; 32];
    let passes = std::num::NonZeroU32::new(passes).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, passes, &salt, password.as_bytes(), &mut salted);
    let without = format!("c={},r={nonce}", coded(&[header.as_bytes(), key].concat()));
    let said = format!("{bare},{first},{without}");
    let client_key = mac(&salted, b"Client Key");
    let stored = digest::digest(&digest::SHA256, &client_key);
    let proof: Vec<u8> = client_key.iter().zip(mac(stored.as_ref(), said.as_bytes())).map(|(a, b)| a ^ b).collect();
    let reply = client.say(&coded(format!("{without},p={}", coded(&proof)).as_bytes())).await;
    let Some(last) = reply.strip_prefix("334 ") else { return reply };
    let expected = format!("v={}", coded(&mac(&mac(&salted, b"Server Key"), said.as_bytes())));
    assert_eq!(String::from_utf8(decoded(last)).unwrap(), expected, "the relay knows the password, too");
    client.say("").await
}

#[tokio::test]
async fn users_log_in_over_tls_and_send_as_their_tenant_may() {
    let (pki, sink) = (Pki::new(), keeping_sink().await);
    let certificate = pki.make("relay", &["relay.test"]);
    let users = Users::of(&[("acme", "one password")]);
    let settings = settings(sink.addr())
        .set("server", "users_file", &users.toml())
        .set("tenant.acme", "match", "{ auth_user = [\"acme\"] }")
        .set("tenant.acme", "senders", "[\"acme.test\", \"*.acme.test\"]")
        .set("tenant.acme", "sender_check", "\"both\"")
        .block(pki.toml("relay"))
        .block(listener("tls = \"starttls\"\ncertificates = [\"relay\"]\nauth = \"required\""));
    let relay = Relay::start(&settings).await;
    let mut plain = Client::greeted(connect(relay.listener(1)).await).await;
    let offers = plain.says("EHLO client.test", "250-").await;
    assert!(!offers.contains("AUTH"), "{offers}");
    plain.says("AUTH PLAIN AHgAeQ==", "538 5.7.11 ").await;

    for (password, is_bound, code) in
        [("one password", true, "235 "), ("another", true, "535 "), ("one password", false, "535 ")]
    {
        let mut client = starttls(relay.listener(1), &certificate).await;
        let offers = client.says("EHLO client.test", "250-").await;
        assert!(offers.contains("AUTH PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS\r\n"), "{offers}");
        let session = client.0.get_ref().get_ref().1;
        let mut key = session.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).unwrap();
        key[0] ^= u8::from(!is_bound);
        let reply = scram(&mut client, password, &key).await;
        assert!(reply.starts_with(code), "{password} {is_bound}: {reply}");
    }
    let mut client = starttls(relay.listener(1), &certificate).await;
    client.says("EHLO client.test", "250-").await;
    client.says(&format!("AUTH PLAIN {}", coded(b"\0acme\0one password")), "235 ").await;
    client.says("MAIL FROM:<a@evil.test>", "550 5.7.1 tenant acme may not send as \"a@evil.test\"").await;
    client.says("MAIL FROM:<a@news.acme.test>", "250 ").await;
    client.says("RCPT TO:<user@sink.test>", "250 ").await;
    client.says("DATA", "354 ").await;
    client.says("From: \"a@acme.test\" <x@evil.test>\r\n\r\n.", "550 5.7.1 tenant acme may not send as").await;
    for from in ["<a@acme.test>", "<>"] {
        client.says(&format!("MAIL FROM:{from}"), "250 ").await;
        client.says("RCPT TO:<user@sink.test>", "250 ").await;
        client.says("DATA", "354 ").await;
        client.says("From: Acme <a@acme.test>\r\n\r\n.", "250 ").await;
    }
    wait_for_messages(&sink, 2).await;
    let body = String::from_utf8_lossy(sink.log()[0].body.as_deref().unwrap()).into_owned();
    assert!(body.contains("\tby relay.test with ESMTPSA id "), "{body}");
    let metrics = relay.metrics().await;
    assert!(metrics.contains("remuda_ingress_logins_total{result=\"accepted\"} 2\n"), "{metrics}");
    assert!(metrics.contains("remuda_ingress_logins_total{result=\"refused\"} 2\n"), "{metrics}");
}

mod peers {
    use super::*;

    const PYTHON: &str = r#"
import smtplib, ssl, sys
starttls, implicit, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=file)
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context.minimum_version = context.maximum_version = version
    with smtplib.SMTP("127.0.0.1", starttls, local_hostname="client.test") as client:
        client._host = "relay.test"
        client.starttls(context=context)
        client.login("acme", "one password")
        assert client.sendmail("x@acme.test", ["one@sink.test"], b"Subject: x\r\n\r\ntext") == {}
    class Implicit(smtplib.SMTP_SSL):
        def _get_socket(self, host, port, timeout):
            import socket
            return context.wrap_socket(socket.create_connection((host, port), timeout), server_hostname="relay.test")
    with Implicit("127.0.0.1", implicit, local_hostname="client.test", context=context) as client:
        client.login("acme", "one password")
        assert client.sendmail("x@acme.test", ["one@sink.test"], b"Subject: x\r\n\r\ntext") == {}
old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
old.set_ciphers("DEFAULT:@SECLEVEL=0")
old.minimum_version = ssl.TLSVersion.TLSv1
old.maximum_version = ssl.TLSVersion.TLSv1_1
with smtplib.SMTP("127.0.0.1", starttls, local_hostname="client.test") as client:
    try:
        client.starttls(context=old)
    except (ssl.SSLError, OSError, smtplib.SMTPException):
        pass
    else:
        raise AssertionError("TLS 1.1 is taken")
"#;

    fn run(command: &mut Command) -> String {
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
        said
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs python3, openssl and swaks; tests/run installs them"]
    async fn python_openssl_and_swaks_come_by_tls() {
        let (pki, sink) = (Pki::new(), sink().await);
        pki.make("relay", &["relay.test"]);
        let users = Users::of(&[("acme", "one password")]);
        let auth = "certificates = [\"relay\"]\nauth = \"required\"";
        let settings = settings(sink.addr())
            .set("server", "users_file", &users.toml())
            .set("tenant.acme", "match", "{ auth_user = [\"acme\"] }")
            .block(pki.toml("relay"))
            .block(listener(&format!("tls = \"required\"\n{auth}")))
            .block(listener(&format!("tls = \"implicit\"\n{auth}")));
        let relay = Relay::start(&settings).await;
        let [starttls, implicit] = [1, 2].map(|n| relay.listener(n).port().to_string());
        let file = pki.path("relay.pem").display().to_string();
        run(Command::new("python3").args(["-c", PYTHON, &starttls, &implicit, &file]));
        for (port, how) in [(&starttls, "--tls"), (&implicit, "--tls-on-connect")] {
            run(Command::new("swaks")
                .args(["--server", "127.0.0.1", "--port", port, "--ehlo", "client.test", how, "--auth", "PLAIN"])
                .args(["--auth-user", "acme", "--auth-password", "one password"])
                .args(["--from", "x@acme.test", "--to", "two@sink.test"]));
        }
        let help =
            run(Command::new("sh")
                .args(["-c", "openssl s_client -help 2>&1; openssl list -kem-algorithms 2>&1 || true"]));
        // From 3.5 on it knows the hybrid group. What it agreed on it says itself; before, in other words.
        let is_hybrid = help.contains("X25519MLKEM768");
        let (groups, agreed) = if is_hybrid {
            ("X25519MLKEM768", "Negotiated TLS1.3 group: X25519MLKEM768")
        } else {
            eprintln!("this openssl knows no X25519MLKEM768");
            ("X25519", "Server Temp Key: X25519,")
        };
        for (port, how) in [(&starttls, "-starttls smtp"), (&implicit, "")] {
            let script = format!(
                "(sleep 1; printf 'QUIT\\r\\n'; sleep 1) | openssl s_client -connect 127.0.0.1:{port} {how} -servername relay.test \
                 -CAfile '{file}' -verify_return_error -verify_hostname relay.test -groups {groups} -ign_eof 2>&1"
            );
            let said = run(Command::new("sh").args(["-c", &script]));
            assert!(said.contains("Verify return code: 0 (ok)") && said.contains("TLSv1.3"), "{said}");
            assert!(said.contains(agreed), "{agreed}: {said}");
        }
        wait_for_messages(&sink, 6).await;
        let metrics = relay.metrics().await;
        let counted = |version: &str, group: &str| {
            metrics
                .contains(&format!("remuda_ingress_tls_sessions_total{{group=\"{group}\",version=\"{version}\"}} 0\n"))
        };
        assert!(!counted("TLSv1.2", "X25519") || !counted("TLSv1.2", "secp256r1"), "{metrics}");
        assert!(!counted("TLSv1.3", groups), "{metrics}");
    }
}
