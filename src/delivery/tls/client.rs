//! The client's side of the handshake: which configuration of rustls a demand calls for.
//!
//! TLS 1.2 and 1.3 with the crate's own choice of suites and groups, the hybrid X25519MLKEM768 first. There is one
//! configuration for hosts whose certificate does not count and one for those held to the authorities by their own name;
//! each remembers sessions of its own, so that a session that was never verified is never resumed where that is demanded.
//! Demands that name something else (other names, TLSA records) get a configuration of their own without memory: what was
//! verified once may not be what is demanded now. A host is asked for its certificate by its own name; under DANE by the name
//! that the records are at (RFC 7672 §8.1), which is another one behind an alias.
//!
//! The authorities are read when they are first needed and not before: a host without any can send all mail that does not
//! ask for them. That is done off the runtime's threads, once for each configuration; where it fails, again with the next
//! mail that needs them, until it does not.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dane::Dane;
use super::demand::{TlsDemand, TlsResult, TlsSession, Verified};
use super::outcome;
use super::verify::{Anything, OneOf, Watching};

/// Hosts whose sessions are remembered, with each of the two configurations.
const SESSIONS: usize = 1024;

/// Why there is no TLS: in the terms of TLSRPT, and in words.
pub type NoTls = (TlsResult, String);

/// A configuration, and what watches there where the certificate is only looked at.
type Shape = (Arc<ClientConfig>, Option<Arc<Watching>>);

/// Makes handshakes.
#[derive(Debug)]
pub struct TlsClient {
    provider: Arc<CryptoProvider>,
    roots: Option<PathBuf>,
    anything: Arc<ClientConfig>,
    authorities: OnceCell<Authorities>,
    /// Why there were none the last time, which is in the log.
    told: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Authorities {
    verifier: Arc<WebPkiServerVerifier>,
    by_own_name: Arc<ClientConfig>,
}

impl TlsClient {
    /// A client that will hold certificates to the authorities in the file `roots`, else to those of the platform.
    pub fn new(roots: Option<PathBuf>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let anything = configuration(&provider, Arc::new(Anything(Arc::clone(&provider))), true);
        Self { provider, roots, anything, authorities: OnceCell::new(), told: Mutex::default() }
    }

    /// Makes a handshake over `stream` with the host `name` (or address), within `limit`.
    ///
    /// # Errors
    /// The host does not show what is demanded, or TLS does not come about.
    pub async fn handshake(
        &self,
        stream: TcpStream,
        name: &str,
        demand: &TlsDemand,
        limit: Duration,
    ) -> Result<(TlsStream<TcpStream>, TlsSession), NoTls> {
        let (config, watching) = self.config(name, demand).await?;
        let asked = match demand {
            TlsDemand::Dane { names, .. } => names.first().map_or(name, |base| &**base),
            _ => name,
        };
        let name = server_name(asked).ok_or_else(|| unnamed(asked))?;
        let connecting = TlsConnector::from(config).connect(name, stream);
        match tokio::time::timeout(limit, connecting).await {
            Ok(Ok(stream)) => {
                let session = outcome::session(stream.get_ref().1, verified(demand, watching.as_deref()));
                Ok((stream, session))
            }
            Ok(Err(error)) => Err(outcome::failure(&error)),
            Err(_) => Err((TlsResult::ValidationFailure, format!("no handshake in {limit:?}"))),
        }
    }

    async fn config(&self, name: &str, demand: &TlsDemand) -> Result<Shape, NoTls> {
        let config = match demand {
            TlsDemand::Never | TlsDemand::Opportunistic | TlsDemand::Encrypted => Arc::clone(&self.anything),
            TlsDemand::Watched { names, .. } => return Ok(self.watching(names).await),
            TlsDemand::WebPki { names } => {
                let authorities = self.authorities().await?;
                if matches!(names.as_slice(), [only] if **only == *name) {
                    return Ok((Arc::clone(&authorities.by_own_name), None));
                }
                configuration(&self.provider, Arc::new(authorities.one_of(names)), false)
            }
            TlsDemand::Dane { records, names } => {
                let verifier = Dane::new(Arc::clone(&self.provider), Arc::clone(records), names);
                configuration(&self.provider, Arc::new(verifier), false)
            }
        };
        Ok((config, None))
    }

    /// Nothing is lost where there is nothing to look by.
    async fn watching(&self, names: &[Arc<str>]) -> Shape {
        let Ok(authorities) = self.authorities().await else { return (Arc::clone(&self.anything), None) };
        let watching = Arc::new(Watching { strict: authorities.one_of(names), found: Mutex::default() });
        (configuration(&self.provider, Arc::clone(&watching) as Arc<dyn ServerCertVerifier>, false), Some(watching))
    }

    async fn authorities(&self) -> Result<&Authorities, NoTls> {
        let reading = async || {
            let roots = self.roots.clone();
            let read = tokio::task::spawn_blocking(move || read_roots(roots.as_deref())).await;
            let read = read.unwrap_or_else(|_| Err("the authorities could not be read".to_owned()));
            let made = read.and_then(|roots| self.hold_to(roots));
            self.tell(made.as_ref().err());
            made
        };
        let authorities = self.authorities.get_or_try_init(reading).await;
        authorities.map_err(|why| (TlsResult::CertificateNotTrusted, why))
    }

    /// Each reason once, not with each mail that waits for it.
    fn tell(&self, why: Option<&String>) {
        let mut told = self.told.lock();
        if let Some(why) = why.filter(|why| told.as_ref() != Some(*why)) {
            tracing::error!(%why, "no certificate can be verified: mail that demands it waits");
            *told = Some(why.clone());
        } else if why.is_none() && told.take().is_some() {
            tracing::info!("certificates can be verified again");
        }
    }

    fn hold_to(&self, roots: RootCertStore) -> Result<Authorities, String> {
        let building = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider));
        let verifier = building.build().map_err(|error| error.to_string())?;
        let by_own_name = configuration(&self.provider, Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>, true);
        Ok(Authorities { verifier, by_own_name })
    }
}

impl Authorities {
    fn one_of(&self, names: &[Arc<str>]) -> OneOf {
        let names = names.iter().filter_map(|name| server_name(name)).collect();
        OneOf { authorities: Arc::clone(&self.verifier), names }
    }
}

/// What the certificate was held to, after a handshake that came about.
fn verified(demand: &TlsDemand, watching: Option<&Watching>) -> Verified {
    match (demand, watching) {
        (TlsDemand::WebPki { .. }, _) => Verified::WebPki,
        (TlsDemand::Dane { .. }, _) => Verified::Dane,
        (TlsDemand::Watched { .. }, Some(watching)) => {
            watching.found.lock().map_or(Verified::WebPki, Verified::Doubtful)
        }
        _ => Verified::No,
    }
}

fn configuration(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    resumes: bool,
) -> Arc<ClientConfig> {
    // TLS 1.2 and 1.3 are compiled in, and the provider has suites for both: nothing can be missing.
    #[allow(clippy::expect_used, reason = "see above")]
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions");
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = if resumes { Resumption::in_memory_sessions(SESSIONS) } else { Resumption::disabled() };
    Arc::new(config)
}

/// A name or an address as a certificate may have it.
fn server_name(name: &str) -> Option<ServerName<'static>> {
    match name.parse::<IpAddr>() {
        Ok(ip) => Some(ServerName::from(ip)),
        Err(_) => ServerName::try_from(name.trim_end_matches('.').to_owned()).ok(),
    }
}

fn unnamed(name: &str) -> NoTls {
    (TlsResult::ValidationFailure, format!("{name:?} cannot be the name of a host with a certificate"))
}

/// Certificates of authorities; at least one.
pub(crate) fn read_roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let (found, from) = match file {
        Some(path) => {
            let shown = path.display().to_string();
            let pem = std::fs::read(path).map_err(|error| format!("delivery.tls_roots: {shown}: {error}"))?;
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            (found.map_err(|error| format!("delivery.tls_roots: {shown} is not PEM: {error}"))?, shown)
        }
        None => (rustls_native_certs::load_native_certs().certs, "this system".to_owned()),
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err(format!("{from} has no certificates of authorities: install ca-certificates, or write tls_roots"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// The first octets that a host hears.
    async fn heard(name: &str, demand: TlsDemand) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("its address")).await.expect("a connection");
        let (mut host, _) = listener.accept().await.expect("the other end");
        let shaking = tokio::spawn({
            let (name, limit) = (name.to_owned(), Duration::from_secs(10));
            async move { TlsClient::new(None).handshake(stream, &name, &demand, limit).await.map(|_| ()) }
        });
        let mut hello = vec![0; 5];
        host.read_exact(&mut hello).await.expect("the head of a record");
        let mut rest = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
        host.read_exact(&mut rest).await.expect("a ClientHello");
        drop(host);
        assert!(shaking.await.expect("no panic").is_err());
        hello.extend(rest);
        hello
    }

    #[tokio::test]
    async fn a_host_behind_an_alias_is_asked_by_the_name_of_its_records() {
        let names = ["host.example.net", "mx.example.org", "example.org"].map(Arc::from).to_vec();
        let dane = TlsDemand::Dane { records: Arc::new([]), names };
        for (demand, asked, not) in [
            (dane, "host.example.net", "mx.example.org"),
            (TlsDemand::Opportunistic, "mx.example.org", "host.example.net"),
        ] {
            let hello = heard("mx.example.org", demand).await;
            let has = |name: &str| hello.windows(name.len()).any(|part| part == name.as_bytes());
            assert!(has(asked) && !has(not), "{asked}");
        }
    }
}
