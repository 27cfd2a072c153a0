//! Images in the making: random writes by a guest, the same on every run, and small scripts that tell how a variant comes to be.

use std::fs;

use super::{
    layout::{be32, be64},
    qemu_img, qemu_io, reads_as_qemu,
    support::{KIB, Lab, noise},
};

/// Small numbers that look random, the same for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn of(name: &str) -> Self {
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)))
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = u64::from_le_bytes(noise(self.0, 8).try_into().expect("eight bytes"));
        word % limit.max(1)
    }

    pub fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[usize::try_from(self.below(among.len() as u64)).expect("an index")]
    }
}

/// What `qemu-io` is told to do to a disk of `size` bytes in clusters of `cluster`: a dozen writes, zeros and discards, some of them
/// along the clusters, some not.
pub fn guest_writes(lab: &Lab, dice: &mut Dice, size: u64, cluster: u64, count: u64) -> Vec<String> {
    let mut commands = Vec::new();
    for _ in 0..count {
        let grain = dice.pick(&[cluster, cluster, (cluster / 32).max(512), 512, 1]);
        let longest = (3 * cluster).clamp(4 * KIB, 160 * KIB).max(cluster).min(size);
        let offset = dice.below(size) / grain * grain;
        let length = ((1 + dice.below(longest)).div_ceil(grain) * grain).min(size - offset);
        let kind = dice.below(10);
        commands.push(match kind {
            0..4 => {
                let source = format!("noise-{:x}", dice.below(u64::MAX));
                fs::write(lab.path(&source), noise(dice.below(u64::MAX), usize::try_from(length).expect("small"))).expect("our own folder");
                format!("write -q -s {source} {offset} {length}")
            }
            4..6 => format!("write -q -P {} {offset} {length}", 1 + dice.below(255)),
            6 => format!("write -q -z {offset} {length}"),
            7 => format!("write -q -z -u {offset} {length}"),
            _ => format!("discard -q {offset} {length}"),
        });
    }
    // Zeros alone would show nothing.
    commands.push(format!("write -q -P 165 {} 512", size / 1024 * 512 - 512));
    commands
}

/// A guest at work on a qcow2 image.
pub fn fill(lab: &Lab, dice: &mut Dice, image: &str) {
    let bytes = lab.bytes(&lab.path(image));
    let (size, cluster) = (be64(&bytes, 24) / 512 * 512, 1 << be32(&bytes, 20));
    let commands = guest_writes(lab, dice, size, cluster, 12);
    qemu_io(lab, "qcow2", image, commands);
}

/// A raw disk as disks are: text, zeros and noise in turn, no two stretches alike.
pub fn some_disk(seed: u64, size: u64) -> Vec<u8> {
    let size = usize::try_from(size).expect("a small disk");
    let mut dice = Dice::new(seed);
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        let length = usize::try_from(1000 + dice.below(30_000)).expect("small");
        match dice.below(4) {
            0 => bytes.extend(vec![0; length]),
            1 => bytes.extend(noise(dice.below(u64::MAX), length)),
            _ => (0..length / 8).for_each(|_| bytes.extend(format!("{:06} \n", dice.below(1000)).into_bytes())),
        }
    }
    bytes.truncate(size);
    bytes
}

/// Makes an image by these lines, then compares every byte of `top.q`:
/// `img ...` is a line for qemu-img, `fill FILE` lets a guest write into it, `disk FILE SIZE` makes a raw disk with something on it,
/// `io FILE COMMAND` is a line for qemu-io.
pub fn variant(lines: &[&str], options: &[&str]) -> serde_json::Value {
    let lab = Lab::new();
    follow(&lab, lines);
    reads_as_qemu(&lab, "top.q", options)
}

/// Follows the lines of [`variant`].
pub fn follow(lab: &Lab, lines: &[&str]) {
    let mut dice = Dice::of(&lines.join("\n"));
    for line in lines {
        let (verb, rest) = line.split_once(' ').expect("a verb and its object");
        match verb {
            "img" => drop(qemu_img(lab, rest)),
            "fill" => fill(lab, &mut dice, rest),
            "io" => {
                let (image, command) = rest.split_once(' ').expect("an image and a command");
                qemu_io(lab, "qcow2", image, [command]);
            }
            "disk" => {
                let (name, size) = rest.split_once(' ').expect("a name and a size");
                let bytes = some_disk(dice.below(u64::MAX), size.parse().expect("bytes"));
                lab.file(name, bytes);
            }
            _ => panic!("what is {line:?}?"),
        }
    }
}
