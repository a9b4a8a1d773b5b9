//! Octets that nobody shall see: passwords on their way from the wire to their check.
//!
//! They are overwritten when they are dropped, and show nothing of themselves in `Debug`. What the allocator, the kernel
//! and the TLS library copied is beyond that; it narrows the time and the places, no more.

use std::fmt;

use zeroize::Zeroizing;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the octets over.
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// The octets, for the one who checks them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What a client says to be known by. Its name is as secret as its password: people type one for the other.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name, as sent (RFC 4616: UTF-8).
    pub user: String,
    /// By what.
    pub proof: Proof,
}

/// How somebody proves who they are.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// The password, to be checked.
    Password(Secret),
    /// A proof that was checked already (SCRAM), and whether it was right.
    Checked(bool),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_secret_is_shown() {
        let password = Secret::new(b"hunter2".to_vec());
        let credentials = Credentials { user: "hunter1".into(), proof: Proof::Password(password.clone()) };
        let shown = format!("{credentials:?} {password:?} {:#?}", Some(&credentials));
        assert!(!shown.contains("hunter"), "{shown}");
        assert_eq!(password.expose(), b"hunter2");
    }
}
