//! Feeds against a local server.
