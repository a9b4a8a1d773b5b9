//! The message in chunks: BDAT (RFC 3030).
//!
//! What follows a BDAT line is text of that length, whatever becomes of it: a chunk that is refused is read to its end and
//! thrown away, and answered there (§2), so the replies to a pipelined group stay in order. A message of which one chunk was
//! refused is refused as a whole: those behind it get the same answer, which counts once as the client's error, until a
//! command begins something else. Nothing keeps BDAT and DATA in one transaction (§2: `503`).
//!
//! A BDAT line that cannot be read ends the session. The text behind it would be run as commands. So does a chunk that is by
//! itself larger than any message may be: nobody waits for the end of that.

use bytes::{Buf, BytesMut};

use super::end::{sequence, stopping};
use super::envelope::Envelope;
use super::{Effect, Phase, Session};
use crate::ingress::smtp::command::Chunk;
use crate::ingress::smtp::data::DataReader;
use crate::ingress::{Admission, Refusal};

/// A chunk that is being read.
#[derive(Debug)]
pub(super) struct Piece {
    /// Octets that have not come yet.
    left: u64,
    last: bool,
    fate: Fate,
}

/// What becomes of a chunk.
#[derive(Debug)]
enum Fate {
    /// It is text of this message.
    Taken(Box<(Envelope, DataReader)>),
    /// It is thrown away.
    Refused {
        with: Refusal,
        /// Whether that was said of a chunk before.
        again: bool,
    },
}

impl Piece {
    /// Whether a stranger sends it; `None` where it is refused and of no message.
    pub(super) fn is_of_strangers(&self) -> Option<bool> {
        match &self.fate {
            Fate::Taken(message) => Some(message.0.held.is_of_strangers()),
            Fate::Refused { .. } => None,
        }
    }

    /// Whether it is part of a message that is taken, as far as is known.
    pub(super) fn is_taken(&self) -> bool {
        matches!(&self.fate, Fate::Taken(message) if message.1.fault().is_none())
    }
}

fn too_large(limit: u64) -> Refusal {
    Refusal::new(552, 3, 4, format!("message is larger than the limit of {limit} octets"))
}

impl Session {
    /// BDAT: a chunk follows.
    pub(super) fn bdat(&mut self, Chunk { size, last }: Chunk, admission: &dyn Admission, out: &mut Vec<u8>) {
        let limit = self.terms.listener.max_message_bytes;
        if size > limit {
            return self.close_with(&too_large(limit), out);
        }
        let fate = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Failed(with) => Fate::Refused { with, again: true },
            phase => match self.room_for(phase, size, last, admission) {
                Ok(message) => Fate::Taken(message),
                Err(with) => Fate::Refused { with, again: false },
            },
        };
        self.phase = Phase::Chunk(Piece { left: size, last, fate });
    }

    /// The message a chunk belongs to, when there is one and it may grow by so much.
    fn room_for(
        &self,
        phase: Phase,
        size: u64,
        last: bool,
        admission: &dyn Admission,
    ) -> Result<Box<(Envelope, DataReader)>, Refusal> {
        let (envelope, reader) = match phase {
            Phase::Chunks(begun) => *begun,
            Phase::Mail(envelope) if envelope.recipients.is_empty() => {
                return Err(Refusal::new(554, 5, 1, "no valid recipients"));
            }
            Phase::Mail(mut envelope) => {
                let expected = if last { Some(size) } else { envelope.size };
                self.take_room(&mut envelope, expected, admission)?;
                let expected = envelope.held.expected(expected);
                let reader = DataReader::in_chunks(self.limit(&envelope), expected);
                (envelope, reader)
            }
            _ => return Err(sequence("MAIL and RCPT first")),
        };
        let limit = self.limit(&envelope);
        if size > limit.saturating_sub(reader.total()) {
            return Err(too_large(limit));
        }
        if !envelope.held.admits(reader.total() + size) {
            return Err(Refusal::crowded());
        }
        Ok(Box::new((envelope, reader)))
    }

    /// More of a chunk came in: what to do next; `None` where it ended and was answered.
    pub(super) fn chunk(&mut self, input: &mut BytesMut, out: &mut Vec<u8>) -> Option<Effect> {
        let Phase::Chunk(piece) = &mut self.phase else { return None };
        let here = usize::try_from(piece.left).map_or(input.len(), |left| left.min(input.len()));
        if let Fate::Taken(message) = &mut piece.fate {
            let (envelope, reader) = &mut **message;
            envelope.held.feed(reader, &input[..here]);
        }
        input.advance(here);
        piece.left -= here as u64;
        if piece.left > 0 {
            return Some(Effect::Read);
        }
        let Phase::Chunk(piece) = std::mem::replace(&mut self.phase, Phase::Idle) else { return None };
        match piece.fate {
            Fate::Refused { with, again } => self.refuse_chunk(with, again, piece.last, out),
            Fate::Taken(mut message) => match message.1.fault() {
                Some(fault) => self.refuse_chunk(fault.refusal(), false, piece.last, out),
                None if piece.last => {
                    message.1.last();
                    return self.complete(message.0, message.1, out).map(|mail| Effect::Deliver(Box::new(mail)));
                }
                None => {
                    let octets = message.1.total();
                    self.phase = Phase::Chunks(message);
                    self.replies.ok(out, 0, 0, &format!("{octets} octets received"));
                    self.stop_if_told(out);
                }
            },
        }
        None
    }

    fn refuse_chunk(&mut self, with: Refusal, again: bool, last: bool, out: &mut Vec<u8>) {
        if !last {
            self.phase = Phase::Failed(with.clone());
        }
        if again {
            self.replies.refuse(out, &with)
        } else {
            self.refuse(with, out)
        }
        self.stop_if_told(out);
    }

    /// Ends the session where the program stops and has waited for the end of a message or a chunk.
    pub(super) fn stop_if_told(&mut self, out: &mut Vec<u8>) {
        if self.stopping && !matches!(self.phase, Phase::Closed(_)) {
            self.close_with(&stopping(), out);
        }
    }
}
