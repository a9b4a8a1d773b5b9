//! What waits and what is due.
