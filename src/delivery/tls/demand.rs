//! What is demanded of a host's TLS, and what came of it.
//!
//! [`TlsDemand`] is the result of every policy that holds for a host, so that the part that connects need not know policies;
//! [`TlsOutcome`] is what it tells back, in the terms of RFC 8460, so that the part that reports need not know handshakes.

use std::fmt;
use std::sync::Arc;

/// What a host has to show before it is given mail, from nothing to most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsDemand {
    /// TLS is not even tried.
    Never,
    /// TLS where the host offers it, whatever it shows (RFC 7435); in the clear where that fails.
    #[default]
    Opportunistic,
    /// Whatever the host shows, but its certificate is looked at, and what is found is told: a policy in testing would have
    /// kept mail from it (RFC 8461 §5).
    Watched {
        /// Names as with `WebPki`.
        names: Vec<Arc<str>>,
        /// As `Opportunistic`, else as `Encrypted`.
        may_be_clear: bool,
    },
    /// TLS, whatever the host shows.
    Encrypted,
    /// TLS with a certificate that a known authority gave to one of these names.
    WebPki {
        /// Names of the host, as the certificate may have them: A-labels without a final dot.
        names: Vec<Arc<str>>,
    },
    /// TLS with a certificate that one of these records names (RFC 7672 §3).
    Dane {
        /// Usable records; never empty.
        records: Arc<[TlsaRecord]>,
        /// Names that a certificate below a trust anchor may have (usage DANE-TA).
        names: Vec<Arc<str>>,
    },
}

impl TlsDemand {
    /// Whether mail may go in the clear.
    pub fn may_be_clear(&self) -> bool {
        matches!(self, Self::Never | Self::Opportunistic | Self::Watched { may_be_clear: true, .. })
    }
}

/// A usable TLSA record (RFC 6698 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsaRecord {
    /// What is named.
    pub usage: TlsaUsage,
    /// Which part of the certificate.
    pub selector: TlsaSelector,
    /// How it is compared.
    pub matching: TlsaMatching,
    /// The certificate, its key, or the digest of one of them.
    pub data: Vec<u8>,
}

/// Usages that mean something for SMTP (RFC 7672 §3.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsaUsage {
    /// 2: an authority.
    DaneTa,
    /// 3: the host's own certificate; neither its names nor its dates count.
    DaneEe,
}

/// Part of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsaSelector {
    /// 0: all of it.
    Certificate,
    /// 1: its public key (SubjectPublicKeyInfo).
    PublicKey,
}

/// Comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsaMatching {
    /// 0: octet by octet.
    Full,
    /// 1.
    Sha256,
    /// 2.
    Sha512,
}

/// What was agreed with a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSession {
    /// `TLSv1.3`
    pub version: &'static str,
    /// Cipher suite by its registered name.
    pub cipher: &'static str,
    /// Key exchange group by its registered name, where there is one.
    pub group: Option<&'static str>,
    /// What the certificate was held to.
    pub verified: Verified,
}

impl fmt::Display for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.version, self.cipher)?;
        self.group.map_or(Ok(()), |group| write!(f, " {group}"))
    }
}

/// What a certificate was held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Nothing.
    No,
    /// Authorities and names, and it does not do; the mail goes all the same.
    Doubtful(TlsResult),
    /// Authorities and names.
    WebPki,
    /// TLSA records.
    Dane,
}

/// What came of TLS with a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsOutcome {
    /// It was not tried.
    #[default]
    NotTried,
    /// It is there.
    Session(TlsSession),
    /// It is not, for this reason.
    Failed {
        /// In the terms of TLSRPT.
        result: TlsResult,
        /// In words.
        detail: String,
    },
}

impl TlsOutcome {
    /// As one word: `none`, `encrypted`, `verified`, `dane`, or the result of RFC 8460 that says why not.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotTried => "none",
            Self::Session(TlsSession { verified: Verified::No | Verified::Doubtful(_), .. }) => "encrypted",
            Self::Session(TlsSession { verified: Verified::WebPki, .. }) => "verified",
            Self::Session(TlsSession { verified: Verified::Dane, .. }) => "dane",
            Self::Failed { result, .. } => result.as_str(),
        }
    }
}

impl fmt::Display for TlsOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => write!(f, "{session} {}", self.as_str()),
            _ => f.write_str(self.as_str()),
        }
    }
}

/// Result types (RFC 8460 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsResult {
    /// The host does not offer STARTTLS.
    StarttlsNotSupported,
    /// The certificate is for other names.
    CertificateHostMismatch,
    /// The certificate has expired.
    CertificateExpired,
    /// No known authority.
    CertificateNotTrusted,
    /// Anything else.
    ValidationFailure,
    /// TLSA records that cannot be used.
    TlsaInvalid,
    /// DNSSEC did not hold.
    DnssecInvalid,
    /// DANE is required and there are no records.
    DaneRequired,
    /// The policy could not be fetched.
    StsPolicyFetchError,
    /// The policy is none.
    StsPolicyInvalid,
    /// The web host of the policy could not be verified.
    StsWebpkiInvalid,
}

impl TlsResult {
    /// As a report has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StarttlsNotSupported => "starttls-not-supported",
            Self::CertificateHostMismatch => "certificate-host-mismatch",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::ValidationFailure => "validation-failure",
            Self::TlsaInvalid => "tlsa-invalid",
            Self::DnssecInvalid => "dnssec-invalid",
            Self::DaneRequired => "dane-required",
            Self::StsPolicyFetchError => "sts-policy-fetch-error",
            Self::StsPolicyInvalid => "sts-policy-invalid",
            Self::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_demands_may_go_in_the_clear() {
        let names = vec![Arc::from("mx.example.org")];
        let record = TlsaRecord {
            usage: TlsaUsage::DaneEe,
            selector: TlsaSelector::PublicKey,
            matching: TlsaMatching::Sha256,
            data: vec![0; 32],
        };
        let demands = [
            (TlsDemand::Never, true),
            (TlsDemand::default(), true),
            (TlsDemand::Watched { names: names.clone(), may_be_clear: true }, true),
            (TlsDemand::Watched { names: names.clone(), may_be_clear: false }, false),
            (TlsDemand::Encrypted, false),
            (TlsDemand::WebPki { names: names.clone() }, false),
            (TlsDemand::Dane { records: [record].into(), names }, false),
        ];
        for (demand, may_be_clear) in demands {
            assert_eq!(demand.may_be_clear(), may_be_clear, "{demand:?}");
        }
    }
}
