//! What is answered to mail that was taken in.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The mail is on disk, and will be delivered, or its sender told that it cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct Accepted {
    /// Id of the message, as in the log, in `Received:` and for `remuda explain`.
    pub(super) id: String,
    /// Whose mail it is.
    pub(super) tenant: String,
    /// Each recipient once, in their order.
    pub(super) recipients: Vec<Verdict>,
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct Verdict {
    /// The address.
    pub(super) address: String,
    /// Whether mail for it was taken in.
    pub(super) accepted: bool,
    /// Why not, as SMTP would say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reply: Option<String>,
}
