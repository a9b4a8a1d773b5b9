//! `[alerts]`: whom the program tells by itself that something is wrong.

/// `[alerts]`
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    /// Base URLs of Alertmanagers (API v2); each is told everything.
    pub alertmanagers: Vec<String>,
}
