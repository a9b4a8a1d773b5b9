//! What is written down of orders: one fact each, `order/NUMBER`, JSON.

/// Prefix of the keys.
pub const PREFIX: &str = "order/";
