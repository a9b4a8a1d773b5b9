//! (shell) What the watch notes, as lines of the log.

use tracing::{info, warn};

use super::watch::Note;
use super::zone::ZoneHealth;

pub(super) fn log(note: &Note) {
    match note {
        Note::Zone { zone, from, to: ZoneHealth::Healthy, .. } => {
            info!(%zone, from = from.as_str(), "DNSBL zone is healthy");
        }
        Note::Zone { zone, from, to, reason } => {
            warn!(%zone, from = from.as_str(), to = to.as_str(), reason, "DNSBL zone is not to be believed");
        }
        Note::UnknownCode { zone, code } => {
            warn!(%zone, %code, "DNSBL zone gave a return code that the configuration does not know");
        }
        Note::Networks { zone, networks } => {
            warn!(%zone, networks, "DNSBL zone newly lists networks of ours; believed after twice the confirmations");
        }
        Note::Listed { zone, subject, codes, weight, text, delisting, used_by, tenants, .. } => {
            let tenants = tenants.iter().map(|tenant| tenant.as_str()).collect::<Vec<_>>().join(" ");
            warn!(%zone, %subject, codes, weight, text, delisting, used_by, tenants, "listed, and that is confirmed");
        }
        Note::Cleared { zone, subject, .. } => info!(%zone, %subject, "no longer listed, and that is confirmed"),
        Note::Disputed { zone, subject, ends: false } => {
            warn!(%zone, %subject, "listed, but the second resolver does not see it; not believed");
        }
        Note::Disputed { zone, subject, ends: true } => {
            warn!(%zone, %subject, "no longer listed, but the second resolver still sees it; the listing stands");
        }
        Note::SecondSilent { zone } => {
            warn!(%zone, "the second resolver says nothing of this list; believed without it after twice the answers");
        }
        Note::Domains { asked, left_out } => {
            warn!(
                asked,
                left_out, "too many domains to ask lists about; some that only tenants send from are left out"
            );
        }
        Note::Budget { zone, per_day } => {
            warn!(%zone, per_day, "DNSBL zone is asked less: queries_per_day is used up for now");
        }
    }
}
