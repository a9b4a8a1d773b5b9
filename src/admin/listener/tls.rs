//! The certificate of the HTTP side: TLS 1.2 and 1.3, read again when its files change.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::AdminTls;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(10);

/// Why a certificate cannot be used; names the file, never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    /// The file.
    #[error("admin.tls: {path} cannot be read: {source}")]
    Unreadable {
        /// Which.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// What is in it.
    #[error("admin.tls: {path} holds no {what} in PEM")]
    Empty {
        /// Which.
        path: String,
        /// certificate, private key.
        what: &'static str,
    },
    /// The two do not go together, or nobody knows such a key.
    #[error("admin.tls: {certificate} and {key} do not go together: {source}")]
    Mismatch {
        /// Certificate.
        certificate: String,
        /// Key.
        key: String,
        /// What the library says.
        source: rustls::Error,
    },
}

/// Reads both files.
///
/// # Errors
/// [`BadCertificate`]
pub fn load(tls: &AdminTls) -> Result<CertifiedKey, BadCertificate> {
    let shown = |path: &Path| path.display().to_string();
    let read =
        |path: &Path| std::fs::read(path).map_err(|source| BadCertificate::Unreadable { path: shown(path), source });
    let empty = |path: &Path, what| BadCertificate::Empty { path: shown(path), what };
    let (certificate, key) = (read(&tls.certificate)?, read(&tls.key)?);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| empty(&tls.certificate, "certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| empty(&tls.key, "private key"))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|source| BadCertificate::Mismatch {
        certificate: shown(&tls.certificate),
        key: shown(&tls.key),
        source,
    })
}

/// When the files were last written, as far as that can be told.
fn written(tls: &AdminTls) -> [Option<SystemTime>; 2] {
    [&tls.certificate, &tls.key].map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

/// The certificate that is shown to the next client.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

/// An acceptor with the certificate in force. A task looks at the files and takes up new ones; where they are no good the
/// old ones stay, and the log says why. It ends with the last acceptor. `current` tells which files they are.
///
/// # Errors
/// [`BadCertificate`], as things are now.
pub fn acceptor(
    tls: &AdminTls,
    current: impl Fn() -> Option<AdminTls> + Send + 'static,
) -> Result<TlsAcceptor, BadCertificate> {
    let mut seen = (tls.clone(), written(tls));
    let shown = Arc::new(Shown(RwLock::new(Arc::new(load(tls)?))));
    let watched = Arc::downgrade(&shown);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(shown) = watched.upgrade() else { return };
            let Some(tls) = current() else { continue };
            let before = seen.clone();
            // The disk may take its time, and nobody who is served waits for it.
            let look = move || {
                let now = (tls.clone(), written(&tls));
                let key = (now != before).then(|| load(&tls));
                (now, key)
            };
            let Ok((now, key)) = tokio::task::spawn_blocking(look).await else { continue };
            let certificate = now.0.certificate.display().to_string();
            seen = now;
            match key {
                Some(Ok(key)) => {
                    *shown.0.write() = Arc::new(key);
                    tracing::info!(certificate, "a new certificate is in force");
                }
                Some(Err(error)) => tracing::error!(%error, "the certificate in force stays"),
                None => {}
            }
        }
    });
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|source| BadCertificate::Mismatch {
            certificate: tls.certificate.display().to_string(),
            key: tls.key.display().to_string(),
            source,
        })?;
    let mut config = config.with_no_client_auth().with_cert_resolver(shown);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
