//! What a count of complaints says about the true share: a beta-binomial model.
//!
//! Complaints are rare, so the plain share of few messages says nothing: one complaint about a hundred recipients is 1 %,
//! and chance. The share is therefore taken to be one of many that could be, spread as Beta(a, b) before anything is known,
//! with mean `complaint_prior` and as much weight as `complaint_prior_weight` accepted recipients. After `c` complaints about
//! `n` recipients it is spread as Beta(a + c, b + n − c), which is closed, so that no past needs to be kept. A limit counts
//! as exceeded where all but 1 − `complaint_certainty` of that spread lies above it. With the defaults five complaints are
//! never enough, whatever they are about.
//!
//! The tail is the regularised incomplete beta function: some dozen multiplications, once a complaint.

use statrs::function::beta::checked_beta_reg;

use super::ledger::Counted;
use crate::config;

/// Above this many complaints the spread is as good as normal, and the continued fraction would need too many steps.
const MANY: f64 = 1_000.0;

fn spread(counted: Counted, rules: &config::Reputation) -> (f64, f64) {
    let weight = rules.complaint_prior_weight.max(1.0);
    let complaints = counted.believed() as f64;
    let others = counted.accepted as f64 - complaints;
    (rules.complaint_prior * weight + complaints, (1.0 - rules.complaint_prior) * weight + others)
}

/// Mean of the spread: the share to be expected of the next mail.
pub(crate) fn mean(counted: Counted, rules: &config::Reputation) -> f64 {
    let (a, b) = spread(counted, rules);
    a / (a + b)
}

/// Whether the true share lies above `limit` with `complaint_certainty`. Never where there was no complaint.
pub(crate) fn exceeds(counted: Counted, limit: f64, rules: &config::Reputation) -> bool {
    if counted.complaints == 0 {
        return false;
    }
    let (a, b) = spread(counted, rules);
    below(a, b, limit).is_some_and(|below| below < 1.0 - rules.complaint_certainty)
}

/// Whether `rest`, complained about at `rate`, would have had more complaints than it has, with `complaint_certainty`: it is
/// something else than what is complained about at that rate. Nothing is proven by next to no mail.
pub(crate) fn is_better_than(rest: Counted, rate: f64, rules: &config::Reputation) -> bool {
    let (complaints, others) = (rest.believed() as f64, (rest.accepted - rest.believed()) as f64);
    // P(X ≤ k) of n with rate p is I(1 − p; n − k, k + 1).
    others > 0.0
        && below(others, complaints + 1.0, 1.0 - rate).is_some_and(|as_few| as_few < 1.0 - rules.complaint_certainty)
}

/// Share of Beta(a, b) that lies below `limit`.
fn below(a: f64, b: f64, limit: f64) -> Option<f64> {
    if a.min(b) > MANY {
        let mean = a / (a + b);
        let deviation = (mean * (1.0 - mean) / (a + b + 1.0)).sqrt();
        return Some(0.5 * statrs::function::erf::erfc((mean - limit) / deviation / std::f64::consts::SQRT_2));
    }
    checked_beta_reg(a, b, limit.clamp(0.0, 1.0)).ok().filter(|share| share.is_finite())
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::rules;
    use super::*;

    fn counted(complaints: u64, accepted: u64) -> Counted {
        Counted { accepted, complaints }
    }

    #[test]
    fn so_many_complaints_exceed_a_limit_and_one_less_does_not() {
        let rules = rules();
        // limit, accepted, complaints: by the binomial sum, worked out elsewhere
        let table = [
            (0.001, 6, 6),
            (0.001, 500, 7),
            (0.001, 1_000, 8),
            (0.001, 10_000, 21),
            (0.001, 100_000, 126),
            (0.003, 100, 13),
            (0.003, 1_000, 17),
            (0.003, 10_000, 51),
            (0.003, 100_000, 347),
        ];
        for (limit, accepted, least) in table {
            assert!(exceeds(counted(least, accepted), limit, &rules), "{limit} {accepted}: {least} are enough");
            assert!(!exceeds(counted(least - 1, accepted), limit, &rules), "{limit} {accepted}: {} are not", least - 1);
        }
        assert!(!exceeds(counted(u64::MAX, 5), 0.001, &rules), "never more than were accepted");
    }

    #[test]
    fn nothing_known_is_what_is_expected_and_no_complaint_is_never_too_many() {
        let mut rules = rules();
        assert!((mean(counted(0, 0), &rules) - rules.complaint_prior).abs() < 1e-12);
        assert!(mean(counted(0, 1_000_000), &rules) < rules.complaint_prior / 100.0);
        rules.complaint_prior = 0.9;
        assert!(!exceeds(counted(0, 0), 0.001, &rules), "whatever is expected");
        rules.complaint_prior = 1e-6;
        rules.complaint_prior_weight = 1.0;
        assert!(exceeds(counted(1, 1), 0.003, &rules) && !exceeds(counted(1, 1), 1.0, &rules));
    }

    #[test]
    fn large_counts_are_judged_as_surely_as_small_ones() {
        let rules = rules();
        for accepted in [100_000u64, 1_000_000, 10_000_000, 1_000_000_000, u64::MAX / 4] {
            for limit in [0.001, 0.003] {
                let at_limit = (accepted as f64 * limit) as u64;
                let deviation = (at_limit as f64).sqrt();
                assert!(exceeds(counted(at_limit + (3.0 * deviation) as u64, accepted), limit, &rules), "{accepted}");
                assert!(!exceeds(counted(at_limit + deviation as u64, accepted), limit, &rules), "{accepted}");
            }
        }
        assert!(exceeds(counted(u64::MAX, 10_000), 0.003, &rules), "more complaints than mail are all of it");
    }

    #[test]
    fn the_rest_is_better_only_where_there_is_enough_of_it() {
        let rules = rules();
        // rate of the suspect, accepted and complaints of the rest
        let table = [
            (0.04, 0, 0, false),
            (0.04, 50, 0, false),
            (0.04, 500, 0, true),
            (0.01, 300, 0, false),
            (0.01, 500, 0, true),
            (0.003, 1_000, 0, false),
            (0.003, 2_000, 0, true),
            (0.003, 10_000, 20, false),
            (0.003, 100_000, 200, true),
            (0.003, 10_000_000, 29_000, true),
            (0.003, 10_000_000, 30_000, false),
            (1.0, 5, 5, false),
            (1.0, 5, 4, true),
        ];
        for (rate, accepted, complaints, better) in table {
            let rest = counted(complaints, accepted);
            assert_eq!(is_better_than(rest, rate, &rules), better, "{rate}: {rest:?}");
        }
    }
}
