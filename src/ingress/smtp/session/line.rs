//! Lines of a client (RFC 5321 §2.3.8): taken off the input one by one, each ending in CRLF and bounded in length.
//!
//! A line that is too long is thrown away as it comes in and refused at its end; nothing of it is kept.

use bytes::{Buf, BytesMut};
use zeroize::Zeroize;

use super::Session;
use crate::ingress::Refusal;
use crate::ingress::smtp::command;

impl Session {
    /// Takes one line off `input` and reads it; `None` while it is incomplete.
    pub(super) fn next_line<T>(
        &mut self,
        input: &mut BytesMut,
        read: impl FnOnce(&[u8]) -> Result<T, Refusal>,
    ) -> Option<Result<T, Refusal>> {
        let Some(lf) = memchr::memchr(b'\n', input) else {
            if input.len() >= command::MAX_LINE && !self.skipping {
                self.skipping = true;
                self.skips_chunk = command::is_chunk(input);
            }
            if self.skipping {
                input.clear();
            }
            return None;
        };
        let line = &input[..lf];
        let parsed = if std::mem::take(&mut self.skipping) || lf >= command::MAX_LINE {
            Err(Refusal::new(500, 5, 2, command::LINE_TOO_LONG))
        } else {
            match line.strip_suffix(b"\r") {
                Some(line) => read(line),
                // Answered at once and not run on into the next CRLF: a client that ends lines in LF would wait for
                // ever. What follows is the client's next line, nothing was smuggled into this one.
                None => Err(Refusal::new(500, 5, 2, "bare LF: lines must end in CRLF")),
            }
        };
        if self.login.is_offered() {
            // It may have held a password, also where it was taken for something else.
            input[..=lf].zeroize();
        }
        input.advance(lf + 1);
        Some(parsed)
    }
}
