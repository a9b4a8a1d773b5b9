//! The way to one host: its addresses one after the other, and two at a time where one of a family is silent.
//!
//! What is tried when is decided in [`happy`] (pure); here are the sockets. Whoever is not first is closed before anything
//! was read from it, and is tried again should the first one turn out to have no time for us.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use crate::config::Family;
use crate::delivery::egress::Leg;
use crate::delivery::happy;
use crate::outcome::Failure;

/// Addresses of a host that are still to be tried, and those that are being tried.
pub(super) struct Race<F, C> {
    connect: F,
    waiting: VecDeque<SocketAddr>,
    under_way: Vec<(SocketAddr, Pin<Box<C>>)>,
}

impl<F, C> Race<F, C>
where
    F: Fn(SocketAddr) -> C,
    C: Future<Output = Result<Leg, Failure>>,
{
    /// `addresses` are in order, and each is tried by `connect`.
    pub(super) fn new(addresses: Vec<SocketAddr>, connect: F) -> Self {
        Self { connect, waiting: addresses.into(), under_way: Vec::new() }
    }

    /// The next address of which something is known: a connection, or why there is none. `None`: there is none left, or
    /// `left`, the number of those that may be tried, is used up. The others that were under way when one answered are
    /// closed.
    pub(super) async fn next(&mut self, left: &mut usize) -> Option<(SocketAddr, Result<Leg, Failure>)> {
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

    /// Whether all addresses were tried.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// Tries no more addresses of `family`.
    pub(super) fn give_up(&mut self, family: Family) {
        self.waiting.retain(|address| Family::of(address.ip()) != family);
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
        self.under_way.push((address, Box::pin((self.connect)(address))));
        true
    }
}

/// Waits for whichever is done first, and takes it out.
async fn first<C>(under_way: &mut Vec<(SocketAddr, Pin<Box<C>>)>) -> (SocketAddr, Result<Leg, Failure>)
where
    C: Future<Output = Result<Leg, Failure>>,
{
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
