//! The certificate of the HTTP side: TLS 1.2 and 1.3, read again when its files change. How a chain and its key are read is
//! the same for all listeners ([`crate::ingress::tls::pair`]).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::config::AdminTls;
pub use crate::ingress::tls::pair::BadCertificate;
use crate::ingress::tls::pair::{Pair, server};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(10);

/// Reads both files.
///
/// # Errors
/// [`BadCertificate`]
pub fn load(tls: &AdminTls) -> Result<CertifiedKey, BadCertificate> {
    pair(tls).load()
}

fn pair(tls: &AdminTls) -> Pair<'_> {
    Pair { named: "admin.tls", certificate: &tls.certificate, key: &tls.key }
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
    let mut seen = (tls.clone(), pair(tls).written());
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
                let now = (tls.clone(), pair(&tls).written());
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
    let mut config = server(shown).map_err(|source| BadCertificate::Mismatch {
        key: "admin.tls".to_owned(),
        certificate: tls.certificate.display().to_string(),
        private: tls.key.display().to_string(),
        source: Box::new(source),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
