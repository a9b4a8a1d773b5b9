//! Report to the sender (RFC 3464).
