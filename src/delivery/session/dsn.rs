//! DSN (RFC 3461) where the host offers it: tried once, and taken back where the host cannot bear it.

use super::{After, Awaits, Step, Transaction};
use crate::delivery::greeting::put;
use crate::outcome::Reply;

/// Whether MAIL carries the parameters of DSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dsn {
    Without,
    With,
    /// MAIL was refused for what may be their sake. The replies to what went out behind it are still to be read.
    Refused,
    /// MAIL goes, or went, out again without them.
    GivenUp,
}

impl Transaction<'_> {
    /// The host offers DSN and took MAIL only without: not worth another try over this connection.
    pub fn dsn_failed(&self) -> bool {
        self.dsn == Dsn::GivenUp && self.mail_accepted
    }

    /// The host has taken what was asked for, and with it the duty to report (RFC 3461 §5.2.2).
    pub fn dsn_passed(&self) -> bool {
        self.dsn == Dsn::With && self.mail_accepted
    }

    /// The host refused the parameters of DSN and then would not go on: nothing has happened, and over another connection
    /// the mail may pass without them.
    pub(super) fn lost_over_dsn(&self) -> bool {
        matches!(self.dsn, Dsn::Refused | Dsn::GivenUp) && !self.mail_accepted && self.after == After::Close
    }

    /// RSET, then the whole transaction without the parameters of DSN. Nobody has an answer yet.
    pub(super) fn begin_again(&mut self, out: &mut Vec<u8>) -> Step {
        (self.rcpt_sent, self.rcpt_accepted, self.data_sent, self.body_went_along) = (0, 0, false, false);
        self.dsn = Dsn::GivenUp;
        self.awaits = Awaits::Reset;
        self.after = After::Reset;
        put(out, &["RSET\r\n"]);
        if self.offers.pipelining {
            self.put_mail(out);
        }
        Step::More
    }
}

/// Whether a refused MAIL may mean its parameters: the codes for a command that was not understood (RFC 5321 §4.2.2,
/// §4.1.1.11), or an enhanced code that says so (RFC 3463 §3.6). The first also stand for bad addresses; asking again
/// tells.
pub(super) fn may_mean_parameters(reply: &Reply) -> bool {
    let by_enhanced = reply.enhanced.is_some_and(|code| code.subject == 5 && matches!(code.detail, 2 | 4));
    matches!(reply.code, 500 | 501 | 504 | 555) || by_enhanced
}
