//! From rustls' words to ours: what was agreed, and in the terms of RFC 8460 why nothing was.

use std::io;

use rustls::{CertificateError, CipherSuite, CommonState, Error, NamedGroup, ProtocolVersion};

use super::demand::{TlsResult, TlsSession, Verified};

/// What was agreed, once the handshake is over.
pub(super) fn session(state: &CommonState, verified: Verified) -> TlsSession {
    TlsSession {
        version: match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "unknown",
        },
        cipher: state.negotiated_cipher_suite().map_or("unknown", |suite| cipher(suite.suite())),
        group: state.negotiated_key_exchange_group().and_then(|group| named(group.name())),
        verified,
    }
}

/// The registered names of the suites that the crate speaks; its own name where it learns more.
fn cipher(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}

fn named(group: NamedGroup) -> Option<&'static str> {
    Some(match group {
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::X25519 => "x25519",
        NamedGroup::secp256r1 => "secp256r1",
        NamedGroup::secp384r1 => "secp384r1",
        other => other.as_str()?,
    })
}

/// Why a handshake failed.
pub(super) fn failure(error: &io::Error) -> (TlsResult, String) {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => (result(error), error.to_string()),
        None => (TlsResult::ValidationFailure, error.to_string()),
    }
}

pub(super) fn result(error: &Error) -> TlsResult {
    use CertificateError::{Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer};
    match error {
        Error::InvalidCertificate(Expired | ExpiredContext { .. }) => TlsResult::CertificateExpired,
        Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            TlsResult::CertificateHostMismatch
        }
        Error::InvalidCertificate(UnknownIssuer) => TlsResult::CertificateNotTrusted,
        _ => TlsResult::ValidationFailure,
    }
}
