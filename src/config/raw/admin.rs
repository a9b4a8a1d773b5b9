//! As typed: `[admin]` with its tokens.

use std::net::SocketAddr;

use super::TokenHash;
use crate::config::read::{List, Map, OrOff, table, words};
use crate::config::{Anonymous, Role};

table!(pub(in crate::config) Admin {
    address: OrOff<SocketAddr>,
    anonymous: Anonymous,
    hosts: List<String>,
    tls: AdminTls,
    token: Map<AdminToken>,
});

table!(pub(in crate::config) AdminTls { certificate: String, key: String });

table!(pub(in crate::config) AdminToken { hash: TokenHash, role: Role });

words!(Anonymous { "read" => Anonymous::Read, "none" => Anonymous::None });

words!(Role { "read" => Role::Read, "operate" => Role::Operate, "admin" => Role::Admin });
