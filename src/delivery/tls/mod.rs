//! TLS on the way to a receiver.
//!
//! [`demand`] says what a host has to show before mail goes to it, whoever demands it: the configuration, the receiver by
//! DANE or MTA-STS, the sender by REQUIRETLS; [`policy`] asks them and says whose word holds.

pub mod dane;
pub mod demand;
pub mod policy;
