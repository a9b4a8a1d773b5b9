//! `[reports]`, and when a delay is told of.

use std::time::Duration;

use super::Context;
use super::context::section;
use crate::config::mistake::Place;
use crate::config::raw::Fate;
use crate::config::read::{At, Size};
use crate::config::{DoubleBounce, Reports, raw};

/// Times at which a delay may be told of.
const STEPS: usize = 10;

impl Context<'_> {
    pub(super) fn reports(&mut self, file: &raw::File) -> Reports {
        let raw = section(&file.reports);
        let default = Reports::default();
        let double_bounce = match (raw.double_bounce.given(), raw.postmaster.given()) {
            (Some(At { value: Fate::Postmaster, .. }), Some(at)) => DoubleBounce::Postmaster(at.value.clone()),
            (Some(At { value: Fate::Postmaster, place }), None) if raw.postmaster.is_missing() => {
                let hint = "write postmaster = \"postmaster@example.org\"";
                self.out.mistake(place, "nobody is named who is told: reports.postmaster is missing", hint);
                default.double_bounce
            }
            (None | Some(At { value: Fate::Drop, .. }), Some(at)) => {
                let hint = "write double_bounce = \"postmaster\", or leave postmaster out";
                self.out.warning(&at.place, "is told nothing: double_bounce is \"drop\"", hint);
                DoubleBounce::Drop
            }
            _ => default.double_bounce,
        };
        if let Some(at) = raw.template.given().filter(|at| at.value.is_empty()) {
            self.out.mistake(&at.place, "the name of a file must not be empty", "leave it out for the English text");
        }
        Reports {
            template: self.beside(&raw.template),
            double_bounce,
            max_returned_bytes: raw.max_returned_bytes.or(Size(default.max_returned_bytes)).0,
        }
    }

    /// The steps of `queue.delay_warning`, in order.
    pub(super) fn delay_warning(&mut self, raw: &raw::Queue, lifetime: Duration) -> Vec<Duration> {
        let steps = raw.delay_warning.items();
        for (number, at) in steps.iter().enumerate() {
            if at.value.is_zero() {
                self.out.mistake(&at.place, "must be longer than 0", "");
            } else if at.value >= lifetime {
                let hint = "by then its sender is told that it was given up";
                self.out.mistake(&at.place, "not before the end of lifetime", hint);
            } else if number > 0 && steps[number - 1].value >= at.value {
                let hint = "write them in rising order, such as [\"4h\", \"1d\"]";
                self.out.mistake(&at.place, "not later than the one before", hint);
            }
        }
        if steps.len() > STEPS {
            let place = raw.delay_warning.place(&Place::default(), "queue.delay_warning");
            self.out.mistake(&place, format!("more than {STEPS} reports of one delay"), "write fewer");
        }
        raw.delay_warning.values()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::{Config, DoubleBounce};

    const REST: &str = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
         [binding.m1]\nbind_address = \"127.0.0.11\"\nehlo_hostname = \"m1.example.net\"\n\
         [pool.main]\nactive = [\"m1\"]\n[tenant.t]\npools = { default = \"main\" }\n";

    fn read(more: &str) -> Result<Config, String> {
        Config::from_toml(&format!("{REST}{more}")).map_err(|error| error.to_string())
    }

    #[test]
    fn reports_and_warnings_of_delay_are_read() {
        let hour = Duration::from_secs(3600);
        let config = read(
            "[queue]\ndelay_warning = [\"4h\", \"1d\"]\n[reports]\ndouble_bounce = \"postmaster\"\n\
             postmaster = \"pm@example.org\"\ntemplate = \"texts.toml\"\nmax_returned_bytes = \"1 MiB\"\n",
        )
        .expect("good");
        assert_eq!(config.queue.delay_warning, [4 * hour, 24 * hour]);
        assert_eq!(config.reports.double_bounce, DoubleBounce::Postmaster("pm@example.org".parse().expect("address")));
        assert_eq!(config.reports.template.as_deref(), Some("texts.toml".as_ref()));
        assert_eq!(config.reports.max_returned_bytes, 1 << 20);
        let plain = read("").expect("good");
        assert_eq!(plain.reports.double_bounce, DoubleBounce::Drop);
        assert!(plain.queue.delay_warning.is_empty() && plain.reports.template.is_none());
    }

    #[test]
    fn what_would_tell_nobody_or_never_is_refused() {
        for (more, said) in [
            ("[reports]\ndouble_bounce = \"postmaster\"\n", "reports.postmaster is missing"),
            ("[reports]\ndouble_bounce = \"bounce\"\n", "not known here"),
            ("[reports]\ntemplate = \"\"\n", "must not be empty"),
            ("[queue]\ndelay_warning = [\"1d\", \"4h\"]\n", "not later than the one before"),
            ("[queue]\ndelay_warning = [\"9d\"]\n", "not before the end of lifetime"),
            ("[queue]\ndelay_warning = [\"0s\"]\n", "must be longer than 0"),
        ] {
            let error = read(more).expect_err(more);
            assert!(error.contains(said), "{error}");
        }
    }
}
