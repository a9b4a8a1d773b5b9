//! docs/smtp.md says of each item which tests show it: they must exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Items of the list.
const ITEMS: usize = 37;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Names of all functions below `directory` that stand under a `#[test]` of any kind.
fn tests_below(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut marked = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    marked = true;
                } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked && !line.starts_with('#')) {
                    found.insert(rest.split(['(', '<']).next().unwrap().to_owned());
                    marked = false;
                }
            }
        }
    }
}

/// The words in backticks of a text.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_item_of_the_list_names_tests_that_exist() {
    let mut tests = BTreeSet::new();
    for directory in ["src", "tests"] {
        tests_below(&root().join(directory), &mut tests);
    }
    assert!(tests.contains("every_item_of_the_list_names_tests_that_exist"), "the search works");
    let text = fs::read_to_string(root().join("docs/smtp.md")).unwrap();
    let mut items = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let Ok(item) = cells[0].parse::<usize>() else { continue };
        items.push(item);
        let named = quoted(cells.last().unwrap());
        assert!(!named.is_empty(), "item {item} names no test");
        for name in named {
            assert!(tests.contains(name), "item {item}: there is no test {name}");
        }
    }
    assert_eq!(items, (1..=ITEMS).collect::<Vec<_>>(), "each item once, in order");
}
