//! `[feed.NAME]`: what others say of our addresses and domains, fetched over HTTP.

/// `[feed.NAME]`
#[derive(Clone, Debug)]
pub struct Feed {
    /// Name in logs and metrics.
    pub name: String,
    /// Where it is fetched.
    pub url: String,
}
