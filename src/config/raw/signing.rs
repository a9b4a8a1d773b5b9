//! As typed: `[dkim.NAME]`.

use std::time::Duration;

use crate::config::read::{List, table};
use crate::message::Domain;

table!(pub(in crate::config) DkimKey {
    domain: Domain,
    selector: String,
    key: String,
    tenants: List<String>,
    subdomains: bool,
    headers: List<String>,
    expire: Duration,
});
