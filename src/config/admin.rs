//! `[admin]`: HTTP for metrics, API and console, and who may do what over it.

use std::net::SocketAddr;
use std::path::PathBuf;

/// `[admin]`: HTTP for metrics, API and console.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Address and port; `None` is off. Default 127.0.0.1:8025. Elsewhere than on loopback it needs TLS and a token.
    pub address: Option<SocketAddr>,
    /// What those may who bring no token. Default: look, on loopback; nothing elsewhere.
    pub anonymous: Anonymous,
    /// Names and addresses, without ports, by which it may be called besides its own; in lower case.
    pub hosts: Vec<String>,
    /// TLS; `None` is plain HTTP.
    pub tls: Option<AdminTls>,
    /// Who may do what, by name.
    pub tokens: Vec<AdminToken>,
}

/// What those may who bring no token. Acts always need one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Look: status, metrics, queue, events.
    Read,
    /// Nothing.
    None,
}

/// `admin.tls`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTls {
    /// Certificate and those above it, PEM. Read again when it changes.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// `[admin.token.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// Name; stands in the event of each act.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What its bearer may.
    pub role: Role,
}

/// What somebody may do over HTTP; each includes the ones before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Read,
    /// Act on mail, bindings, pools and tenants.
    Operate,
    /// Reload, and whatever there is.
    Admin,
}

impl Role {
    /// Stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}
