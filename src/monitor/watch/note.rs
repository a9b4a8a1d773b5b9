//! What the operator is told: by the log and as events.

use std::net::{IpAddr, Ipv4Addr};

use crate::clock::Wall;
use crate::message::{TenantName, ZoneName};
use crate::monitor::subject::Subject;
use crate::monitor::zone::ZoneHealth;

/// Something to tell, once.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A zone's health changed.
    Zone {
        /// Which.
        zone: ZoneName,
        /// Before.
        from: ZoneHealth,
        /// After.
        to: ZoneHealth,
        /// Why.
        reason: String,
    },
    /// A zone gave a code that the configuration does not know. Noted once per zone and code.
    UnknownCode {
        /// Which.
        zone: ZoneName,
        /// The code.
        code: Ipv4Addr,
    },
    /// A zone newly lists whole networks of ours, as it seems: twice the confirmations are asked for.
    Networks {
        /// Which.
        zone: ZoneName,
        /// The networks.
        networks: String,
    },
    /// A listing is confirmed.
    Listed {
        /// By which zone.
        zone: ZoneName,
        /// Who is on it.
        subject: Subject,
        /// Its public address, where it is a binding.
        address: Option<IpAddr>,
        /// Return codes.
        codes: String,
        /// Weight.
        weight: f64,
        /// The evidence is certain.
        certain: bool,
        /// What the list says of the reason.
        text: String,
        /// First answer of the row that confirmed it.
        first_seen: Option<Wall>,
        /// Where one asks to be taken off.
        delisting: String,
        /// Bindings that use the domain, in words; empty for an address.
        used_by: String,
        /// Tenants whose domain it is.
        tenants: Vec<TenantName>,
    },
    /// A listing ended, and that is confirmed.
    Cleared {
        /// By which zone.
        zone: ZoneName,
        /// Who was on it.
        subject: Subject,
        /// First seen.
        since: Option<Wall>,
    },
    /// The second resolver does not see what the first one sees. Noted once per listing in doubt.
    Disputed {
        /// Which zone.
        zone: ZoneName,
        /// Who is said to be on it, or no longer.
        subject: Subject,
        /// The first one no longer sees a listing that the second one sees.
        ends: bool,
    },
    /// The second resolver says nothing of what it is asked to confirm. Noted once until it does.
    SecondSilent {
        /// Which zone.
        zone: ZoneName,
    },
    /// There are more domains than are asked about. Noted once per number.
    Domains {
        /// Domains that are asked about.
        asked: usize,
        /// Domains that are not.
        left_out: usize,
    },
    /// Questions were not put because the day's budget is used up. Noted once until there is some again.
    Budget {
        /// Which zone.
        zone: ZoneName,
        /// What the terms allow a day.
        per_day: u64,
    },
}

impl Note {
    /// Stable text: zone, unknown_code, networks, listed, cleared, disputed, second_silent, domains, budget.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Zone { .. } => "zone",
            Self::UnknownCode { .. } => "unknown_code",
            Self::Networks { .. } => "networks",
            Self::Listed { .. } => "listed",
            Self::Cleared { .. } => "cleared",
            Self::Disputed { .. } => "disputed",
            Self::SecondSilent { .. } => "second_silent",
            Self::Domains { .. } => "domains",
            Self::Budget { .. } => "budget",
        }
    }

    /// In words by name, as an event has them; empty ones mean nothing.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("what", self.what().to_owned())];
        let mut add = |name, text: String| fields.push((name, text));
        let second = |subject: &Subject| match subject {
            Subject::Second(_, address) => Some(address.to_string()),
            _ => None,
        };
        let time = |at: &Option<Wall>| at.map(|at| at.to_string()).unwrap_or_default();
        let mut who = |zone: &ZoneName, subject: &Subject| {
            add("zone", zone.to_string());
            add(if subject.binding().is_some() { "binding" } else { "domain" }, subject.to_string());
        };
        match self {
            Self::Zone { zone, from, to, reason } => {
                add("zone", zone.to_string());
                add("from", from.as_str().to_owned());
                add("to", to.as_str().to_owned());
                add("reason", reason.clone());
            }
            Self::UnknownCode { zone, code } => {
                add("zone", zone.to_string());
                add("code", code.to_string());
            }
            Self::Networks { zone, networks } => {
                add("zone", zone.to_string());
                add("networks", networks.clone());
            }
            Self::Listed {
                zone,
                subject,
                address,
                codes,
                weight,
                certain,
                text,
                first_seen,
                delisting,
                used_by,
                tenants,
            } => {
                who(zone, subject);
                add("address", address.map(|a| a.to_string()).unwrap_or_default());
                add("codes", codes.clone());
                add("weight", weight.to_string());
                add("certain", if *certain { "yes".to_owned() } else { String::new() });
                add("text", text.clone());
                add("first_seen", time(first_seen));
                add("delisting", delisting.clone());
                add("used_by", used_by.clone());
                add("tenant", tenants.iter().map(TenantName::as_str).collect::<Vec<_>>().join(" "));
            }
            Self::Cleared { zone, subject, since } => {
                who(zone, subject);
                second(subject).into_iter().for_each(|address| add("address", address));
                add("since", time(since));
            }
            Self::Disputed { zone, subject, ends } => {
                who(zone, subject);
                second(subject).into_iter().for_each(|address| add("address", address));
                add("ends", if *ends { "yes".to_owned() } else { String::new() });
            }
            Self::SecondSilent { zone } => add("zone", zone.to_string()),
            Self::Domains { asked, left_out } => {
                add("asked", asked.to_string());
                add("left_out", left_out.to_string());
            }
            Self::Budget { zone, per_day } => {
                add("zone", zone.to_string());
                add("per_day", per_day.to_string());
            }
        }
        fields
    }
}
