//! How many connections a listener takes: in all, and from one client.
//!
//! Counted when a connection is accepted, before anything is read from it; what is over the limits is turned away
//! with one line and never becomes a session.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::Listener;

/// Places for connections: so many in all, so many for one client.
pub(super) struct Seats {
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    most: usize,
    most_per_client: usize,
    total: usize,
    clients: HashMap<IpAddr, usize>,
}

/// One place; free again when dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    client: IpAddr,
}

impl Seats {
    pub(super) fn new(listener: &Listener) -> Self {
        let seats = Self { taken: Mutex::default() };
        seats.resize(listener);
        seats
    }

    /// Other limits; who has a place keeps it.
    pub(super) fn resize(&self, listener: &Listener) {
        let mut taken = self.taken.lock();
        (taken.most, taken.most_per_client) = (listener.max_connections, listener.max_connections_per_client);
    }

    /// How many are taken, and how many there are.
    pub(super) fn taken(&self) -> (usize, usize) {
        let taken = self.taken.lock();
        (taken.total, taken.most)
    }

    /// A place for this client, if there is one.
    pub(super) fn take(seats: &Arc<Self>, client: IpAddr) -> Option<Seat> {
        let client = network(client);
        let mut taken = seats.taken.lock();
        let of_client = taken.clients.get(&client).copied().unwrap_or(0);
        if taken.total >= taken.most || of_client >= taken.most_per_client {
            return None;
        }
        taken.total += 1;
        taken.clients.insert(client, of_client + 1);
        Some(Seat { seats: Arc::clone(seats), client })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        taken.total -= 1;
        if let Some(count) = taken.clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                taken.clients.remove(&self.client);
            }
        }
    }
}

/// Who counts as one client: an IPv4 address, or an IPv6 network of 64 bits, of which every customer has one.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
