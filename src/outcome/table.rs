//! What Remuda understands, as Markdown: made of the documentation in the types and of the shipped rules.
//!
//! The README holds it between two markers, and a test compares the two, so that neither runs ahead of the other.

use std::fmt::Write;
use std::time::Duration;

use super::rules::{Rule, SHIPPED};
use super::{Action, Cause, Classifier, Scope};

/// Tables of causes, scopes, actions and rules.
pub fn markdown(classifier: &Classifier) -> String {
    let mut out = String::from("| cause | what it means | usual scope | what Remuda does |\n|---|---|---|---|\n");
    for cause in Cause::ALL {
        let scopes: Vec<&str> = cause.usual_scopes().iter().map(|scope| scope.as_str()).collect();
        row(&mut out, &[cause.as_str(), cause.meaning(), &scopes.join(", "), cause.treatment()]);
    }
    out.push_str("\n| scope | whose fault | what follows |\n|---|---|---|\n");
    for scope in Scope::ALL {
        row(&mut out, &[scope.as_str(), scope.meaning(), scope.treatment()]);
    }
    out.push_str("\n| action of a rule | needs scope | what is done |\n|---|---|---|\n");
    for action in Action::all(Duration::ZERO) {
        let scopes = action.scopes().map_or_else(
            || "any".to_owned(),
            |scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", "),
        );
        row(&mut out, &[action.as_str(), &scopes, action.meaning()]);
    }
    let shipped: Vec<&Rule> = classifier.rules().filter(|rule| !rule.own).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\n{} rules are shipped. Tried in this order:\n", shipped.len());
    out.push_str("| file | rules |\n|---|---|\n");
    for file in SHIPPED {
        let rules: Vec<&&Rule> = shipped.iter().filter(|rule| rule.file == file.name).collect();
        row(&mut out, &[&format!("`{}`", file.name), &families(&rules)]);
    }
    out
}

/// `yahoo 14, gmail 12, …`: rules by the first part of their id, in the order of the file.
fn families(rules: &[&&Rule]) -> String {
    let mut families: Vec<(&str, usize)> = Vec::new();
    for rule in rules {
        let family = rule.id.split('.').next().unwrap_or_default();
        match families.iter_mut().find(|(name, _)| *name == family) {
            Some((_, count)) => *count += 1,
            None => families.push((family, 1)),
        }
    }
    families.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

fn row(out: &mut String, cells: &[&str]) {
    for cell in cells {
        let _ = write!(out, "| {} ", cell.trim_end_matches('.').replace('|', "\\|"));
    }
    out.push_str("|\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- begin: remuda classify --table -->\n";
    const END: &str = "<!-- end: remuda classify --table -->\n";

    /// To refresh: put the output of `cargo run -- classify --table` between the two markers.
    #[test]
    fn the_readme_holds_this_table() {
        let readme = include_str!("../../README.md");
        let inside =
            readme.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(inside, _)| inside.trim());
        let wanted = markdown(&Classifier::shipped());
        assert!(
            inside == Some(wanted.trim()),
            "README.md is behind the code: put the output of `cargo run -- classify --table` between its two markers"
        );
    }

    #[test]
    fn every_word_is_explained_and_no_cell_breaks_the_table() {
        let table = markdown(&Classifier::shipped());
        for cause in Cause::ALL {
            assert!(!cause.meaning().is_empty() && !cause.usual_scopes().is_empty(), "{cause:?}");
            assert!(table.contains(&format!("| {} |", cause.as_str())));
        }
        let mut columns = 0;
        for line in table.lines().filter(|line| line.starts_with('|')) {
            let bars = line.matches('|').count() - line.matches("\\|").count();
            if line.starts_with("|---") {
                columns = bars;
            } else if columns > 0 && !line.contains("what") && !line.starts_with("| file") {
                assert_eq!(bars, columns, "{line}");
            }
        }
    }
}
