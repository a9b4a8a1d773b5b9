//! Reads as much of PromQL as is needed to know which metrics and labels an expression names.
//!
//! No parser: a walk over words, brackets and strings. It knows selectors (`metric{label="…"}`), groupings
//! (`by (…)`, `on (…)` …), `label_replace`, which makes a label, and `label_values` of dashboards.

use std::collections::BTreeSet;

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Metrics, each with the labels that its selector asks about.
    pub(super) metrics: Vec<(String, Vec<String>)>,
    /// Metrics that are the argument of `rate`, `increase` and the like.
    pub(super) growing: Vec<String>,
    /// Labels of groupings.
    pub(super) grouped: BTreeSet<String>,
    /// Labels that the expression makes.
    pub(super) made: BTreeSet<String>,
}

const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const GROWTHS: [&str; 3] = ["rate", "increase", "irate"];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

fn tokens(expression: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = expression.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '"' || c == '\'' {
            let mut text = String::new();
            while let Some(c) = rest.next() {
                match c {
                    '\\' => text.extend(rest.next()),
                    end if end == '"' || end == '\'' => break,
                    c => text.push(c),
                }
            }
            found.push(Token::Text(text));
        } else if c.is_ascii_alphabetic() || c == '_' || c == ':' {
            let mut word = String::from(c);
            while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == ':') {
                word.push(c);
            }
            found.push(Token::Word(word));
        } else if c.is_ascii_digit() {
            // A number or a duration: its unit is no word.
            while rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '.').is_some() {}
        } else if c == '$' {
            // A variable of the dashboard, such as [$__rate_interval].
            while rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_').is_some() {}
        } else if !c.is_whitespace() {
            found.push(Token::Sign(c));
        }
    }
    found
}

/// The words directly inside the bracket that opens at `from`, and the place behind it.
fn words_inside(tokens: &[Token], from: usize, close: char) -> (Vec<String>, usize) {
    let mut words = Vec::new();
    let mut at = from + 1;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            Token::Word(word) => words.push(word.clone()),
            Token::Sign(sign) if *sign == close => break,
            _ => {}
        }
    }
    (words, at)
}

/// What `expression` names.
pub(super) fn named(expression: &str) -> Named {
    let tokens = tokens(expression);
    let mut found = Named::default();
    // For each open bracket: the word before it, and how many arguments came before.
    let mut open: Vec<(String, usize)> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        match token {
            Token::Word(word) if GROUPINGS.contains(&word.as_str()) && next == Some(&Token::Sign('(')) => {
                let (labels, behind) = words_inside(&tokens, at + 1, ')');
                found.grouped.extend(labels);
                at = behind;
                continue;
            }
            Token::Word(word) if word.starts_with("remuda_") || word == "ALERTS" || word == "up" => {
                let caller = open.last().map_or("", |(word, _)| word.as_str());
                if GROWTHS.contains(&caller) {
                    found.growing.push(word.clone());
                }
                let (mut labels, mut behind) = (Vec::new(), at + 1);
                if next == Some(&Token::Sign('{')) {
                    (labels, behind) = words_inside(&tokens, at + 1, '}');
                }
                found.metrics.push((word.clone(), labels));
                at = behind;
                continue;
            }
            Token::Word(word) => {
                if let Some((caller, 1)) = open.last()
                    && caller == "label_values"
                {
                    found.grouped.insert(word.clone());
                }
                if next == Some(&Token::Sign('(')) {
                    open.push((word.clone(), 0));
                    at += 1;
                }
            }
            Token::Text(text) => {
                if let Some((caller, 1)) = open.last()
                    && caller == "label_replace"
                {
                    found.made.insert(text.clone());
                }
            }
            Token::Sign('(') => open.push((String::new(), 0)),
            Token::Sign(')') => drop(open.pop()),
            Token::Sign(',') => {
                if let Some((_, arguments)) = open.last_mut() {
                    *arguments += 1;
                }
            }
            Token::Sign(_) => {}
        }
        at += 1;
    }
    found
}

/// Labels that a legend (`{{label}}`) or a text (`{{ $labels.label }}`) shows.
pub(super) fn shown(text: &str) -> BTreeSet<String> {
    let inside = text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(inside, _)| inside.trim());
    let label = |inside: &str| {
        let name = inside.strip_prefix("$labels.").unwrap_or(inside);
        (!name.starts_with('$')).then(|| name.to_owned())
    };
    inside.filter_map(label).collect()
}

#[test]
fn an_expression_gives_away_its_metrics_and_labels() {
    let found = named(
        r#"sum by (pool, instance) (increase(remuda_a_total{pool=~"$pool", reason!="by (x)"}[$__rate_interval]))
           / on (pool) group_left (zone) (remuda_b > 0) unless ignoring(state) label_replace(remuda_c{x='1'} offset 1d,
           "made", "$1", "source", "(.*)") > 4 * 86400 or histogram_quantile(0.95, sum by (le) (rate(remuda_d_bucket[5m])))"#,
    );
    let metrics = |name: &str, labels: &[&str]| (name.to_owned(), labels.iter().map(ToString::to_string).collect());
    let expected: Vec<(String, Vec<String>)> = vec![
        metrics("remuda_a_total", &["pool", "reason"]),
        metrics("remuda_b", &[]),
        metrics("remuda_c", &["x"]),
        metrics("remuda_d_bucket", &[]),
    ];
    assert_eq!(found.metrics, expected);
    let set = |labels: &[&str]| labels.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(found.grouped, set(&["instance", "le", "pool", "state", "zone"]));
    assert_eq!((found.made, found.growing), (set(&["made"]), vec!["remuda_a_total".into(), "remuda_d_bucket".into()]));
    let variable = named("label_values(remuda_a{instance=~\"$instance\"}, binding)");
    assert_eq!((variable.metrics.len(), variable.grouped), (1, set(&["binding"])));
    assert_eq!(shown("{{a}} of {{ $labels.b }}: {{ $value | humanize }}"), set(&["a", "b"]));
}
