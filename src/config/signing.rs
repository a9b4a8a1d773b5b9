//! `[dkim.NAME]`: keys that sign mail (RFC 6376).

use std::path::PathBuf;
use std::time::Duration;

use crate::message::{Domain, TenantName};

/// `[dkim.NAME]`: one key, and what it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimKey {
    /// Its name.
    pub name: String,
    /// The domain that signs (`d=`).
    pub domain: Domain,
    /// Where its public key is: `SELECTOR._domainkey.DOMAIN` (`s=`).
    pub selector: String,
    /// The private key, PEM: RSA of 2048 bit at least (PKCS#1 or PKCS#8), or Ed25519 (PKCS#8). Read at start and reload.
    pub key: PathBuf,
    /// Tenants that may write as this domain: their mail is signed where it is `From:` the domain. Others may have the key
    /// sign too ([`super::Tenant::dkim`]), but never mail that is `From:` this domain or one related to it.
    pub tenants: Vec<TenantName>,
    /// Whether mail `From:` a domain below it is signed as well. Default false.
    pub subdomains: bool,
    /// Names of the header fields that are signed where they are there. `From` always is, once more than it is there.
    pub headers: Vec<String>,
    /// How long a signature is good (`x=`), from when the mail is taken in: a day longer than mail may wait, at least.
    /// Default: for ever.
    pub expire: Option<Duration>,
}
