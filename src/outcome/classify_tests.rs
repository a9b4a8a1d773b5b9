use super::*;
#[test]
fn tmp_score() {
    use std::fs::File;
    let c = Classifier::shipped();
    let ctx = Context { stage: Stage::Rcpt, provider: None };
    let input = std::io::BufReader::new(File::open("/tmp/outcome/in.txt").unwrap());
    let out = File::create("/tmp/outcome/out.txt").unwrap();
    crate::outcome::classify_cli::classify(&c, ctx, input, std::io::BufWriter::new(out)).unwrap();
    let input = std::io::BufReader::new(File::open("/tmp/outcome/raw.txt").unwrap());
    let out = File::create("/tmp/outcome/rawout.txt").unwrap();
    crate::outcome::classify_cli::parse_raw(input, std::io::BufWriter::new(out)).unwrap();
    // samples
    let mut bad = 0;
    for rule in c.rules() {
        for s in &rule.samples {
            let r = crate::outcome::classify_cli::parse_line(s.as_bytes()).unwrap();
            let stage = rule.stages.first().copied().unwrap_or(Stage::Rcpt);
            let o = c.reply(&r, Context { stage, provider: None });
            if *o.rule != *rule.id { bad += 1; println!("SAMPLE {} got {}: {s}", rule.id, o.rule); }
        }
    }
    println!("bad {bad}");
    let lines: Vec<_> = std::fs::read_to_string("/tmp/outcome/in.txt").unwrap().lines().filter_map(|l| crate::outcome::classify_cli::parse_line(l.as_bytes())).collect();
    for round in 0..4 {
        let t = std::time::Instant::now();
        for l in &lines { std::hint::black_box(c.reply(l, ctx)); }
        println!("round {round}: {:?} per reply", t.elapsed() / lines.len() as u32);
    }
}
