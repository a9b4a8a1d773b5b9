//! Totals of recipients, kept so that they add up at any instant.

use std::sync::atomic::AtomicU64;

/// Totals since start that add up at any instant:
/// accepted + recovered + DSNs = delivered + bounced + expired + waiting + stranded + set aside.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages answered 250.
    pub accepted_messages: AtomicU64,
    /// Recipients of those.
    pub accepted_recipients: AtomicU64,
    /// Recipients found waiting at start.
    pub recovered_recipients: AtomicU64,
    /// Recipients on disk whose pool or tenant is not configured now. They wait for a configuration that names it.
    pub stranded_recipients: AtomicU64,
    /// Recipients whose entry or body turned out unreadable and was set aside.
    pub set_aside_recipients: AtomicU64,
    /// Recipients delivered.
    pub delivered: AtomicU64,
    /// Recipients bounced.
    pub bounced: AtomicU64,
    /// Recipients expired.
    pub expired: AtomicU64,
    /// Deferrals (a recipient may have many).
    pub deferred: AtomicU64,
    /// Reports queued.
    pub dsn: AtomicU64,
    /// Attempts of unknown fate.
    pub duplicates_possible: AtomicU64,
    /// Writes of counts of daily caps that failed.
    pub grant_errors: AtomicU64,
}
