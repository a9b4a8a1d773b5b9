//! An authority that gives certificates, for tests that hold peers to one.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// An authority; its certificate is in a file for `delivery.tls_roots`.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: CertificateDer<'static>,
    file: tempfile::NamedTempFile,
}

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    /// SubjectPublicKeyInfo.
    pub(crate) public_key: Vec<u8>,
    key: Vec<u8>,
    authority: CertificateDer<'static>,
    /// Certificate and key as files have them.
    pub(crate) pem: (String, String),
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each has a name of its own, so that another is unknown and not only wrong.
        let number: String =
            key.subject_public_key_info().iter().rev().take(8).map(|octet| format!("{octet:02x}")).collect();
        params.distinguished_name.push(DnType::CommonName, format!("An authority for tests {number}"));
        let certificate = params.self_signed(&key).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(certificate.pem().as_bytes()).unwrap();
        Self { certificate: certificate.der().clone(), issuer: Issuer::new(params, key), file }
    }

    /// The file with its certificate.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.file.path()
    }

    /// A certificate for these names.
    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        Identity {
            pem: (certificate.pem(), key.serialize_pem()),
            certificate: certificate.der().clone(),
            public_key: key.subject_public_key_info(),
            key: key.serialize_der(),
            authority: self.certificate.clone(),
        }
    }
}

impl Identity {
    /// As a server shows it, with the authority's.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let chain = vec![self.certificate.clone(), self.authority.clone()];
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}
