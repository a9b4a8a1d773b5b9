//! (shell) TLS with clients that bring mail: the certificates, and the handshake.
//!
//! [`Certificates`] has what `[certificate.NAME]` names. The files are read at the start, on a reload of the configuration,
//! and by themselves when they change ([`Certificates::watch`]); what cannot be read leaves the former in force, and the
//! log says why. Where there is no former one, TLS is not offered by listeners that would show it, and everything else of
//! the relay goes on: mail that waits must not wait for a certificate.
//!
//! [`Certificates::acceptor`] is what a listener shakes hands with; it shows what is in force at that moment, so a
//! renewed certificate needs no new listener. Which one a client sees is decided by [`names`], until when it holds
//! is read by [`validity`]; what came of a handshake is told by [`facts`]. All three are pure.

pub mod facts;
pub mod names;
pub mod pair;
pub mod validity;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::RwLock;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ProtocolVersion, ServerConnection};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::facts::{GROUPS, TlsFacts, VERSIONS};
use self::pair::{BadCertificate, Pair, Written};
use super::Secret;
use crate::clock::{Clock, Wall};
use crate::config::Certificate;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(10);
/// How long before its end a certificate is worth a warning, and how often.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);
const WARN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(30);
/// The label of RFC 9266 §4.
const EXPORTER: &[u8] = b"EXPORTER-Channel-Binding";

/// What came of handshakes since the start.
#[derive(Debug, Default)]
pub struct TlsStats {
    /// Sessions, by [`VERSIONS`] and [`GROUPS`].
    pub sessions: [[AtomicU64; GROUPS.len()]; VERSIONS.len()],
    /// Handshakes that failed, by [`FAILURES`].
    pub failures: [AtomicU64; FAILURES.len()],
    /// When each certificate in force ends, by its name, in seconds since 1970.
    pub ends: RwLock<BTreeMap<String, i64>>,
}

/// How handshakes fail: the client sent what is no TLS or what we do not speak, it went away, it took too long, there was
/// no certificate to show.
pub const FAILURES: [&str; 4] = ["refused", "gone", "timeout", "no_certificate"];

/// One certificate in force.
#[derive(Debug)]
struct Held {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    ends: Option<Wall>,
}

impl Held {
    fn of(key: CertifiedKey) -> Self {
        let names = match key.end_entity_cert().map(webpki::EndEntityCert::try_from) {
            Ok(Ok(certificate)) => certificate.valid_dns_names().map(str::to_owned).collect(),
            // It can still be shown: clients of relays seldom look at names.
            _ => Vec::new(),
        };
        let ends = key.end_entity_cert().ok().and_then(|der| validity::not_after(der));
        Self { key: Arc::new(key), names, ends }
    }
}

#[derive(Debug, Default)]
struct Book {
    wanted: Vec<Certificate>,
    held: BTreeMap<String, Arc<Held>>,
    seen: BTreeMap<String, Written>,
    warned: Option<Wall>,
}

/// See the module.
pub struct Certificates {
    clock: Arc<dyn Clock>,
    stats: Arc<TlsStats>,
    book: RwLock<Book>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.book.read().held.keys()).finish()
    }
}

/// Files that were read and are not in force yet.
pub type Fresh = Vec<(Certificate, Written, Result<CertifiedKey, BadCertificate>)>;

/// Reads the files of all certificates. Blocks.
pub fn read(wanted: &[Certificate]) -> Fresh {
    let read =
        |certificate: &Certificate| with_pair(certificate, |pair| (certificate.clone(), pair.written(), pair.load()));
    wanted.iter().map(read).collect()
}

/// What is odd about the files, without being wrong.
pub fn loose(wanted: &[Certificate]) -> Vec<String> {
    wanted.iter().filter_map(|certificate| with_pair(certificate, |pair| pair.loose())).collect()
}

fn with_pair<T>(certificate: &Certificate, with: impl FnOnce(Pair<'_>) -> T) -> T {
    let named = format!("certificate.{}", certificate.name);
    with(Pair { named: &named, certificate: &certificate.certificate, key: &certificate.key })
}

impl Certificates {
    /// With what could be read of `fresh`; the log tells of the others.
    pub fn new(fresh: Fresh, stats: Arc<TlsStats>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let certificates = Self { clock, stats, book: RwLock::default() };
        certificates.replace(fresh);
        Arc::new(certificates)
    }

    /// None: nobody speaks TLS.
    pub fn none() -> Arc<Self> {
        Self::new(Vec::new(), Arc::default(), Arc::new(crate::clock::SystemClock::default()))
    }

    /// Brings what was read into force. What could not be read leaves the former of its name in force; what is not named
    /// any more goes.
    pub fn replace(&self, fresh: Fresh) {
        let mut book = self.book.write();
        let mut before = std::mem::take(&mut book.held);
        book.wanted = fresh.iter().map(|(wanted, ..)| wanted.clone()).collect();
        book.seen = fresh.iter().map(|(wanted, seen, _)| (wanted.name.clone(), *seen)).collect();
        for (Certificate { name, .. }, _, read) in fresh {
            match read {
                Ok(key) => drop(book.held.insert(name, Arc::new(Held::of(key)))),
                Err(error) => {
                    let former = before.remove(&name);
                    say_bad(&error, former.is_some());
                    book.held.extend(former.map(|former| (name, former)));
                }
            }
        }
        book.warned = None;
        self.publish(&book);
        drop(book);
        self.warn_of_ends();
    }

    /// Reads the files that are not what they were. Blocks.
    fn look(&self) {
        let (wanted, seen) = {
            let book = self.book.read();
            (book.wanted.clone(), book.seen.clone())
        };
        for certificate in wanted {
            let (written, read) = with_pair(&certificate, |pair| {
                let written = pair.written();
                let is_other = seen.get(&certificate.name) != Some(&written);
                (written, is_other.then(|| pair.load()))
            });
            let Some(read) = read else { continue };
            let mut book = self.book.write();
            // Another configuration came in between: it has read them itself.
            if !book.wanted.contains(&certificate) {
                continue;
            }
            book.seen.insert(certificate.name.clone(), written);
            match read {
                Ok(key) => {
                    book.held.insert(certificate.name.clone(), Arc::new(Held::of(key)));
                    book.warned = None;
                    self.publish(&book);
                    tracing::info!(certificate = certificate.name, "a new certificate is in force");
                }
                Err(error) => say_bad(&error, book.held.contains_key(&certificate.name)),
            }
        }
        self.warn_of_ends();
    }

    fn publish(&self, book: &Book) {
        let seconds = |held: &Arc<Held>| held.ends.map(|ends| ends.timestamp().as_second());
        let ends = book.held.iter().filter_map(|(name, held)| Some((name.clone(), seconds(held)?)));
        *self.stats.ends.write() = ends.collect();
    }

    fn warn_of_ends(&self) {
        let now = self.clock.now().wall;
        let mut book = self.book.write();
        if book.warned.is_some_and(|at| now.since(at) < WARN_EVERY) {
            return;
        }
        book.warned = Some(now);
        for (certificate, held) in &book.held {
            let Some(ends) = held.ends.filter(|ends| ends.since(now) < EXPIRES_SOON) else { continue };
            let days = ends.since(now).as_secs() / 86_400;
            tracing::warn!(certificate, ends = %ends.timestamp(), days, "a certificate ends soon: renew it");
        }
    }

    /// Looks at the files for as long as the certificates are in use.
    pub fn watch(self: &Arc<Self>) {
        let watched: Weak<Self> = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(certificates) = watched.upgrade() else { return };
                // The disk may take its time, and nobody who is served waits for it.
                if tokio::task::spawn_blocking(move || certificates.look()).await.is_err() {
                    return;
                }
            }
        });
    }

    /// What a listener that shows these shakes hands with; `None` where it shows none.
    pub fn acceptor(self: &Arc<Self>, names: &[String]) -> Option<Acceptor> {
        if names.is_empty() {
            return None;
        }
        let shown = Arc::new(Shown { all: Arc::clone(self), names: names.to_vec() });
        match pair::server(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>) {
            Ok(config) => Some(Acceptor { tls: TlsAcceptor::from(Arc::new(config)), shown }),
            Err(error) => {
                tracing::error!(%error, "no TLS");
                None
            }
        }
    }
}

fn say_bad(error: &BadCertificate, has_former: bool) {
    if has_former {
        tracing::error!(%error, "a certificate cannot be used; the former one stays in force");
    } else {
        tracing::error!(%error, "a certificate cannot be used; there is no TLS where it should be shown");
    }
}

/// What one listener shows.
#[derive(Debug)]
struct Shown {
    all: Arc<Certificates>,
    names: Vec<String>,
}

impl Shown {
    fn held(&self) -> Vec<Arc<Held>> {
        let book = self.all.book.read();
        self.names.iter().filter_map(|name| book.held.get(name).map(Arc::clone)).collect()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let held = self.held();
        let at = names::pick(hello.server_name(), held.iter().map(|held| held.names.as_slice()));
        held.get(at).map(|held| Arc::clone(&held.key))
    }
}

/// Why there is no TLS session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTls {
    /// What the library says.
    #[error("{0}")]
    Refused(String),
    /// The connection ended.
    #[error("the client went away")]
    Gone,
    /// It took longer than it may.
    #[error("it took longer than {} s", .0.as_secs())]
    Slow(Duration),
    /// None can be read.
    #[error("no certificate can be read")]
    NoCertificate,
}

/// Shakes hands with clients of one listener.
#[derive(Clone)]
pub struct Acceptor {
    tls: TlsAcceptor,
    shown: Arc<Shown>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Acceptor").field(&self.shown.names).finish()
    }
}

impl Acceptor {
    /// Whether there is a certificate to show.
    pub fn is_ready(&self) -> bool {
        let book = self.shown.all.book.read();
        self.shown.names.iter().any(|name| book.held.contains_key(name))
    }

    /// The handshake, counted.
    ///
    /// # Errors
    /// [`NoTls`]; the connection is closed then.
    pub async fn accept(
        &self,
        stream: TcpStream,
        within: Duration,
    ) -> Result<(Box<TlsStream<TcpStream>>, TlsFacts), NoTls> {
        let done = self.shake(stream, within).await;
        let stats = &self.shown.all.stats;
        let counter = match &done {
            Ok((_, facts)) => {
                let (version, group) = facts.place();
                &stats.sessions[version][group]
            }
            Err(NoTls::Refused(_)) => &stats.failures[0],
            Err(NoTls::Gone) => &stats.failures[1],
            Err(NoTls::Slow(_)) => &stats.failures[2],
            Err(NoTls::NoCertificate) => &stats.failures[3],
        };
        counter.fetch_add(1, Ordering::Relaxed);
        done
    }

    async fn shake(&self, stream: TcpStream, within: Duration) -> Result<(Box<TlsStream<TcpStream>>, TlsFacts), NoTls> {
        if !self.is_ready() {
            return Err(NoTls::NoCertificate);
        }
        match tokio::time::timeout(within, self.tls.accept(stream)).await {
            Err(_) => Err(NoTls::Slow(within)),
            Ok(Ok(stream)) => {
                let facts = facts_of(stream.get_ref().1);
                Ok((Box::new(stream), facts))
            }
            // The library's own words are inside an error of this kind, all others are the connection's.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => Err(NoTls::Refused(error.to_string())),
            Ok(Err(_)) => Err(NoTls::Gone),
        }
    }
}

fn facts_of(session: &ServerConnection) -> TlsFacts {
    let is_13 = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    // The library marks those of TLS 1.3 by their prefix; IANA does not.
    let cipher = suite.unwrap_or("unknown").replace("TLS13_", "TLS_");
    let group = session.negotiated_key_exchange_group().and_then(|group| group.name().as_str().map(str::to_owned));
    let binding = is_13.then(|| session.export_keying_material([0; 32], EXPORTER, None).ok()).flatten();
    TlsFacts {
        version: VERSIONS[usize::from(is_13)],
        cipher,
        group,
        binding: binding.map(|key| Secret::new(key.to_vec())),
    }
}

/// Whether a client has sent something behind its handshake already.
pub fn spoke_already(stream: &mut TlsStream<TcpStream>) -> bool {
    use std::io::BufRead as _;
    stream.get_mut().1.reader().fill_buf().is_ok_and(|octets| !octets.is_empty())
}
