//! How long it takes to judge one reply (bar: 5 µs, the median over the corpus), over all recorded replies, so that no
//! favourite is measured; what hostile texts of the greatest length cost; and how long the rules take to load (bar: 20 ms).
//!
//! `cargo bench --bench classify`. Each reply is judged many times and its fastest run counts: the machine's other work is
//! not the classifier's. On two virtual cores (AMD EPYC) shared with other builds, 216 rules, at a load of 6: median
//! 1.1 µs a reply, 99 % 8.1 µs, slowest 22 µs; the worst of the hostile texts 120 µs for 4096 octets. One pass over all
//! replies takes 33 µs a reply then, of which little is work: each reply finds the automata of its patterns cold.
//! Load: 5.3 ms at best in a program that does nothing else; 11–14 ms at best and 18–25 ms in the mean here, behind the
//! replies and with two or three others waiting for each core.
//!
//! Counted (`valgrind --tool=callgrind`), which no load disturbs: a program that loads the rules once executes 53 million
//! instructions, and one more for each of the recorded replies costs 16 100 of them where its patterns are compiled. With
//! words taken out of patterns by `regex-syntax` and looked for by `aho-corasick` it was 219 million and 19 800.
//! Patterns are compiled when first tried: the first pass over all replies, compiling included, executes 1 110 million,
//! so the first replies after a start take up to a few milliseconds.

#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use remuda::outcome::{Classifier, Context, EnhancedCode, Reply, Stage};

const CONTEXT: Context<'static> = Context { stage: Stage::Rcpt, provider: None, own: &[] };

fn recorded() -> Vec<Reply> {
    let rows = include_str!("../tests/data/replies/smtp-replies.tsv").lines().skip(1);
    rows.filter_map(|row| {
        let (code, rest) = row.split('\t').next()?.split_once(' ')?;
        let (enhanced, text) = match EnhancedCode::lead(rest.as_bytes()) {
            Some((enhanced, text)) => (Some(enhanced), String::from_utf8_lossy(text).trim().to_owned()),
            None => (None, rest.to_owned()),
        };
        Some(Reply { code: code.parse().ok()?, enhanced, text })
    })
    .collect()
}

/// Texts that hold what many patterns begin with and never what they end with, as long as replies are kept.
fn hostile(classifier: &Classifier) -> Vec<(&'static str, Reply)> {
    let full = |piece: &str| piece.chars().cycle().take(Reply::TEXT_MAX).collect::<String>();
    let words: String =
        recorded().iter().map(|reply| reply.text.replace(|c: char| !c.is_ascii_alphabetic(), " ") + " ").collect();
    let samples: String =
        classifier.rules().flat_map(|rule| rule.samples.iter().map(|sample| format!("{sample} "))).collect();
    [
        ("one letter", full("a")),
        ("spaces", full(" ")),
        ("addresses", full("a@b ")),
        ("too many", full("too many ")),
        ("listed blocked", full("your ip sender domain listed blocked rejected from ")),
        ("digits and dots", full("1.2.3.4 ")),
        ("quotations", full("remote host error from said returned ")),
        ("all recorded words", full(&words)),
        ("all samples", full(&samples)),
    ]
    .map(|(name, text)| (name, Reply { code: 550, enhanced: None, text }))
    .into()
}

/// The fastest of `runs`.
fn fastest(runs: u32, mut run: impl FnMut()) -> Duration {
    let one = |()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..runs).map(|_| ()).map(one).min().unwrap_or_default()
}

fn classify(c: &mut Criterion) {
    let (classifier, replies) = (Classifier::shipped(), recorded());
    let judge = |reply: &Reply| {
        black_box(classifier.reply(black_box(reply), CONTEXT));
    };
    let mut times: Vec<Duration> = replies.iter().map(|reply| fastest(200, || judge(reply))).collect();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("one of {} recorded replies: median {:?}, 99 % {:?}, slowest {:?}", times.len(), at(50), at(99), at(100));
    for (name, reply) in hostile(&classifier) {
        println!("hostile, {} octets of {name}: {:?}", reply.text.len(), fastest(50, || judge(&reply)));
    }
    println!("load of the shipped rules: {:?}", fastest(20, || drop(black_box(Classifier::shipped()))));

    let mut group = c.benchmark_group("classify");
    group.throughput(Throughput::Elements(replies.len() as u64));
    group.bench_function("recorded replies", |b| b.iter(|| replies.iter().for_each(judge)));
    group.finish();
    c.bench_function("load the shipped rules", |b| b.iter(Classifier::shipped));
}

criterion_group!(benches, classify);
criterion_main!(benches);
