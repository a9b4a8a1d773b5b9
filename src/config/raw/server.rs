//! As typed: `[server]`, `[log]`, `[classify]`, `[assignment]`.

use std::time::Duration;

use super::TimeOfDay;
use crate::config::read::{List, Size, table, words};
use crate::config::{LogFormat, UnknownPolicy};
use crate::message::Domain;

table!(pub(in crate::config) Server {
    hostname: Domain,
    state_dir: String,
    day: Day,
    shutdown_grace: Duration,
    low_space_floor: Size,
    max_sessions: usize,
    memory: Size,
    seed: u64,
    users_file: String,
});

table!(pub(in crate::config) Day { timezone: String, starts: TimeOfDay });

table!(pub(in crate::config) Log { format: LogFormat, filter: String });

words!(LogFormat { "text" => LogFormat::Text, "json" => LogFormat::Json });

table!(pub(in crate::config) Classify { rules: List<String>, unmatched_kept: usize });

table!(pub(in crate::config) Assignment { tenant_header: String, stream_header: String, default_tenant: String, unknown: UnknownPolicy });

words!(UnknownPolicy { "refuse" => UnknownPolicy::Refuse, "defer" => UnknownPolicy::Defer });
