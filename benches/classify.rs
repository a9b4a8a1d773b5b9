//! How long it takes to judge one reply (bar: 5 µs), over all recorded replies, so that no favourite is measured.

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use remuda::outcome::{Classifier, Context, EnhancedCode, Reply, Stage};

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

fn classify(c: &mut Criterion) {
    let (classifier, replies) = (Classifier::shipped(), recorded());
    let context = Context { stage: Stage::Rcpt, provider: None };
    let mut group = c.benchmark_group("classify");
    group.throughput(Throughput::Elements(replies.len() as u64));
    group.bench_function("recorded replies", |b| {
        b.iter(|| {
            for reply in &replies {
                black_box(classifier.reply(black_box(reply), context));
            }
        });
    });
    group.finish();
    c.bench_function("compile the shipped rules", |b| b.iter(Classifier::shipped));
}

criterion_group!(benches, classify);
criterion_main!(benches);
