//! As typed: `[feedback]`.

use std::time::Duration;

use crate::config::read::{List, Size, table};
use crate::message::Mailbox;

table!(pub(in crate::config) Feedback {
    addresses: List<Mailbox>,
    header: String,
    key_file: String,
    accept_for: Duration,
    max_report_bytes: Size,
    unattributed_kept: usize,
});
