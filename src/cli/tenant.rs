//! `remuda tenant`: tenants, and what is done to them.

use std::process::ExitCode;

use serde_json::Value;

use super::acts::{Once, Why, act, order_line, path, show};
use super::columns::{Columns, Side, paragraph};
use super::remote::Remote;
use crate::admin::tenants::{TenantList, TenantShown};
use Side::{Left, Right};

/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// All tenants: pools of their streams, cap, whether their mail is held.
    List,
    /// One tenant.
    Show {
        /// Which.
        #[arg(value_name = "TENANT")]
        tenant: String,
    },
    /// Let a tenant's mail wait: it is taken in, and nothing of it leaves. Its lifetime goes on.
    Hold {
        /// Whose.
        #[arg(value_name = "TENANT")]
        tenant: String,
        #[command(flatten)]
        why: Why,
    },
    /// Let a tenant's mail go: ends the operator's hold, and those that stand because a receiver refuses it.
    Release {
        /// Whose.
        #[arg(value_name = "TENANT")]
        tenant: String,
        #[command(flatten)]
        why: Once,
    },
    /// Let new mail of a tenant's stream go through another pool. Mail that waits stays: see remuda queue move.
    Assign {
        /// Whose.
        #[arg(value_name = "TENANT")]
        tenant: String,
        /// Through which pool.
        #[arg(value_name = "POOL")]
        pool: String,
        /// Which stream; one that the tenant has not is added.
        #[arg(long, value_name = "STREAM", default_value = "default")]
        stream: String,
        #[command(flatten)]
        why: Why,
    },
}

pub(super) fn main(args: &Args) -> ExitCode {
    let remote = &args.remote;
    match &args.verb {
        Verb::List => show(remote, "/api/v1/tenants", list),
        Verb::Show { tenant } => show(remote, &path("tenants", tenant, ""), one),
        Verb::Hold { tenant, why } => act(remote, &path("tenants", tenant, "hold"), &why.body([])),
        Verb::Release { tenant, why } => act(remote, &path("tenants", tenant, "release"), &why.body([])),
        Verb::Assign { tenant, pool, stream, why } => {
            let more = [("pool", Some(Value::from(pool.clone()))), ("stream", Some(Value::from(stream.clone())))];
            act(remote, &path("tenants", tenant, "assign"), &why.body(more))
        }
    }
}

fn held(tenant: &TenantShown) -> String {
    let by_receivers = tenant.holds.iter().filter(|hold| hold.state == "held").count();
    match (tenant.status.held, by_receivers) {
        (true, _) => "by the operator".to_owned(),
        (false, 0) => "-".to_owned(),
        (false, count) => format!("at {count} destinations"),
    }
}

fn list(all: &TenantList, width: Option<usize>) -> String {
    let mut table =
        Columns::new([("tenant", Left), ("weight", Right), ("cap", Right), ("held", Left), ("streams", Left)]);
    for tenant in &all.tenants {
        let cap = tenant.status.cap.as_ref();
        let cap = cap.map_or_else(|| "-".to_owned(), |cap| format!("{}/{}", cap.used, cap.limit));
        let streams: Vec<String> = tenant.pools.iter().map(|(stream, pool)| format!("{stream}→{pool}")).collect();
        table.row([&tenant.status.name, &tenant.weight.to_string(), &cap, &held(tenant), &streams.join(" ")]);
        for order in &tenant.status.orders {
            table.below(&order_line(order));
        }
    }
    table.text(width)
}

fn one(tenant: &TenantShown, width: Option<usize>) -> String {
    let mut out = String::new();
    let mut line = |text: String| out.push_str(&paragraph(&text, width));
    line(format!("{}: weight {}, held {}", tenant.status.name, tenant.weight, held(tenant)));
    if let Some(cap) = &tenant.status.cap {
        line(format!("  cap: {} of {} today", cap.used, cap.limit));
    }
    for (stream, pool) in &tenant.pools {
        let split = tenant.split.get(stream).into_iter().flatten();
        let shares: Vec<String> = split.map(|(pool, share)| format!(", {share} of it through {pool}")).collect();
        line(format!("  {stream}: pool {pool}{}", shares.concat()));
    }
    for hold in &tenant.holds {
        let domain = hold.key.sender_domain.as_ref().map_or_else(String::new, |domain| format!(" from {domain}"));
        line(format!("  {} at {}{domain}: {}", hold.state, hold.key.destination, hold.evidence));
    }
    for order in &tenant.status.orders {
        line(format!("  {}", order_line(order)));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tenant_is_shown_with_its_streams_and_who_holds_it() {
        let tenant: TenantShown = serde_json::from_value(json!({
            "name": "acme", "cap": null, "held": true, "weight": 2, "pools": {"default": "main"},
            "split": {"default": {"new": 0.25}}, "holds": []
        }))
        .expect("an answer");
        assert_eq!(
            one(&tenant, None),
            "acme: weight 2, held by the operator\n  default: pool main, 0.25 of it through new\n"
        );
        assert!(list(&TenantList { tenants: vec![tenant] }, Some(50)).contains("by the operator"));
    }
}
