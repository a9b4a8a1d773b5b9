//! The commands of a transaction as octets: MAIL and RCPT with their parameters, DATA, and what goes out in one
//! group.

use super::Transaction;
use super::dsn::Dsn;
use crate::delivery::greeting::put;
use crate::message::{ForwardPath, Mailbox, TlsWish};

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
        if self.offers.utf8 && self.mail.needs_utf8() {
            put(out, &[" SMTPUTF8"]);
        }
        if self.dsn == Dsn::With {
            if let Some(ret) = self.mail.ret() {
                put(out, &[" RET=", ret.as_str()]);
            }
            if let Some(id) = self.mail.envid() {
                put(out, &[" ENVID=", id]);
            }
        }
        put(out, &["\r\n"]);
        if self.offers.pipelining {
            self.put_group(out);
        }
    }

    /// RCPTs as far as a group goes, and behind the last DATA or the whole message. A chunk that must not go along waits.
    pub(super) fn put_group(&mut self, out: &mut Vec<u8>) {
        let first = self.rcpt_sent;
        while self.rcpt_sent < self.mail.recipients.len() {
            if self.rcpt_sent - first >= GROUP_COMMANDS || out.len() >= GROUP_OCTETS {
                return;
            }
            self.put_rcpt(out);
        }
        if !self.put_whole(out) && !self.chunked {
            self.put_data(out);
        }
    }

    pub(super) fn put_rcpt(&mut self, out: &mut Vec<u8>) {
        let ForwardPath { address, wishes } = &self.mail.recipients[self.rcpt_sent];
        put(out, &["RCPT TO:<", address.as_str(), ">"]);
        if self.dsn == Dsn::With {
            if let Some(notify) = wishes.notify {
                put(out, &[" NOTIFY=", &notify.to_string()]);
            }
            if let Some(original) = &wishes.original {
                put(out, &[" ORCPT=", &original.to_string()]);
            }
        }
        put(out, &["\r\n"]);
        self.rcpt_sent += 1;
    }

    pub(super) fn put_data(&mut self, out: &mut Vec<u8>) {
        put(out, &["DATA\r\n"]);
        self.data_sent = true;
    }
}
