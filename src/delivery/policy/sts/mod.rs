//! MTA-STS (RFC 8461): what a domain says in DNS and over HTTPS of the TLS of its hosts. Pure.
//!
//! [`record`] reads the TXT record that names a policy, [`text`] the policy itself, [`cell`] says for one domain when to ask
//! for which of them and what holds in between. Both are read by their grammar: half a policy is none.

pub mod cell;
pub mod record;
pub mod text;

pub use cell::{Cell, Kept};
pub use text::{Mode, StsPolicy};

use crate::delivery::tls::demand::TlsResult;

/// Why there is no policy although a record names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfetched {
    /// In the terms of TLSRPT: `StsPolicyFetchError`, `StsPolicyInvalid` or `StsWebpkiInvalid`.
    pub result: TlsResult,
    /// In words.
    pub detail: String,
}
