//! How fast mail stops once a binding is listed.

use prometheus::{HistogramOpts, HistogramVec};

use super::{Registry, opts, register};

/// Bounds in seconds: confirmations come seconds to quarters of an hour apart.
const BOUNDS: [f64; 16] =
    [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 90.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0];

/// Label of what is counted from the first answer that showed the listing.
pub const FIRST_ANSWER: &str = "first_answer";

/// Label of what is counted from the last answer that did not: the outer bound.
pub const LAST_CLEAN: &str = "last_clean";

/// See the module.
#[derive(Debug)]
pub struct ReactionMetrics {
    /// From a listing to the end of the last attempt of the binding, by where it is counted from.
    pub listing_reaction: HistogramVec,
}

impl ReactionMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let help = "From a listing to the end of the last attempt that the listed binding carried.";
        let opts = HistogramOpts::from(opts("listing_reaction_seconds", help)).buckets(BOUNDS.to_vec());
        let listing_reaction = register(r, HistogramVec::new(opts, &["from"])?)?;
        // From the start on: a rate sees the first listing only where there was a zero before it.
        [FIRST_ANSWER, LAST_CLEAN].iter().for_each(|from| drop(listing_reaction.with_label_values(&[from])));
        Ok(Self { listing_reaction })
    }
}
