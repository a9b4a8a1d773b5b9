//! (shell) Files with private keys.
//!
//! A file that others can read, or that they can write, is refused: whoever has the key can write as the domain. RSA keys
//! have 2048 bit at least: what RFC 8301 §3.2 advises, and the least that the library of the cryptography takes. What is
//! read is wiped from memory once the key is made of it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use mail_auth::common::crypto::{DkimKey as Secret, Ed25519Key, RsaKey, Sha256};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::config::DkimKey;

/// Octets of a file; an RSA key of 8192 bit has 6,400.
const FILE_MAX: u64 = 64 * 1024;

/// Why a key cannot be used. Names the file, never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("dkim.{name}.key {path}: cannot be read: {source}; the user that runs remuda must be able to")]
    Read {
        /// The key's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others can read or write it.
    #[error(
        "dkim.{name}.key {path}: its mode is {mode:04o}: others could sign as {domain}; chmod 600 it (640 where it is root's)"
    )]
    Mode {
        /// The key's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// The permissions it has.
        mode: u32,
        /// The domain it signs for.
        domain: String,
    },
    /// It holds no key, or none that signs.
    #[error("dkim.{name}.key {path}: {what}")]
    Bad {
        /// The key's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong, and the remedy.
        what: &'static str,
    },
}

/// A private key and its public half.
pub struct Pair {
    secret: Secret,
    public: Vec<u8>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pair").field(&self.kind()).finish()
    }
}

impl Pair {
    /// `rsa` or `ed25519`, as its record says (`k=`).
    pub fn kind(&self) -> &'static str {
        match self.secret {
            Secret::Rsa(_) => "rsa",
            Secret::Ed25519(_) => "ed25519",
        }
    }

    /// Its public key: RSAPublicKey (RFC 8017 §A.1.1), or the 32 octets of Ed25519.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The public key as its record has it (`p=`): RSA as SubjectPublicKeyInfo, which all readers know, while the form
    /// that RFC 6376 §3.6.1 names is known to some only.
    pub fn published(&self) -> Vec<u8> {
        match self.secret {
            Secret::Rsa(_) => super::keygen::subject_public_key_info(&self.public),
            Secret::Ed25519(_) => self.public.clone(),
        }
    }
}

/// A key that is ready to sign.
pub struct Loaded {
    rules: DkimKey,
    pair: Pair,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loaded").field(&self.rules.name).finish_non_exhaustive()
    }
}

impl Loaded {
    /// What the configuration says of it.
    pub fn rules(&self) -> &DkimKey {
        &self.rules
    }

    /// The key.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.pair.secret
    }
}

/// Reads the file that `key` names.
///
/// # Errors
/// Where it cannot be used.
pub fn load(key: &DkimKey) -> Result<Loaded, Error> {
    let (name, path) = (key.name.clone(), key.key.clone());
    let failed = |source| Error::Read { name: name.clone(), path: path.clone(), source };
    let file = File::open(&key.key).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    // The group may read: the file can belong to root and be read by the relay.
    if about.mode() & 0o037 != 0 {
        let (mode, domain) = (about.mode() & 0o7777, key.domain.to_string());
        return Err(Error::Mode { name, path, mode, domain });
    }
    // Room for all of it at once: what grows leaves copies behind.
    let mut pem = Zeroizing::new(Vec::with_capacity(FILE_MAX as usize + 1));
    file.take(FILE_MAX + 1).read_to_end(&mut pem).map_err(failed)?;
    let pair = read(&pem).map_err(|what| Error::Bad { name: name.clone(), path: path.clone(), what })?;
    Ok(Loaded { rules: key.clone(), pair })
}

/// The key in a PEM text and its public half.
///
/// # Errors
/// What is wrong, and the remedy.
pub fn read(pem: &[u8]) -> Result<Pair, &'static str> {
    const NONE: &str = "no private key in PEM; remuda dkim keygen makes one";
    const BAD: &str = "neither an RSA key of 2048 to 8192 bit nor an Ed25519 key; remuda dkim keygen makes one";
    let mut der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| NONE)?;
    let made = make(&der).ok_or(BAD);
    zeroize::Zeroize::zeroize(&mut der);
    made
}

fn make(der: &PrivateKeyDer<'_>) -> Option<Pair> {
    if let PrivateKeyDer::Pkcs8(pkcs8) = der
        && let Ok(key) = Ed25519Key::from_pkcs8_maybe_unchecked_der(pkcs8.secret_pkcs8_der())
    {
        let public = key.public_key();
        return Some(Pair { secret: Secret::Ed25519(key), public });
    }
    // Lent, not copied: a copy would not be wiped.
    let lent = match der {
        PrivateKeyDer::Pkcs1(key) => PrivateKeyDer::Pkcs1(key.secret_pkcs1_der().into()),
        PrivateKeyDer::Pkcs8(key) => PrivateKeyDer::Pkcs8(key.secret_pkcs8_der().into()),
        _ => return None,
    };
    let key = RsaKey::<Sha256>::from_key_der(lent).ok()?;
    let public = key.public_key();
    Some(Pair { secret: Secret::Rsa(key), public })
}
