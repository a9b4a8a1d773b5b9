//! `[feedback]`: bounces and complaints that come back by mail.

use std::path::PathBuf;
use std::time::Duration;

use crate::message::Mailbox;

/// `[feedback]`: bounces (RFC 3464) and complaints (RFC 5965) that come back by mail. Without it nothing is marked and
/// nothing taken back.
#[derive(Clone, Debug)]
pub struct Feedback {
    /// Addresses whose mail is read as reports, whoever sends it; besides them every rewritten return path.
    pub addresses: Vec<Mailbox>,
    /// Name of the header field put on every message, by which reports about it are attributed. Default `X-Remuda-Id`.
    pub header: String,
    /// File with the keys that sign those marks. Default `feedback.keys` in `server.state_dir`, made at the first start.
    pub key_file: PathBuf,
    /// Reports about attempts longer ago are counted, but no evidence. Default 30 d.
    pub accept_for: Duration,
    /// Octets of one report. Default 10 MiB.
    pub max_report_bytes: u64,
    /// Mails kept of each ring ([`crate::feedback::aside`]) below `state_dir`, besides a bound of 256 MiB: mail without a
    /// mark of ours, mail with one that could not be passed on, reports that were understood. The oldest go first; 0
    /// keeps none, and takes no mail for postmasters. Default 1000.
    pub unattributed_kept: usize,
}
