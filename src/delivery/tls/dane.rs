//! Holds a host's certificate to its TLSA records (RFC 7672 §3, RFC 7671 §5).
//!
//! DANE-EE (usage 3) names the host's own certificate or key: nothing else counts, neither its names nor its dates nor who
//! signed it. DANE-TA (usage 2) names an authority among the certificates that the host sends, or is the authority's own
//! certificate: the chain must lead there, be within its dates, and the host's certificate must have one of the names. Any
//! record that holds is enough. That the host has the key of its certificate is proven by the handshake as always.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, spki_for_anchor};

use super::demand::{TlsaMatching, TlsaRecord, TlsaSelector, TlsaUsage};

/// Certificates of a host that are looked at.
const CHAIN_MAX: usize = 16;

/// Holds certificates to TLSA records.
#[derive(Debug)]
pub struct Dane {
    provider: Arc<CryptoProvider>,
    records: Arc<[TlsaRecord]>,
    names: Vec<ServerName<'static>>,
}

impl Dane {
    /// To these records; a certificate below an authority has to have one of these names.
    pub fn new(provider: Arc<CryptoProvider>, records: Arc<[TlsaRecord]>, names: &[Arc<str>]) -> Self {
        let names = names.iter().filter_map(|name| ServerName::try_from(name.to_string()).ok()).collect();
        Self { provider, records, names }
    }

    fn verify(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let certificate = EndEntityCert::try_from(own).map_err(|_| bad(CertificateError::BadEncoding))?;
        let key = certificate.subject_public_key_info();
        let of = |usage| self.records.iter().filter(move |record| record.usage == usage);
        if of(TlsaUsage::DaneEe).any(|record| holds(record, own, &key)) {
            return Ok(());
        }
        // What is said of an authority that does not do tells more than that nothing fits.
        let mut why = bad(CertificateError::ApplicationVerificationFailure);
        let others = &others[..others.len().min(CHAIN_MAX)];
        for record in of(TlsaUsage::DaneTa) {
            let in_record = (record.selector == TlsaSelector::Certificate && record.matching == TlsaMatching::Full)
                .then(|| CertificateDer::from(record.data.as_slice()));
            for authority in others.iter().chain(in_record.as_ref()) {
                let Ok(anchor) = anchor_from_trusted_cert(authority) else { continue };
                if !holds(record, authority, &spki_for_anchor(&anchor)) {
                    continue;
                }
                match self.below(&certificate, &[anchor], others, now) {
                    Ok(()) => return Ok(()),
                    Err(error) => why = error,
                }
            }
        }
        Err(why)
    }

    fn below(
        &self,
        certificate: &EndEntityCert<'_>,
        anchors: &[rustls_pki_types::TrustAnchor<'_>],
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        certificate
            .verify_for_usage(algorithms, anchors, others, now, KeyUsage::server_auth(), None, None)
            .map_err(|error| bad(in_words(&error)))?;
        let has_one = self.names.iter().any(|name| certificate.verify_is_valid_for_subject_name(name).is_ok());
        if has_one { Ok(()) } else { Err(bad(CertificateError::NotValidForName)) }
    }
}

/// Whether a record names this certificate, whose key is `key` (with its algorithm, RFC 6698 §1.3).
fn holds(record: &TlsaRecord, certificate: &[u8], key: &[u8]) -> bool {
    let part = match record.selector {
        TlsaSelector::Certificate => certificate,
        TlsaSelector::PublicKey => key,
    };
    match record.matching {
        TlsaMatching::Full => record.data == part,
        TlsaMatching::Sha256 => record.data == digest(&SHA256, part).as_ref(),
        TlsaMatching::Sha512 => record.data == digest(&SHA512, part).as_ref(),
    }
}

fn bad(error: CertificateError) -> Error {
    Error::InvalidCertificate(error)
}

fn in_words(error: &webpki::Error) -> CertificateError {
    match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::BadDer => CertificateError::BadEncoding,
        _ => CertificateError::ApplicationVerificationFailure,
    }
}

impl ServerCertVerifier for Dane {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::crypto::aws_lc_rs::default_provider;
    use std::time::Duration;

    /// 2027-01-15T08:00:00Z
    const NOW: u64 = 1_800_000_000;

    struct Chain {
        own: CertificateDer<'static>,
        own_key: Vec<u8>,
        authority: CertificateDer<'static>,
        authority_key: Vec<u8>,
    }

    /// A certificate for mx.example.org below an authority, valid from 2026 until the end of `until`.
    fn chain(until: i32) -> Chain {
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Test authority");
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2030, 1, 1));
        let authority = params.self_signed(&authority_key).unwrap();
        let own_key = KeyPair::generate().unwrap();
        let mut own = CertificateParams::new(vec!["mx.example.org".to_owned()]).unwrap();
        (own.not_before, own.not_after) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(until, 12, 31));
        let spki = |key: &KeyPair| rcgen::PublicKeyData::subject_public_key_info(key);
        let (authority_spki, own_spki) = (spki(&authority_key), spki(&own_key));
        let own = own.signed_by(&own_key, &Issuer::from_params(&params, &authority_key)).unwrap();
        Chain {
            own: own.der().clone(),
            own_key: own_spki,
            authority: authority.der().clone(),
            authority_key: authority_spki,
        }
    }

    fn record(usage: TlsaUsage, selector: TlsaSelector, matching: TlsaMatching, part: &[u8]) -> TlsaRecord {
        let data = match matching {
            Full => part.to_vec(),
            Sha256 => digest(&SHA256, part).as_ref().to_vec(),
            Sha512 => digest(&SHA512, part).as_ref().to_vec(),
        };
        TlsaRecord { usage, selector, matching, data }
    }

    fn verdict(
        records: Vec<TlsaRecord>,
        names: &[&str],
        chain: &Chain,
        sent: &[CertificateDer<'_>],
    ) -> Result<(), CertificateError> {
        let names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
        let dane = Dane::new(Arc::new(default_provider()), records.into(), &names);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
        // The name that is asked for does not count.
        let name = ServerName::try_from("another.test").unwrap();
        match dane.verify_server_cert(&chain.own, sent, &name, &[], now) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(why)) => Err(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    use TlsaMatching::{Full, Sha256, Sha512};
    use TlsaSelector::{Certificate, PublicKey};
    use TlsaUsage::{DaneEe, DaneTa};

    #[test]
    fn the_hosts_own_certificate_needs_neither_name_nor_date() {
        let (chain, expired, other) = (chain(2029), chain(2026), chain(2029));
        for chain in [&chain, &expired] {
            for matching in [Full, Sha256, Sha512] {
                let by_certificate = record(DaneEe, Certificate, matching, &chain.own);
                let by_key = record(DaneEe, PublicKey, matching, &chain.own_key);
                assert_eq!(verdict(vec![by_certificate.clone()], &["another.test"], chain, &[]), Ok(()));
                assert_eq!(verdict(vec![by_key.clone()], &[], chain, &[]), Ok(()));
                let no = Err(CertificateError::ApplicationVerificationFailure);
                assert_eq!(verdict(vec![by_certificate.clone()], &["mx.example.org"], &other, &[]), no);
                let both = vec![record(DaneEe, PublicKey, Sha256, b"old"), by_key];
                assert_eq!(verdict(both, &[], chain, &[]), Ok(()), "any that holds is enough");
            }
        }
        let authoritys = record(DaneEe, PublicKey, Sha256, &chain.authority_key);
        assert!(
            verdict(vec![authoritys], &["mx.example.org"], &chain, std::slice::from_ref(&chain.authority)).is_err()
        );
    }

    #[test]
    fn below_an_authority_names_and_dates_count() {
        let (chain, expired) = (chain(2029), chain(2026));
        let sent = [chain.authority.clone()];
        let name = ["example.net", "mx.example.org"];
        for matching in [Full, Sha256, Sha512] {
            for record in [
                record(DaneTa, Certificate, matching, &chain.authority),
                record(DaneTa, PublicKey, matching, &chain.authority_key),
            ] {
                assert_eq!(verdict(vec![record.clone()], &name, &chain, &sent), Ok(()), "{record:?}");
                let wrong = verdict(vec![record.clone()], &["example.net"], &chain, &sent);
                assert_eq!(wrong, Err(CertificateError::NotValidForName));
                let unsent = verdict(vec![record.clone()], &name, &chain, &[]);
                let is_in_record = record.selector == Certificate && matching == Full;
                assert_eq!(unsent.is_ok(), is_in_record, "the authority has to be there: {record:?}");
                assert!(verdict(vec![record], &name, &expired, &sent).is_err(), "of another authority");
            }
        }
        let its_own = record(DaneTa, Certificate, Sha256, &expired.authority);
        let late = verdict(vec![its_own], &name, &expired, std::slice::from_ref(&expired.authority));
        assert_eq!(late, Err(CertificateError::Expired));
        let leaf_as_authority = record(DaneTa, Certificate, Sha256, &chain.own);
        assert!(verdict(vec![leaf_as_authority], &name, &chain, &sent).is_err());
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let mut chain = chain(2029);
        let record = record(DaneEe, Certificate, Full, &chain.own);
        let junk = [CertificateDer::from(b"junk".as_slice())];
        assert_eq!(verdict(vec![record.clone()], &[], &chain, &junk), Ok(()));
        chain.own = CertificateDer::from(b"junk".to_vec());
        assert_eq!(verdict(vec![record], &[], &chain, &[]), Err(CertificateError::BadEncoding));
    }
}
