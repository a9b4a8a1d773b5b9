//! The way to one host: its addresses one after the other, and two at a time where one of a family is silent.
//!
//! What is tried when is decided in [`happy`] (pure); here are the sockets. Whoever is not first is closed before anything
//! was read from it, and is tried again should the first one turn out to have no time for us.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::config::{Addresses, Family};
use crate::delivery::connect::connect;
use crate::delivery::happy;
use crate::outcome::failure::FailureKind;
use crate::outcome::{Failure, Stage};

type Connecting = Pin<Box<dyn Future<Output = Result<TcpStream, Failure>> + Send>>;

/// Addresses of a host that are still to be tried, and those that are being tried.
pub(super) struct Race {
    sources: Addresses,
    deadline: Duration,
    waiting: VecDeque<SocketAddr>,
    under_way: Vec<(SocketAddr, Connecting)>,
}

impl Race {
    /// From the address of `sources` that is of the family of each of `addresses`, which are in order; each connection is
    /// given up after `deadline`.
    pub(super) fn new(sources: Addresses, addresses: Vec<SocketAddr>, deadline: Duration) -> Self {
        Self { sources, deadline, waiting: addresses.into(), under_way: Vec::new() }
    }

    /// The next address of which something is known: a connection, or why there is none. `None`: there is none left, or
    /// `left`, the number of those that may be tried, is used up. The others that were under way when one answered are
    /// closed.
    pub(super) async fn next(&mut self, left: &mut usize) -> Option<(SocketAddr, Result<TcpStream, Failure>)> {
        if self.under_way.is_empty() && !self.begin(left) {
            return None;
        }
        loop {
            let may_overtake = *left > 0 && self.next_place().is_some();
            let (address, result) = tokio::select! {
                biased;
                done = first(&mut self.under_way) => done,
                () = tokio::time::sleep(happy::HEAD_START), if may_overtake => {
                    self.begin(left);
                    continue;
                }
            };
            if result.is_ok() {
                let slower = std::mem::take(&mut self.under_way);
                slower.into_iter().for_each(|(address, _)| self.waiting.push_front(address));
            }
            return Some((address, result));
        }
    }

    fn next_place(&mut self) -> Option<usize> {
        let under_way: Vec<SocketAddr> = self.under_way.iter().map(|(address, _)| *address).collect();
        happy::next(self.waiting.make_contiguous(), &under_way)
    }

    /// Whether another one was begun.
    fn begin(&mut self, left: &mut usize) -> bool {
        let Some(place) = self.next_place().filter(|_| *left > 0) else { return false };
        let Some(address) = self.waiting.remove(place) else { return false };
        *left -= 1;
        let (source, deadline) = (self.sources.of(Family::of(address.ip())), self.deadline);
        self.under_way.push((
            address,
            Box::pin(async move {
                match source {
                    Some(source) => connect(source, address, deadline).await,
                    // Nobody asks for addresses of a family that the binding has not.
                    None => Err(Failure {
                        kind: FailureKind::NoAddress,
                        stage: Stage::Connect,
                        detail: format!("{address} is not of the binding's address family"),
                    }),
                }
            }),
        ));
        true
    }
}

/// Waits for whichever is done first, and takes it out.
async fn first(under_way: &mut Vec<(SocketAddr, Connecting)>) -> (SocketAddr, Result<TcpStream, Failure>) {
    poll_fn(|cx| {
        for place in 0..under_way.len() {
            if let Poll::Ready(result) = under_way[place].1.as_mut().poll(cx) {
                return Poll::Ready((under_way.swap_remove(place).0, result));
            }
        }
        Poll::Pending
    })
    .await
}
