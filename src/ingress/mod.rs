//! Mail comes in.

pub mod smtp;
