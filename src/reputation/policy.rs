//! Thresholds and moves: evidence in, health changes out.

/// All healths and the tallies behind them.
#[derive(Debug)]
pub struct Reputation {}
