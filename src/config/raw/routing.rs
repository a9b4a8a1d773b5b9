//! As typed: `[provider.NAME]`, `[region.NAME]`, `[[destination_route]]`, `[dns]`.

use std::time::Duration;

use super::{BackOff, Host, Limits};
use crate::config::read::{List, NameServer, table};
use crate::config::{DomainPattern, TlsPolicy};

table!(pub(in crate::config) Provider {
    mx: List<DomainPattern>,
    binding: Limits,
    warmup: String,
    region: String,
    back_off: BackOff,
    tls: TlsPolicy,
});

table!(pub(in crate::config) Region { recipient_domain: List<DomainPattern>, });

table!(pub(in crate::config) DestinationRoute { domain: DomainPattern, hosts: List<Host>, provider: String, tls: TlsPolicy });

table!(pub(in crate::config) Dns { servers: List<NameServer>, timeout: Duration, max_in_flight: usize, });
