//! A slip in a request, with the field that is meant. Pure.

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which: `to[2]`, `headers.X-Id`, `attachments[0].content`.
    pub field: String,
    /// What, and what to do.
    pub detail: String,
}

impl Wrong {
    /// `field` is wrong in this way.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}
