//! A chain of certificates and its key, as they lie on disk; shared by all that listen with TLS.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::version;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Octets of a file that are read: a long chain has some ten thousand.
const BYTES_MAX: u64 = 1 << 20;

/// Why a certificate cannot be used; names the key and the file, never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    /// The file.
    #[error("{key}: {path} cannot be read: {source}")]
    Unreadable {
        /// Key of the configuration.
        key: String,
        /// Which.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// What is in it.
    #[error("{key}: {path} holds no {what} in PEM")]
    Empty {
        /// Key of the configuration.
        key: String,
        /// Which.
        path: String,
        /// certificate, private key.
        what: &'static str,
    },
    /// The two do not go together, or nobody knows such a key.
    #[error("{key}: {certificate} and {private} do not go together: {source}")]
    Mismatch {
        /// Key of the configuration.
        key: String,
        /// Certificate.
        certificate: String,
        /// Private key.
        private: String,
        /// What the library says.
        source: Box<rustls::Error>,
    },
}

/// Two files, and the key of the configuration that names them.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Such as `admin.tls`.
    pub named: &'a str,
    /// The chain.
    pub certificate: &'a Path,
    /// The private key.
    pub key: &'a Path,
}

/// When the files were last written, and which they are, as far as that can be told.
pub type Written = [Option<(SystemTime, u64, u64)>; 2];

impl Pair<'_> {
    /// Reads both files.
    ///
    /// # Errors
    /// [`BadCertificate`]
    pub fn load(&self) -> Result<CertifiedKey, BadCertificate> {
        let shown = |path: &Path| path.display().to_string();
        let key = || self.named.to_owned();
        let read = |path: &Path| {
            read(path).map_err(|source| BadCertificate::Unreadable { key: key(), path: shown(path), source })
        };
        let empty = |path: &Path, what| BadCertificate::Empty { key: key(), path: shown(path), what };
        let (certificate, private) = (read(self.certificate)?, zeroize::Zeroizing::new(read(self.key)?));
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| empty(self.certificate, "certificate"))?;
        let private = PrivateKeyDer::from_pem_slice(&private).map_err(|_| empty(self.key, "private key"))?;
        CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).map_err(|source| {
            BadCertificate::Mismatch {
                key: key(),
                certificate: shown(self.certificate),
                private: shown(self.key),
                source: Box::new(source),
            }
        })
    }

    /// What the files are now.
    pub fn written(&self) -> Written {
        [self.certificate, self.key].map(|path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.modified().ok()?, meta.ino(), meta.size()))
        })
    }

    /// What is odd about the key's file: others than its owner and group can read it.
    pub fn loose(&self) -> Option<String> {
        let mode = std::fs::metadata(self.key).ok()?.mode();
        let (named, path) = (self.named, self.key.display());
        (mode & 0o037 != 0).then(|| {
            format!("{named}: others can read or change the key {path} (mode {:04o}); chmod 640 it", mode & 0o7777)
        })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut octets = Vec::new();
    std::fs::File::open(path)?.take(BYTES_MAX).read_to_end(&mut octets)?;
    Ok(octets)
}

/// A server's side of TLS 1.2 and 1.3, the hybrid key exchange first, without certificates of clients.
///
/// # Errors
/// Where the library knows neither version.
pub fn server(shown: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&version::TLS13, &version::TLS12])?;
    Ok(config.with_no_client_auth().with_cert_resolver(shown))
}
