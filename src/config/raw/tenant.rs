//! As typed: `[tenant.NAME]`.

use ipnet::IpNet;

use crate::config::read::{List, Map, table, words};
use crate::config::{DomainPattern, Rate, SenderCheck, SpfPolicy};
use crate::message::{Domain, Mailbox};

table!(pub(in crate::config) Tenant {
    matches as "match": TenantMatch,
    pools: Map<String>,
    split: Map<Map<f64>>,
    streams: List<StreamRule>,
    daily_cap: u64,
    rate_limit: Rate,
    weight: u32,
    provider: Map<TenantTowards>,
    priority: Map<u8>,
    engaged: List<String>,
    region: String,
    return_path_domain: Domain,
    dkim: List<String>,
    spf: SpfPolicy,
    hold: bool,
    senders: List<DomainPattern>,
    sender_check: SenderCheck,
});

words!(SenderCheck { "envelope" => SenderCheck::Envelope, "both" => SenderCheck::Both });

table!(pub(in crate::config) TenantTowards { daily_cap: u64 });

table!(pub(in crate::config) TenantMatch {
    auth_user: List<String>,
    sender_domain: List<DomainPattern>,
    client: List<IpNet>,
    header: Map<String>,
});

table!(pub(in crate::config) StreamRule { stream: String, sender: Mailbox, sender_domain: DomainPattern, header: Map<String>, });
