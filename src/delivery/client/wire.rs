//! Commands out, replies in: one exchange over the stream, bounded in time and octets.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Connection;
use crate::outcome::Reply;
use crate::outcome::failure::FailureKind;

/// Octets of one reply, above which the peer is no SMTP host (RFC 5321 §4.5.3.1.5 asks for 512 a line).
pub const REPLY_OCTETS: usize = 64 * 1024;
/// How long a peer that hung up is listened to.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What broke below SMTP, and how to say it.
pub(super) type Broken = (FailureKind, String);

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends what is waiting in `output` and reads one reply.
    pub(super) async fn exchange(&mut self, limit: Duration) -> Result<Reply, Broken> {
        let said = timeout(limit, self.talk()).await;
        self.output.clear();
        said.unwrap_or_else(|_| Err(silent(limit)))
    }

    async fn talk(&mut self) -> Result<Reply, Broken> {
        if !self.output.is_empty() {
            let written = self.stream.write_all(&self.output).await;
            // Under TLS what was written may still lie in a buffer.
            let written = if written.is_ok() { self.stream.flush().await } else { written };
            if let Err(error) = written {
                return self.last_words().await.ok_or_else(|| broken(&error));
            }
            self.output.clear();
        }
        self.read_reply().await
    }

    async fn read_reply(&mut self) -> Result<Reply, Broken> {
        let mut octets = self.input.len();
        loop {
            if !self.input.is_empty() {
                match self.parser.feed(&mut self.input) {
                    Ok(Some(reply)) => return Ok(reply),
                    Ok(None) => {}
                    Err(error) => return Err((FailureKind::Protocol, error.to_string())),
                }
            }
            if octets > REPLY_OCTETS {
                return Err((FailureKind::Protocol, format!("reply of more than {REPLY_OCTETS} octets")));
            }
            self.input.reserve(1024);
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => return Err((FailureKind::Reset, "connection closed by the host".to_owned())),
                Ok(more) => octets += more,
                Err(error) => return Err(broken(&error)),
            }
        }
    }

    /// What the host said before it hung up, if anything.
    pub(super) async fn last_words(&mut self) -> Option<Reply> {
        timeout(LAST_WORDS, self.read_reply()).await.ok()?.ok()
    }
}

pub(super) fn silent(limit: Duration) -> Broken {
    (FailureKind::TimedOut, format!("no answer in {limit:?}"))
}

pub(super) fn broken(error: &io::Error) -> Broken {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => FailureKind::TimedOut,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => FailureKind::Unreachable,
        _ => FailureKind::Reset,
    };
    (kind, error.to_string())
}
