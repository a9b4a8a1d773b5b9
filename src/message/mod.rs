//! What travels: names and ids, mail addresses, the envelope, trace headers.

pub mod address;
pub mod envelope;
pub mod header;
pub mod id;
pub mod wishes;
pub mod xtext;

pub use address::{Domain, Mailbox};
pub use envelope::{Entry, EntryState, ForwardPath, Hold, Recipient, RecipientState, ReturnPath};
pub use id::{
    BindingName, DestinationName, EntryId, IdSource, MessageId, PoolName, ProviderName, StreamName, TenantName,
    ZoneName,
};
pub use wishes::{RecipientWishes, TlsWish, Wishes};
