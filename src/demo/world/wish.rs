//! What may be wished of the world while it runs, and how a wish travels.
//!
//! One JSON object a line there, one back: the verb of `remuda demo do` and the program that runs the world are the same
//! build, so nothing here has to last.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

/// Longest line of a wish or an answer, in octets.
pub(super) const LONGEST: usize = 64 << 10;

/// Most mail per second: more than that is a benchmark and no demonstration.
pub const FASTEST: u32 = 200;

/// One wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Wish {
    /// A list names the address of this binding.
    List {
        /// Which binding.
        binding: String,
        /// Which list: a [monitor.zone.NAME] of the demo, "big" or "minor".
        #[arg(long = "in", value_name = "ZONE", default_value = "big")]
        zone: String,
    },
    /// The list names it no longer.
    Unlist {
        /// Which binding.
        binding: String,
        /// Which list.
        #[arg(long = "in", value_name = "ZONE", default_value = "big")]
        zone: String,
    },
    /// A receiver refuses this binding.
    Block {
        /// Which binding.
        binding: String,
        /// Which receiver: alpha, beta, gamma or delta.
        #[arg(long, value_name = "RECEIVER")]
        at: String,
    },
    /// The receiver takes its mail again.
    Unblock {
        /// Which binding.
        binding: String,
        /// Which receiver; all of them without this.
        #[arg(long, value_name = "RECEIVER")]
        at: Option<String>,
    },
    /// So much mail per second.
    Rate {
        /// Messages per second, up to 200.
        #[arg(value_parser = clap::value_parser!(u32).range(..=i64::from(FASTEST)))]
        per_second: u32,
    },
    /// No mail comes in until resume-traffic.
    PauseTraffic,
    /// Mail comes in again.
    ResumeTraffic,
    /// What the receivers got from whom, and what was wished so far and holds.
    Show,
}

/// What came of it, in words: done, or why not.
pub type Answer = Result<String, String>;

/// The line of a value, with its end.
pub(super) fn line(value: &impl Serialize) -> String {
    // Texts, numbers and lists of these: nothing here can fail to be written.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_and_answers_travel_in_a_line_each() {
        let wishes = [
            Wish::List { binding: "mta1".into(), zone: "big".into() },
            Wish::Unblock { binding: "a \"b\"\nc".into(), at: None },
            Wish::Rate { per_second: 3 },
            Wish::PauseTraffic,
        ];
        for wish in wishes {
            let line = line(&wish);
            assert_eq!((line.find('\n'), line.len()), (Some(line.len() - 1), line.len()));
            assert_eq!(serde_json::from_str::<Wish>(&line).unwrap(), wish);
        }
        for answer in [Answer::Ok("a\nb".into()), Answer::Err("no".into())] {
            assert_eq!(serde_json::from_str::<Answer>(&line(&answer)).unwrap(), answer);
        }
        assert!(serde_json::from_str::<Wish>("{\"list\":{\"binding\":\"a\",\"zone\":\"b\",\"more\":1}}").is_err());
    }
}
