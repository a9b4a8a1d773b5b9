//! `remuda orders`: what was ordered while the relay runs, and is in force.

use std::process::ExitCode;

use reqwest::Method;

use super::acts::{finish, moment, path, show};
use super::columns::{Columns, Side};
use super::remote::Remote;
use crate::admin::orders::OrderList;
use Side::{Left, Right};

/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Orders in force, oldest first (also without a verb).
    List,
    /// Take an order back: what the file says holds again.
    Cancel {
        /// Its number.
        #[arg(value_name = "ID")]
        id: u64,
    },
}

pub(super) fn main(args: &Args) -> ExitCode {
    let remote = &args.remote;
    match &args.verb {
        None | Some(Verb::List) => show(remote, "/api/v1/orders", list),
        Some(Verb::Cancel { id }) => {
            finish(remote, remote.send(Method::DELETE, &path("orders", &id.to_string(), ""), &[], None::<&()>))
        }
    }
}

fn list(all: &OrderList, width: Option<usize>) -> String {
    if all.orders.is_empty() {
        return "no orders: what the file says is in force\n".to_owned();
    }
    let mut table = Columns::new([("id", Right), ("order", Left), ("by", Left), ("since", Left), ("until", Left)]);
    for order in &all.orders {
        let until = order.until.map_or_else(|| "cancelled".to_owned(), moment);
        table.row([&order.id.to_string(), &order.words, &order.actor, &moment(order.at), &until]);
        table.below(&format!("why: {}", order.reason));
    }
    table.text(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::orders::OrderShown;

    #[test]
    fn orders_are_listed_with_their_reasons() {
        let order = OrderShown {
            id: 3,
            words: "drain m1".into(),
            actor: "ann".into(),
            reason: "moved\u{1b}[2J".into(),
            ..OrderShown::default()
        };
        assert_eq!(
            list(&OrderList { orders: vec![order] }, None),
            "id  order     by   since                 until\n \
             3  drain m1  ann  1970-01-01T00:00:00Z  cancelled\n  why: moved\\u{1b}[2J\n"
        );
        assert!(list(&OrderList::default(), Some(20)).starts_with("no orders"));
    }
}
