//! Orders laid over the configuration of the file.

use super::{Order, Orders};
use crate::clock::Wall;
use crate::config::Config;

/// An order that does not fit the configuration: it names what is not there, or would leave a pool without a binding.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfit {
    /// Which.
    pub order: Order,
    /// Why, in words, with the remedy.
    pub why: String,
}

impl Orders {
    /// The configuration with these orders in force at `now`, and those that do not fit it (they are left out).
    pub fn over(&self, file: &Config, _now: Wall) -> (Config, Vec<Unfit>) {
        (file.clone(), Vec::new())
    }
}
