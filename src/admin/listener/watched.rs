//! A connection with deadlines, so that nobody holds one by doing nothing or next to nothing.
//!
//! From the first octet of a request to the first of its answer it is as long as the door says, however the octets come in: whoever
//! sends one in a while (slow loris) gains nothing. Before the first request it is [`FIRST`], between requests, and between
//! two octets that the client takes from us, [`IDLE`]. A stream of events lives on, because it says something more often than that.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// From the beginning of a connection to its first request: who comes has one.
const FIRST: Duration = Duration::from_secs(15);
/// Without a further request, or without an octet of an answer that is taken.
const IDLE: Duration = Duration::from_secs(75);

pub(super) struct Watched<T> {
    io: T,
    deadline: Pin<Box<Sleep>>,
    /// Something of a request came, and nothing of its answer is out.
    is_asked: bool,
    request: Duration,
}

impl<T> Watched<T> {
    /// `request` is how long one may take, from its first octet to the first of its answer.
    pub(super) fn new(io: T, request: Duration) -> Self {
        Self { io, deadline: Box::pin(sleep(FIRST)), is_asked: false, request }
    }

    fn arm(&mut self, span: Duration) {
        self.deadline.as_mut().reset(Instant::now() + span);
    }

    /// Instead of waiting on: an error where it has taken too long.
    fn waits<R>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(context, buffer) {
            Poll::Pending => self.waits(context),
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                if !self.is_asked {
                    self.is_asked = true;
                    let request = self.request;
                    self.arm(request);
                }
                Poll::Ready(Ok(()))
            }
            done => done,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write(context, octets) {
            Poll::Pending => self.waits(context),
            Poll::Ready(Ok(written)) => {
                self.is_asked = false;
                self.arm(IDLE);
                Poll::Ready(Ok(written))
            }
            done => done,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_flush(context) {
            Poll::Pending => self.waits(context),
            done => done,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_shutdown(context) {
            Poll::Pending => self.waits(context),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const REQUEST: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_request_that_trickles_in_has_the_same_time_as_one_that_stalls() {
        let (mut client, server) = duplex(64);
        let mut server = Watched::new(server, REQUEST);
        let started = Instant::now();
        let trickle = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(5)).await;
            }
        });
        let error = loop {
            if let Err(error) = server.read_u8().await {
                break error;
            }
        };
        assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, REQUEST));
        drop(server);
        trickle.await.expect("ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_ends_and_one_that_is_answered_lives_on() {
        let (mut client, server) = duplex(64);
        let mut server = Watched::new(server, REQUEST);
        for _ in 0..10 {
            client.write_all(b"q").await.expect("asked");
            assert_eq!(server.read_u8().await.expect("read"), b'q');
            sleep(Duration::from_secs(50)).await;
            server.write_all(b"a").await.expect("answered");
            assert_eq!(client.read_u8().await.expect("read"), b'a');
        }
        let started = Instant::now();
        let error = server.read_u8().await.expect_err("nothing comes");
        assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, IDLE));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_without_a_request_is_left_soon() {
        let (_client, server) = duplex(4);
        let started = Instant::now();
        let error = Watched::new(server, REQUEST).read_u8().await.expect_err("nothing comes");
        assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, FIRST));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_of_an_answer_is_left() {
        let (_client, server) = duplex(4);
        let error = Watched::new(server, REQUEST).write_all(b"more than fits").await.expect_err("not taken");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
