//! A scripted SMTP host, a small name server and a configuration, for the tests of this module.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, MX, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UdpSocket};

use crate::config::{Binding, Convert, Delivery, Timeouts, TlsPolicy};

/// Defaults for loopback: private addresses allowed by pinned plans only, generous time-outs.
pub(super) fn delivery() -> Delivery {
    let long = Duration::from_secs(20);
    Delivery {
        port: 25,
        allow_private_mx: false,
        max_addresses: 5,
        max_outbound_connections: 20,
        messages_per_connection: 100,
        chunking: true,
        convert: Convert::Unsigned,
        recipients_per_message: 100,
        keep_idle: long,
        max_connection_age: long,
        tls: TlsPolicy::Opportunistic,
        tls_roots: None,
        mta_sts: false,
        mta_sts_port: 443,
        dane: false,
        timeouts: Timeouts {
            connect: long,
            banner: long,
            command: long,
            mail: long,
            rcpt: long,
            data: long,
            block: long,
            end_of_data: long,
            quit: long,
        },
    }
}

pub(super) fn binding(name: &str, address: &str) -> Arc<Binding> {
    let address: IpAddr = address.parse().expect("address");
    Arc::new(Binding::new(name, address))
}

/// How the host answers a line (without CRLF; the end of a body comes as "."). Empty says nothing, `None` hangs up.
pub(super) type Script = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A script that takes all mail, with `table` before it: prefix of the command → reply.
pub(super) fn script(table: &[(&'static str, Option<&'static str>)]) -> Script {
    let table: Vec<(&'static str, Option<&'static str>)> = table.to_vec();
    Arc::new(move |line| {
        if let Some((_, reply)) = table.iter().find(|(start, _)| line.starts_with(start)) {
            return reply.map(|text| text.replace('|', "\r\n"));
        }
        let word = line.split(' ').next().unwrap_or("");
        let text = match word {
            "BANNER" => "220 sink.test",
            "EHLO" => "250-sink.test\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250 PIPELINING",
            "STARTTLS" => "220 go",
            "DATA" => "354 go",
            "QUIT" => "221 bye",
            "." => "250 2.0.0 queued",
            _ => "250 ok",
        };
        Some(format!("{text}\r\n"))
    })
}

/// What a host saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Source address of each connection.
    pub(super) peers: Vec<SocketAddr>,
    /// Commands, over all connections.
    pub(super) commands: Vec<String>,
    /// Bodies, unstuffed.
    pub(super) bodies: Vec<String>,
    /// Connections that have ended.
    pub(super) ended: usize,
}

/// A scripted SMTP host on a port of its own.
pub(super) struct Sink {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Mutex<Seen>>,
    changed: Arc<tokio::sync::Notify>,
}

impl Sink {
    pub(super) async fn start(script: Script) -> Self {
        Self::start_with(script, None).await
    }

    pub(super) async fn start_at(address: &str, script: Script) -> std::io::Result<Self> {
        Self::listen(address, script, None).await
    }

    /// One whose `220` to STARTTLS is followed by a handshake.
    pub(super) async fn start_with(script: Script, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self::listen("127.0.0.1:0", script, tls).await.expect("listen")
    }

    async fn listen(address: &str, script: Script, tls: Option<Arc<rustls::ServerConfig>>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let changed = Arc::new(tokio::sync::Notify::new());
        let (seen2, changed2) = (seen.clone(), changed.clone());
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                seen2.lock().peers.push(peer);
                let (seen, changed, script, tls) = (seen2.clone(), changed2.clone(), script.clone(), tls.clone());
                tokio::spawn(async move {
                    let _ = serve(Box::new(stream), &seen, script, tls).await;
                    seen.lock().ended += 1;
                    changed.notify_waiters();
                });
            }
        });
        Ok(Self { address, seen, changed })
    }

    /// Waits until `count` connections have ended.
    pub(super) async fn ended(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            if self.seen.lock().ended >= count {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.lock().peers.len()
    }

    pub(super) fn commands(&self, start: &str) -> usize {
        self.seen.lock().commands.iter().filter(|line| line.starts_with(start)).count()
    }
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Both for S {}

async fn serve(
    stream: Box<dyn Both>,
    seen: &Mutex<Seen>,
    script: Script,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let Some(banner) = script("BANNER") else { return Ok(()) };
    stream.write_all(banner.as_bytes()).await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.trim_end().to_owned();
        seen.lock().commands.push(command.clone());
        let Some(reply) = script(&command) else { return Ok(()) };
        // Who does not know the command does not know that octets follow.
        let octets = command.strip_prefix("BDAT ").and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
        if let Some(octets) = octets.filter(|_| !reply.starts_with("50")) {
            let mut body = vec![0; octets];
            stream.read_exact(&mut body).await?;
            seen.lock().bodies.push(String::from_utf8_lossy(&body).into_owned());
        }
        stream.write_all(reply.as_bytes()).await?;
        stream.flush().await?;
        if let Some(config) = tls.as_ref().filter(|_| command == "STARTTLS" && reply.starts_with("220")) {
            let shaken = tokio_rustls::TlsAcceptor::from(Arc::clone(config)).accept(stream.into_inner()).await?;
            stream = BufReader::new(Box::new(shaken));
            continue;
        }
        if command == "QUIT" {
            return Ok(());
        }
        if command != "DATA" || !reply.starts_with('3') {
            continue;
        }
        let mut body = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line == ".\r\n" {
                break;
            }
            body.push_str(line.strip_prefix('.').unwrap_or(&line));
        }
        seen.lock().bodies.push(body);
        let Some(reply) = script(".") else { return Ok(()) };
        stream.write_all(reply.as_bytes()).await?;
        stream.flush().await?;
    }
}

/// An authority that gives certificates.
pub(super) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("key");
        // Two authorities of one name would be one authority with a bad signature.
        let name = format!("authority {:?}", &key.public_key_raw()[1..9]);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).expect("certificate").pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// A file with its own certificate.
    pub(super) fn file(&self) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), &self.pem).expect("written");
        file
    }

    /// A host with a certificate for `names`, changed by `change`.
    pub(super) fn host(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut rcgen::CertificateParams),
    ) -> Arc<rustls::ServerConfig> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).expect("parameters");
        change(&mut params);
        let key = rcgen::KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("key");
        server(vec![certificate.der().clone()], key)
    }
}

fn server(
    chain: Vec<rustls_pki_types::CertificateDer<'static>>,
    key: rustls_pki_types::PrivateKeyDer<'static>,
) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("a pair");
    Arc::new(config)
}

/// What the name server knows of a name. A name it does not know does not exist.
#[derive(Clone, Debug)]
pub(super) enum Zone {
    /// These records; other types are NODATA.
    Has(Vec<RData>),
    /// Answers SERVFAIL.
    Broken,
    /// Answers nothing.
    Silent,
}

pub(super) fn mx(preference: u16, exchange: &str) -> RData {
    RData::MX(MX::new(preference, Name::from_ascii(exchange).expect("name")))
}

pub(super) fn a(ip: &str) -> RData {
    match ip.parse().expect("address") {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// A name server on a port of its own; also counts the questions.
pub(super) async fn name_server(zones: Vec<(&str, Zone)>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let zones: HashMap<String, Zone> = zones.into_iter().map(|(name, zone)| (format!("{name}."), zone)).collect();
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let address = socket.local_addr().expect("address");
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let Ok(request) = Message::from_vec(&buffer[..length]) else { continue };
            let Some(query) = request.queries.first().cloned() else { continue };
            log.lock().push(format!("{} {}", query.name(), query.query_type()));
            let mut response = Message::response(request.metadata.id, request.metadata.op_code);
            response.add_query(query.clone());
            let code = match zones.get(&query.name().to_ascii().to_ascii_lowercase()) {
                Some(Zone::Silent) => continue,
                Some(Zone::Broken) => ResponseCode::ServFail,
                Some(Zone::Has(records)) => {
                    let wanted = records.iter().filter(|data| data.record_type() == query.query_type());
                    response
                        .add_answers(wanted.map(|data| Record::from_rdata(query.name().clone(), 300, data.clone())));
                    ResponseCode::NoError
                }
                None => ResponseCode::NXDomain,
            };
            response.metadata.response_code = code;
            if response.answers.is_empty() && query.query_type() != RecordType::SOA {
                let root = Name::root();
                let soa = SOA::new(root.clone(), root.clone(), 1, 60, 60, 60, 60);
                response.add_authority(Record::from_rdata(root, 60, RData::SOA(soa)));
            }
            if let Ok(octets) = response.to_vec() {
                let _ = socket.send_to(&octets, peer).await;
            }
        }
    });
    (address, asked)
}
