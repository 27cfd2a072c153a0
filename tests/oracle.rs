//! `check` against an oracle: small images of all kinds, and every total and every divergence of the report.

mod support;

use std::path::PathBuf;

use proptest::prelude::*;
use support::{Lab, oracle::Question};

/// The 512 bytes that a small number stands for; several differ in their last or first byte only.
fn content(kind: u8) -> [u8; 512] {
    let mut bytes = [0; 512];
    match kind {
        1 => bytes[511] = 1,
        2 => bytes[0] = 0x80,
        3 => bytes.fill(0xff),
        _ => {}
    }
    bytes
}

/// A member: what it holds, and whether zeros are left as holes in its file.
#[derive(Clone, Debug)]
struct Image {
    bytes: Vec<u8>,
    sparse: bool,
}

impl Image {
    fn store(&self, lab: &Lab, index: usize) -> PathBuf {
        let name = format!("member-{index}.img");
        if !self.sparse {
            return lab.file(name, &self.bytes);
        }
        let path = lab.sparse(name, self.bytes.len() as u64);
        for (index, block) in self.bytes.chunks(4096).enumerate().filter(|(_, block)| block.iter().any(|&byte| byte != 0)) {
            lab.write(&path, index as u64 * 4096, block);
        }
        path
    }
}

/// One edit of one member: the sectors from a place on become another content.
fn edit() -> impl Strategy<Value = (usize, usize, u8)> {
    (0usize..80, prop_oneof![3 => 1usize..3, 1 => 3usize..20], 0u8..4)
}

fn image(base: Vec<u8>) -> impl Strategy<Value = Image> {
    let edits = prop::collection::vec(edit(), 0..5);
    let length = base.len();
    let other_length = prop_oneof![
        6 => Just(length),
        1 => (1usize..1500).prop_map(move |more| length + more),
        1 => (1usize..1500).prop_map(move |less| length.saturating_sub(less).max(1)),
        1 => Just(length + 512),
    ];
    (edits, other_length, any::<bool>()).prop_map(move |(edits, length, sparse)| {
        let mut bytes = base.clone();
        for (at, count, kind) in edits {
            for sector in bytes.chunks_mut(512).skip(at).take(count) {
                sector.copy_from_slice(&content(kind)[..sector.len()]);
            }
        }
        bytes.resize(length, 0);
        Image { bytes, sparse }
    })
}

fn images() -> impl Strategy<Value = Vec<Image>> {
    let base = (1usize..40_000, prop::collection::vec((0u8..4, 1usize..30), 1..8)).prop_map(|(length, runs)| {
        let sectors = runs.iter().flat_map(|&(kind, count)| std::iter::repeat_n(content(kind), count));
        let mut bytes: Vec<u8> = sectors.flatten().collect();
        bytes.resize(length, 0);
        bytes
    });
    base.prop_flat_map(|base| prop::collection::vec(image(base), 2..=5))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(400), failure_persistence: None, ..ProptestConfig::default() })]

    /// Every total and every divergence, against a sector by sector count by the words of the design.
    #[test]
    fn check_finds_what_the_oracle_finds(
        images in images(),
        sector in prop_oneof![3 => Just(512u64), 1 => Just(1024), 1 => Just(4096)],
        threshold in prop::option::of(2usize..=5),
        range in prop::option::weighted(0.3, (0u64..40_000, 1u64..20_000)),
        trust in prop::option::weighted(0.2, 0usize..5),
        threads in 1usize..=4,
    ) {
        let lab = Lab::new();
        let count = images.len();
        let trust = trust.map(|member| member % count);
        let members: Vec<PathBuf> = images.iter().enumerate().map(|(index, image)| image.store(&lab, index)).collect();
        let mut options = vec!["check".to_owned(), format!("--sector-size={sector}"), format!("-j{threads}")];
        let threshold = threshold.map(|threshold| threshold.min(count));
        options.extend(threshold.map(|threshold| format!("--threshold={threshold}")));
        options.extend(trust.map(|member| format!("--trust=#{member}")));
        let threshold = threshold.unwrap_or(count / 2 + 1);
        let bytes = images.iter().map(|image| image.bytes.clone()).collect();
        let mut question = Question { images: bytes, sector, threshold, range: None, trust };
        let alike = images.iter().all(|image| image.bytes.len() == images[0].bytes.len());
        // What a part of a disk without a size comes to is for the tests above.
        if let (Some((place, length)), true) = (range, alike) {
            let offset = place % images[0].bytes.len() as u64;
            let length = length.min(images[0].bytes.len() as u64 - offset);
            question.range = Some((offset, length));
            options.push(format!("--range={offset}:{length}"));
        }
        let mut expected = question.answer();
        let output = lab.quorum_img(&options).args(["--output", "json"]).args(&members).output();
        // A guard that stands is a person's matter.
        if let Some(guards) = output.json()["guards"].as_array() {
            expected["exit-code"] = 2.into();
            // What outvotes the only copy of something isn't called whole.
            if guards.iter().any(|guard| matches!(guard["word"].as_str(), Some("newer" | "zeros" | "empty" | "cuts"))) {
                expected["members"].as_array_mut().expect("members").iter_mut().for_each(|member| member["whole"] = false.into());
            }
        }
        prop_assert_eq!(output.code().map(i64::from), expected["exit-code"].as_i64(), "{}", output);
        let found = Question::relevant(&output.json());
        prop_assert_eq!(found, expected, "{}", output);
    }
}
