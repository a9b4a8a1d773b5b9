//! How many messages one core signs: DKIM by an RSA key of 2048 bit, by Ed25519, and by both, as mail of a small letter and
//! of a large one. Everything that signing takes is in it: which keys sign, the canonical forms, the hashes, the signature,
//! the new copy of the message.
//!
//! `cargo bench --bench signing`.

#![allow(missing_docs)]

use std::hint::black_box;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use remuda::config::Config;
use remuda::message::TenantName;
use remuda::signing::keygen::{self, Kind};
use remuda::signing::{Keys, with};

const SIZES: [(&str, usize); 2] = [("4 KiB", 4 << 10), ("1 MiB", 1 << 20)];

fn letter(octets: usize) -> Bytes {
    let header = "Received: from app.example ([192.0.2.7])\r\n\tby relay.example.net with ESMTP id 0000000000001; \
                  Wed, 18 Nov 2026 11:06:40 +0000\r\nFrom: \"Ann\" <ann@acme.example>\r\nTo: user@example.org\r\n\
                  Subject: a letter\r\nDate: Wed, 18 Nov 2026 11:06:40 +0000\r\nMessage-ID: <1@acme.example>\r\n\
                  MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
    let line = "The quick brown fox jumps over the lazy dog, and once more for the length of it.\r\n";
    let mut text = header.to_owned();
    while text.len() < octets {
        text += line;
    }
    text.into()
}

/// The keys of a configuration; their files are in `directory`.
fn keys(directory: &Path, kinds: &[Kind]) -> Keys {
    use std::io::Write;
    let mut config = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
                      [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
                      [binding.m1]\nbind_address = \"192.0.2.1\"\n[pool.main]\nactive = [\"m1\"]\n\
                      [tenant.acme]\npools = { default = \"main\" }\n"
        .to_owned();
    for (n, kind) in kinds.iter().enumerate() {
        let path = directory.join(format!("{}-{n}.pem", kinds.len()));
        let made = keygen::make(*kind).expect("a key");
        let options = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        options.and_then(|mut file| file.write_all(made.pem.as_bytes())).expect("written");
        config += &format!(
            "[dkim.k{n}]\ndomain = \"acme.example\"\nselector = \"s{n}\"\nkey = {:?}\ntenants = [\"acme\"]\n",
            path.display().to_string()
        );
    }
    Keys::load(&Config::from_toml(&config).expect("a configuration")).expect("keys")
}

fn sign(criterion: &mut Criterion) {
    let tenant = TenantName::new("acme");
    let ways: [(&str, &[Kind]); 3] =
        [("rsa", &[Kind::Rsa(2048)]), ("ed25519", &[Kind::Ed25519]), ("both", &[Kind::Rsa(2048), Kind::Ed25519])];
    for (way, kinds) in ways {
        let directory = tempfile::tempdir().expect("a directory");
        let keys = keys(directory.path(), kinds);
        let mut group = criterion.benchmark_group(format!("sign {way}"));
        for (name, octets) in SIZES {
            let message = letter(octets);
            assert_eq!(keys.sign(&tenant, &message).iter().filter(|signed| signed.field.is_ok()).count(), kinds.len());
            group.throughput(Throughput::Elements(1));
            group.bench_with_input(BenchmarkId::from_parameter(name), &message, |bencher, message| {
                bencher.iter(|| black_box(with(&keys.sign(&tenant, message), message)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, sign);
criterion_main!(benches);
