//! The commands of a transaction as octets: MAIL and RCPT with their parameters, DATA, and what goes out in one group.

use super::Transaction;
use super::dsn::Dsn;
use crate::delivery::greeting::put;
use crate::message::{Mailbox, TlsWish};

/// Most commands sent before their replies are read.
pub const GROUP_COMMANDS: usize = 100;
/// Octets after which a group ends.
pub const GROUP_OCTETS: usize = 16 * 1024;

impl Transaction<'_> {
    /// MAIL with the parameters of what the host offers; with PIPELINING the first group behind it.
    pub(super) fn put_mail(&mut self, out: &mut Vec<u8>) {
        put(out, &["MAIL FROM:<", self.mail.reverse_path.map_or("", Mailbox::as_str), ">"]);
        if self.offers.size {
            put(out, &[" SIZE=", &self.mail.announced_size().to_string()]);
        }
        if self.mail.eight_bit {
            put(out, &[" BODY=8BITMIME"]);
        }
        // RFC 8689 §4.2.1; a host that does not offer it never gets this far.
        if self.mail.wishes.tls == TlsWish::Required {
            put(out, &[" REQUIRETLS"]);
        }
        if let Some(id) = self.mail.envelope_id.filter(|_| self.dsn == Dsn::With) {
            put(out, &[" RET=HDRS ENVID=", id]);
        }
        put(out, &["\r\n"]);
        if self.offers.pipelining {
            self.put_group(out);
        }
    }

    /// RCPTs as far as a group goes, and DATA behind the last.
    pub(super) fn put_group(&mut self, out: &mut Vec<u8>) {
        let first = self.rcpt_sent;
        while self.rcpt_sent < self.mail.recipients.len() {
            if self.rcpt_sent - first >= GROUP_COMMANDS || out.len() >= GROUP_OCTETS {
                return;
            }
            self.put_rcpt(out);
        }
        self.put_data(out);
    }

    pub(super) fn put_rcpt(&mut self, out: &mut Vec<u8>) {
        put(out, &["RCPT TO:<", self.mail.recipients[self.rcpt_sent].address.as_str(), ">\r\n"]);
        self.rcpt_sent += 1;
    }

    pub(super) fn put_data(&mut self, out: &mut Vec<u8>) {
        put(out, &["DATA\r\n"]);
        self.data_sent = true;
    }
}
