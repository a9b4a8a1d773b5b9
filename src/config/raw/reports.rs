//! As typed: `[reports]`.

use crate::config::read::{Size, table, words};
use crate::message::Mailbox;

table!(pub(in crate::config) Reports {
    template: String,
    double_bounce: Fate,
    postmaster: Mailbox,
    max_returned_bytes: Size,
});

/// What becomes of a bounce that cannot be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Fate {
    /// Nothing.
    Drop,
    /// It is reported.
    Postmaster,
}

words!(Fate { "drop" => Fate::Drop, "postmaster" => Fate::Postmaster });
