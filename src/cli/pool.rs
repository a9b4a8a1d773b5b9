//! `remuda pool`: pools, and what is done to them.

use std::process::ExitCode;

use serde_json::Value;

use super::acts::{Why, act, order_line, path, show, standing};
use super::columns::{Columns, Side, paragraph};
use super::remote::Remote;
use crate::admin::pools::{PoolList, PoolShown};
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
    /// All pools with their tiers.
    List,
    /// One pool: tiers with the health of their bindings, streams that go there, orders.
    Show {
        /// Which.
        #[arg(value_name = "POOL")]
        pool: String,
    },
    /// Put a binding into another tier of a pool, or into the pool.
    MoveTier {
        /// The pool.
        #[arg(value_name = "POOL")]
        pool: String,
        /// The binding; one that is not in the pool is new there.
        #[arg(value_name = "BINDING")]
        binding: String,
        /// 0 is active, 1 the first backup tier; one more than there are makes a new one.
        #[arg(value_name = "TIER")]
        tier: usize,
        /// Its share relative to the others of the tier; without it the one it has, or 1.
        #[arg(long, value_name = "N")]
        weight: Option<u32>,
        #[command(flatten)]
        why: Why,
    },
}

pub(super) fn main(args: &Args) -> ExitCode {
    let remote = &args.remote;
    match &args.verb {
        Verb::List => show(remote, "/api/v1/pools", list),
        Verb::Show { pool } => show(remote, &path("pools", pool, ""), one),
        Verb::MoveTier { pool, binding, tier, weight, why } => {
            let more = [
                ("binding", Some(Value::from(binding.clone()))),
                ("tier", Some(Value::from(*tier))),
                ("weight", weight.map(Value::from)),
            ];
            act(remote, &path("pools", pool, "move-tier"), &why.body(more))
        }
    }
}

fn list(all: &PoolList, width: Option<usize>) -> String {
    let mut table = Columns::new([("pool", Left), ("tier", Right), ("bindings", Left), ("streams", Left)]);
    for pool in &all.pools {
        for (number, tier) in pool.tiers.iter().enumerate() {
            let members: Vec<String> = tier
                .iter()
                .map(|member| match (member.weight, member.operator.as_deref(), member.health.as_str()) {
                    (1, None, "active") => member.binding.clone(),
                    (weight, None, "active") => format!("{}×{weight}", member.binding),
                    (weight, operator, health) => {
                        format!("{}×{weight} ({})", member.binding, operator.unwrap_or(health))
                    }
                })
                .collect();
            let (name, streams) =
                if number == 0 { (pool.name.as_str(), pool.streams.join(", ")) } else { ("", String::new()) };
            table.row([name, &number.to_string(), &members.join(" "), &streams]);
        }
        for order in &pool.orders {
            table.below(&order_line(order));
        }
    }
    table.text(width)
}

fn one(pool: &PoolShown, width: Option<usize>) -> String {
    let mut out = paragraph(
        &format!(
            "{}: spread {}, pace {}, min_active {}, failover_on {}",
            pool.name,
            pool.spread,
            pool.pace,
            pool.min_active,
            pool.failover_on.join(", ")
        ),
        width,
    );
    let mut table =
        Columns::new([("tier", Right), ("binding", Left), ("weight", Right), ("health", Left), ("reason", Left)]);
    for (number, tier) in pool.tiers.iter().enumerate() {
        for member in tier {
            let health = standing(&member.health, member.operator.as_deref());
            let reason = member.reason.as_deref().unwrap_or("");
            let weight = member.weight.to_string();
            table.row([&number.to_string(), &member.binding, &weight, &health, reason]);
        }
    }
    out.push_str(&table.text(width));
    if !pool.streams.is_empty() {
        out.push_str(&paragraph(&format!("streams: {}", pool.streams.join(", ")), width));
    }
    for order in &pool.orders {
        out.push_str(&paragraph(&order_line(order), width));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tiers_are_listed_with_what_keeps_their_bindings_from_mail() {
        let member = |name: &str, weight: u32, health: &str, operator: Option<&str>| json!({"binding": name, "weight": weight, "health": health, "reason": null, "operator": operator});
        let pool: PoolShown = serde_json::from_value(json!({
            "name": "main", "spread": "weighted", "pace": "none", "min_active": 1, "failover_on": ["suspended"],
            "tiers": [[member("m1", 1, "active", None), member("m2", 0, "active", Some("draining"))],
                [member("m3", 2, "suspended", None)]],
            "streams": ["acme default"], "orders": []
        }))
        .expect("an answer");
        assert_eq!(
            list(&PoolList { pools: vec![pool.clone()] }, None),
            "pool  tier  bindings            streams\n\
             main     0  m1 m2×0 (draining)  acme default\n\
             \x20        1  m3×2 (suspended)\n"
        );
        assert!(one(&pool, Some(50)).lines().all(|line| line.chars().count() <= 50));
    }
}
