//! The order inside a tier, whichever `spread` it follows.

use super::fair::Fair;
use super::headroom::Headroom;

/// What is said of the member that is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is picked.
    Take,
    /// Not this time: it keeps its place.
    Skip,
    /// It goes out of the order until it is let in again.
    Leave,
    /// Nobody is picked.
    Stop,
}

impl From<bool> for Answer {
    fn from(admitted: bool) -> Self {
        if admitted { Self::Take } else { Self::Skip }
    }
}

/// Who is next.
#[derive(Clone, Debug)]
pub enum Order {
    /// Exact shares by weight.
    Fair(Fair),
    /// Smallest used share of the day first.
    Headroom(Headroom),
}

impl Order {
    /// Lets a member take part, or takes it out. `share` is the used share of its allowance.
    pub fn set_present(&mut self, index: usize, present: bool, share: u64) {
        match self {
            Self::Fair(fair) if present => fair.join(index),
            Self::Fair(fair) => fair.leave(index),
            Self::Headroom(headroom) => headroom.set_present(index, present, share),
        }
    }

    /// Picks and charges the next member that `ask` would take. `share` gives the used share of a member's allowance.
    pub fn pick(&mut self, share: impl Fn(usize) -> u64, ask: impl FnMut(usize) -> Answer) -> Option<usize> {
        match self {
            Self::Fair(fair) => fair.pick(ask),
            Self::Headroom(headroom) => headroom.pick(share, ask),
        }
    }

    /// Charges a pick that was not made by turn.
    pub fn charge(&mut self, index: usize) {
        match self {
            Self::Fair(fair) => fair.charge(index),
            Self::Headroom(headroom) => headroom.charge(index),
        }
    }

    /// Takes a pick back. (By headroom there is nothing to take back: the share follows the ledger.)
    pub fn refund(&mut self, index: usize) {
        if let Self::Fair(fair) = self {
            fair.refund(index);
        }
    }

    /// Gives a member another weight.
    pub fn set_weight(&mut self, index: usize, weight: u32) {
        if let Self::Fair(fair) = self {
            fair.set_weight(index, weight);
        }
    }

    /// The used share of a member's allowance fell.
    pub fn share_fell(&mut self, index: usize, share: u64) {
        if let Self::Headroom(headroom) = self {
            headroom.fell(index, share);
        }
    }
}
