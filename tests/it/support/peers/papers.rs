//! A certificate authority of one test, and a certificate for the names its peers go by.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// Files in PEM.
#[derive(Debug)]
pub(crate) struct Papers(TempDir);

impl Papers {
    /// For 127.0.0.1, relay.test, mx.peer.test and localhost.
    pub(crate) fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.distinguished_name.push(DnType::CommonName, "authority of a test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let authority_pem = authority.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(authority, key);
        let names = ["127.0.0.1", "relay.test", "mx.peer.test", "localhost"].map(String::from);
        let leaf_key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&leaf_key, &issuer).unwrap();

        let papers = Self(tempfile::tempdir().unwrap());
        fs::set_permissions(papers.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(papers.authority(), authority_pem).unwrap();
        fs::write(papers.certificate(), leaf.pem()).unwrap();
        fs::write(papers.key(), leaf_key.serialize_pem()).unwrap();
        fs::set_permissions(papers.key(), fs::Permissions::from_mode(0o600)).unwrap();
        papers
    }

    /// Whom to believe.
    pub(crate) fn authority(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// The certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    /// Its key, for its owner's eyes only.
    pub(crate) fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }
}
