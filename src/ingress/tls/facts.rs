//! What came of a TLS handshake, in plain words: for the trace field, for AUTH, for the metrics.

use crate::ingress::Secret;

/// Versions, as metrics name them; the order of [`TlsStats`](super::TlsStats).
pub const VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];
/// Groups of the key exchange, as metrics name them; the last stands for all others.
pub const GROUPS: [&str; 5] = ["X25519MLKEM768", "X25519", "secp256r1", "secp384r1", "other"];

/// A TLS session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// One of [`VERSIONS`].
    pub version: &'static str,
    /// Cipher suite by its name at IANA.
    pub cipher: String,
    /// Group of the key exchange by its name at IANA; `None` where the library does not tell.
    pub group: Option<String>,
    /// What binds a login to this session (`tls-exporter`, RFC 9266); of TLS 1.3 only.
    pub binding: Option<Secret>,
}

impl TlsFacts {
    /// The comment of the trace field: `TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 key-exchange X25519MLKEM768`.
    pub fn words(&self) -> String {
        let group = self.group.as_deref().map(|group| format!(" key-exchange {group}")).unwrap_or_default();
        format!("{} with cipher {}{group}", self.version, self.cipher)
    }

    /// Which version, and which group, in [`VERSIONS`] and [`GROUPS`].
    pub fn place(&self) -> (usize, usize) {
        let version = VERSIONS.iter().position(|known| *known == self.version).unwrap_or(0);
        let group = self.group.as_deref().unwrap_or("other");
        let group = GROUPS.iter().position(|known| known.eq_ignore_ascii_case(group)).unwrap_or(GROUPS.len() - 1);
        (version, group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_told_in_words_and_counted_by_version_and_group() {
        let facts = |version, group: Option<&str>| TlsFacts {
            version,
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            group: group.map(str::to_owned),
            binding: Some(Secret::new(vec![1])),
        };
        let hybrid = facts("TLSv1.3", Some("X25519MLKEM768"));
        assert_eq!(hybrid.words(), "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 key-exchange X25519MLKEM768");
        assert_eq!(hybrid.place(), (1, 0));
        assert_eq!(facts("TLSv1.2", None).words(), "TLSv1.2 with cipher TLS_AES_256_GCM_SHA384");
        assert_eq!(facts("TLSv1.2", None).place(), (0, 4));
        assert_eq!(facts("TLSv1.3", Some("brainpool")).place(), (1, 4));
    }
}
