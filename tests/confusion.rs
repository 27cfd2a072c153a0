//! What damages of every class are taken for: the table in `docs/diagnosis.md`, made anew. `UPDATE_DOCS=1 cargo test --test confusion` writes it.

#[path = "support/mod.rs"]
mod support;

use std::{fmt::Write as _, fs, path::Path};

use quorum_img::evidence::Looks;
use support::noise;

/// Damages of each class, a quarter of them on each kind of data.
const EACH: u64 = 200;

/// A small generator, so that the table is the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }
}

/// Text, tables of a file system, compressed data, and data that is mostly zeros.
fn data(kind: u64, seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed);
    match kind {
        0 => {
            let words = ["the ", "disk ", "server ", "of ", "a ", "quorum ", "2026-11-24 ", "error: ", "ok\n", "ln -s ", "write "];
            let mut text = Vec::new();
            while text.len() < length {
                text.extend(words[random.below(words.len())].bytes());
            }
            text.truncate(length);
            text
        }
        1 => (0..length / 4).flat_map(|entry| ((entry * 37 + random.below(5)) as u32).to_le_bytes()).collect(),
        2 => noise(seed, length),
        _ => {
            let mut sparse = vec![0; length];
            for _ in 0..length / 16 {
                let at = random.below(length);
                sparse[at] = (1 + random.below(255)) as u8;
            }
            sparse
        }
    }
}

/// A class of damage, by what is done.
type Damage = (&'static str, fn(&mut Vec<u8>, &mut Random, u64));

const CLASSES: [Damage; 9] = [
    ("zeroed", |block, _, _| block.fill(0)),
    ("ones", |block, _, _| block.fill(0xff)),
    ("filled, 1 to 8 bytes", |block, random, _| {
        let text: Vec<u8> = (0..=random.below(8)).map(|_| (1 + random.below(254)) as u8).collect();
        block.iter_mut().enumerate().for_each(|(at, byte)| *byte = text[at % text.len()]);
    }),
    ("1 to 8 flipped bits in 512 bytes", |block, random, _| {
        for _ in 0..=random.below(8) {
            let at = random.below(512);
            block[at] ^= 1 << random.below(8);
        }
    }),
    ("shifted by 1 to 64 bytes", |block, random, _| {
        let by = 1 + random.below(64);
        if random.below(2) == 0 { block.rotate_right(by) } else { block.rotate_left(by) }
    }),
    ("16-bit words changed places", |block, random, _| {
        let words = block.len() / 2;
        for _ in 0..40 {
            let (one, other) = (random.below(words) * 2, random.below(words) * 2);
            block.swap(one, other);
            block.swap(one + 1, other + 1);
        }
    }),
    ("encrypted over", |block, _, seed| *block = noise(seed ^ 0xabcd, block.len())),
    ("an older version", |block, random, _| {
        for _ in 0..8 {
            let at = random.below(block.len() - 24);
            for place in &mut block[at..at + 24] {
                *place = place.wrapping_add(1 + random.below(200) as u8);
            }
        }
    }),
    ("a foreign block of its kind", |block, random, seed| *block = data(seed % 4, random.0 ^ 0x5555, block.len())),
];

const WORDS: [&str; 9] = ["zeroed", "ones", "filled", "bit-flips", "over-zeros", "shifted", "same-sum", "noise", "other"];

/// For each class how often it was taken for what, in percent.
fn taken_for() -> Vec<[u64; WORDS.len()]> {
    let row = |(class, (_, damage)): (usize, &Damage)| {
        let mut counts = [0u64; WORDS.len()];
        for number in 0..EACH {
            let seed = class as u64 * 10_000 + number;
            let mut random = Random(seed);
            let length = 512 << random.below(8);
            let good = data(number % 4, seed, length);
            let mut bad = good.clone();
            damage(&mut bad, &mut random, number);
            if bad == good {
                bad[0] ^= 1; // nothing was there to be damaged
            }
            let word = Looks::of(&bad, &good).word();
            counts[WORDS.iter().position(|known| *known == word).expect("a known word")] += 1;
        }
        counts.map(|count| (count * 100 + EACH / 2) / EACH)
    };
    CLASSES.iter().enumerate().map(row).collect()
}

#[test]
fn the_table_in_docs_is_what_comes_out() {
    let rows = taken_for();
    let mut table = format!("| done | {} |\n| --- |{}\n", WORDS.map(|word| format!("`{word}`")).join(" | "), " --- |".repeat(WORDS.len()));
    for ((class, _), row) in CLASSES.iter().zip(&rows) {
        let cells = row.map(|share| if share == 0 { String::new() } else { share.to_string() });
        let _ = writeln!(table, "| {class} | {} |", cells.join(" | "));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnosis.md");
    let text = fs::read_to_string(&path).expect("it is kept in docs/");
    let (start, rest) = text.split_once("<!-- table -->\n").expect("a mark where it begins");
    let (_, end) = rest.split_once("<!-- end -->").expect("a mark where it ends");
    let made = format!("{start}<!-- table -->\n{table}<!-- end -->{end}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &made).expect("docs/ can be written to");
    } else {
        assert!(made == text, "docs/diagnosis.md has another table: UPDATE_DOCS=1 cargo test --test confusion\n{table}");
    }
    // The classes with a telltale are recognised, whatever the table says.
    for (class, word) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 5)] {
        assert!(rows[class][word] >= 90, "{} is seldom recognised\n{table}", CLASSES[class].0);
    }
    assert!(rows[7][3] + rows[8][3] == 0, "what somebody wrote isn't rot\n{table}");
}
