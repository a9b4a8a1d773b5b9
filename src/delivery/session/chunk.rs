//! The message as one chunk (RFC 3030), and when it goes along with the commands.

use super::{After, Answer, Lost, Stage, Step, Transaction};
use crate::delivery::greeting::put;
use crate::outcome::Reply;

/// Octets of a message that goes out with MAIL and RCPT in one group: with the commands it fits into what a socket takes
/// while nobody reads, also where the host answers each command before it reads on.
pub const WHOLE_OCTETS: u64 = 32 * 1024;

impl Transaction<'_> {
    /// `BDAT n LAST`, the octets still to come.
    pub(super) fn put_chunk(&mut self, out: &mut Vec<u8>) {
        put(out, &["BDAT ", &self.mail.announced_size().to_string(), " LAST\r\n"]);
        self.data_sent = true;
    }

    /// The chunk with its octets, behind the last RCPT, where it may go before any reply has come.
    pub(super) fn put_whole(&mut self, out: &mut Vec<u8>) -> bool {
        let small = self.mail.announced_size() <= WHOLE_OCTETS;
        if !(self.chunked && self.fresh && small) {
            return false;
        }
        self.put_chunk(out);
        self.mail.octets().iter().for_each(|piece| out.extend_from_slice(piece));
        self.body_went_along = true;
        true
    }

    /// BDAT is unknown, and the host takes the message for commands: no further word over this connection.
    pub(super) fn give_up_chunks(&mut self) -> Step {
        let answered = |answer: &Option<Answer>| answer.is_some();
        if !self.answers.iter().all(answered) {
            self.lost = Some(Lost::Chunking);
            let text = "host offers CHUNKING and does not know BDAT".to_owned();
            self.decide_rest(&Answer::Reply(Stage::EndOfData, Reply { code: 451, enhanced: None, text }));
        }
        self.after = After::Close;
        self.done()
    }
}

/// Whether a refused chunk means that the command is not known (RFC 5321 §4.2.2).
pub(super) fn knows_no_chunks(reply: &Reply) -> bool {
    matches!(reply.code, 500 | 502 | 504) && reply.enhanced.is_none_or(|code| code.subject == 5)
}
