//! As typed: `[pool.NAME]`, whose members may be written in three ways.

use super::Limits;
use crate::config::mistake::{Findings, Place};
use crate::config::read::{Field, List, Readable, table, words};
use crate::config::tree::{Node, Value};
use crate::config::{FailoverReason, Pace, Spread};

table!(pub(in crate::config) Pool {
    active: List<Member>,
    backup: List<List<Member>>,
    spread: Spread,
    pace: Pace,
    min_active: usize,
    failover_on: List<FailoverReason>,
    binding: Limits,
});

words!(Spread {
    "weighted" => Spread::Weighted,
    "headroom" => Spread::Headroom,
    "reputation" => Spread::Reputation,
});

words!(FailoverReason {
    "suspended" => FailoverReason::Suspended,
    "capped" => FailoverReason::Capped,
    "warmup" => FailoverReason::Warmup,
    "rate_limited" => FailoverReason::RateLimited,
    "window_full" => FailoverReason::WindowFull,
});

table!(pub(in crate::config) MemberTable { binding: String, weight: u32, pool: String });

/// A member of a tier: `"mta1"`, `{ binding = "mta1", weight = 2 }` or `{ pool = "reserve" }`.
#[derive(Clone, Debug)]
pub(in crate::config) enum Member {
    Binding { name: String, name_place: Place, weight: Field<u32> },
    Pool { name: String, name_place: Place },
}

impl Readable for Member {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Text(name) => {
                Some(Self::Binding { name: name.clone(), name_place: place.clone(), weight: Field::Missing })
            }
            Value::Table(_) => {
                let member = MemberTable::read(node, place, out)?;
                match (&member.binding, &member.pool) {
                    (Field::Given(name), Field::Missing) => Some(Self::Binding {
                        name: name.value.clone(),
                        name_place: name.place.clone(),
                        weight: member.weight,
                    }),
                    (Field::Missing, Field::Given(name)) => {
                        if let Field::Given(weight) = &member.weight {
                            out.mistake(&weight.place, "a pool in a tier has no weight", "its members keep their own");
                        }
                        Some(Self::Pool { name: name.value.clone(), name_place: name.place.clone() })
                    }
                    (Field::Bad, _) | (_, Field::Bad) => None,
                    _ => {
                        out.mistake(place, "needs either binding or pool", "write { binding = \"NAME\", weight = 2 }");
                        None
                    }
                }
            }
            other => {
                let hint = "write \"NAME\" or { binding = \"NAME\", weight = 2 }";
                out.mistake(place, format!("expected the name of a binding, found {}", other.kind()), hint);
                None
            }
        }
    }

    fn keys(path: &str, keys: &mut Vec<String>) {
        keys.push(path.to_owned());
        MemberTable::keys(path, keys);
    }
}
