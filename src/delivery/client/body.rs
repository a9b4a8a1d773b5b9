//! The message on its way out: head and body from where they lie, block by block.

use std::io::{self, IoSlice};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Connection;
use super::wire::{Broken, broken, silent};
use crate::config::Timeouts;
use crate::delivery::dot;
use crate::delivery::session::Mail;

/// Pieces of the body handed to the kernel in one call.
const PIECES: usize = 16;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends head, body and the final dot. Each block must be taken in time; how many there are does not matter. The
    /// head ends with a line, so the body begins one of its own: both are stuffed by themselves.
    pub(super) async fn send_body(&mut self, mail: &Mail<'_>, timeouts: &Timeouts) -> Result<(), Broken> {
        let message = dot::pieces(mail.head).chain(dot::pieces(mail.body));
        let mut rest = message.chain(std::iter::once(dot::terminator(mail.body)));
        loop {
            let mut block: SmallVec<[IoSlice<'_>; PIECES]> = rest.by_ref().take(PIECES).map(IoSlice::new).collect();
            if block.is_empty() {
                // Under TLS what was written may still lie in a buffer.
                return match timeout(timeouts.block, self.stream.flush()).await {
                    Ok(flushed) => flushed.map_err(|error| broken(&error)),
                    Err(_) => Err(silent(timeouts.block)),
                };
            }
            let mut slices = block.as_mut_slice();
            while !slices.is_empty() {
                match timeout(timeouts.block, self.stream.write_vectored(slices)).await {
                    Ok(Ok(0)) => return Err(broken(&io::ErrorKind::WriteZero.into())),
                    Ok(Ok(taken)) => IoSlice::advance_slices(&mut slices, taken),
                    Ok(Err(error)) => return Err(broken(&error)),
                    Err(_) => return Err(silent(timeouts.block)),
                }
            }
        }
    }
}
