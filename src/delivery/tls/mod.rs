//! TLS on the way to a receiver.
//!
//! [`demand`] says what a host has to show before mail goes to it, whoever demands it: the configuration, the receiver by
//! DANE or MTA-STS, the sender by REQUIRETLS; [`policy`] asks them and says whose word holds.

//!
//! [`client`] makes the handshake, [`stream`] is what a connection is before and after it, [`memory`] knows where it failed
//! lately.

pub mod client;
pub mod demand;
pub mod memory;
mod outcome;
pub mod policy;
pub mod stream;
mod verify;

use self::demand::TlsOutcome;

/// What an attempt tells of TLS with the host it tried last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsReport {
    /// What came of it.
    pub outcome: TlsOutcome,
    /// The host offered STARTTLS before and does not any more: told once.
    pub offer_gone: bool,
    /// The host was given up because of it, and had not been lately.
    pub is_news: bool,
}
