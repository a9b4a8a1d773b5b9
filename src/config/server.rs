//! `[server]`, `[log]`, `[classify]`, `[assignment]`: what holds for the whole program.
//!
//! One of each, whatever it is that the program listens to or sends from.

use std::path::PathBuf;
use std::time::Duration;

use crate::message::{Domain, TenantName};

/// `[server]`: what holds for the whole program.
#[derive(Clone, Debug)]
pub struct Server {
    /// Our own name: greeting, `Received:` lines, `Reporting-MTA` of DSNs.
    pub hostname: Domain,
    /// Where spool and facts live; locked by the running process.
    pub state_dir: PathBuf,
    /// What "daily" means.
    pub day: Day,
    /// How long a graceful stop waits for attempts on the wire. Default 30 s.
    pub shutdown_grace: Duration,
    /// Free space of `state_dir` in bytes below which new mail gets `452 4.3.1`. Default 64 MiB.
    pub low_space_floor: u64,
    /// SMTP sessions of all listeners at the same time. Default 10 000.
    pub max_sessions: usize,
    /// Octets of memory for messages while they are received, all together. Default 512 MiB.
    pub memory: u64,
    /// Seed of the scheduler's random source; `None` takes one from the system at start.
    pub seed: Option<u64>,
    /// Users that may log in at listeners with `auth`, one `name:argon2id-hash` a line; `None` is nobody.
    pub users_file: Option<PathBuf>,
}

/// Which calendar the daily caps follow.
#[derive(Clone, Debug)]
pub struct Day {
    /// Time zone (IANA). Default UTC.
    pub timezone: jiff::tz::TimeZone,
    /// Local time at which a day starts. Default 00:00.
    pub starts: jiff::civil::Time,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// Form of a line. Default text.
    pub format: LogFormat,
    /// `tracing` filter, such as `info` or `remuda=debug`. Default `info`.
    pub filter: String,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value`
    Text,
    /// One JSON object a line.
    Json,
}

/// `[classify]`: rules that read replies.
#[derive(Clone, Debug)]
pub struct Classify {
    /// Files with rules that are tried before the shipped ones, in order.
    pub rules: Vec<PathBuf>,
    /// Replies no rule matched that are kept, normalised and counted; the longest unseen goes first. Default 200.
    pub unmatched_kept: usize,
}

/// `[assignment]`: how mail finds its tenant and stream.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Header by which trusted clients name the tenant; removed before the mail goes on. Default `X-Remuda-Tenant`.
    pub tenant_header: String,
    /// Header by which clients name the stream; removed as well. Default `X-Remuda-Stream`.
    pub stream_header: String,
    /// Tenant of mail that matches none; `None` refuses it.
    pub default_tenant: Option<TenantName>,
    /// Reply to mail of an unknown tenant or stream. Default refuse.
    pub unknown: UnknownPolicy,
}

/// What to answer where no tenant, stream or pool is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownPolicy {
    /// `550 5.7.1`
    Refuse,
    /// `451 4.7.1`
    Defer,
}
