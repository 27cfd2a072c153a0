//! What a seed stands for: the members with their damage, and what the user asks for.

use std::{collections::BTreeSet, io::Write as _, path::Path, sync::Arc};

use quorum_img::{
    digest::{CHUNK_BYTES_MIN, DigestFile, Ending, Geometry, HashKind, Header, Hearing, Maker, Witness, Writer},
    member::{Cache, Member, MemberName, RawMember},
    repair::PORTION_BYTES,
};
use quorum_img::{
    scan::{Donors, Question},
    vote::ByteRange,
};

use crate::{
    disk::Habits,
    platter::{BLOCK, Platter, SECTOR, View},
    random::Random,
};

/// A member before the first repair.
#[derive(Clone, Debug)]
pub struct Original {
    pub bytes: Vec<u8>,
    /// Sectors of 512 bytes that can't be read.
    pub bad: BTreeSet<u64>,
    /// Blocks that can't be healed.
    pub stubborn: BTreeSet<u64>,
    /// Blocks that are no holes.
    pub allocated: BTreeSet<u64>,
    /// The unit of the vote in bytes.
    pub sector: u64,
}

/// A story to be told.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub sector: u64,
    pub members: Vec<Original>,
    pub size: Option<u64>,
    pub trust: Option<usize>,
    pub picks: Vec<(ByteRange, usize)>,
    pub no_write: Vec<usize>,
    pub truncate: bool,
    pub journal: bool,
    /// Bytes of divergences that are worked on at a time: there are several batches where it is small.
    pub portion_bytes: u64,
    pub habits: Habits,
    /// Writing over a stubborn block says that it went well.
    pub lies: bool,
    /// What a digest that is heard was made from: every sector of it stands in some member, or in the donor.
    pub heard: Option<Vec<u8>>,
    /// What a source holds that never votes.
    pub donor: Option<Vec<u8>>,
}

impl Schedule {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let count = random.pick(&[2, 3, 3, 3, 4, 5]);
        let sector = random.pick(&[512, 512, 512, 4096]);
        let sectors = if sector == 512 { random.between(16, 200) } else { random.between(4, 25) };
        let odd = if random.chance(20) { random.between(1, sector - 1) } else { 0 };
        let size = sectors * sector - odd;
        let disk = content(&mut random, size);
        let trust = (count == 2 && random.chance(80) || random.chance(15)).then(|| random.below(count) as usize);
        let mut images: Vec<Vec<u8>> = (0..count).map(|_| disk.clone()).collect();
        for image in &mut images {
            for _ in 0..random.pick(&[0, 1, 2, 4, 8]) {
                damage(&mut random, image);
            }
        }
        // Most keep their size, so that it wins; where one is trusted the others may have any.
        let mut others: Vec<usize> = (0..images.len()).collect();
        random.shuffle(&mut others);
        let given = random.chance(10);
        others.truncate(if given || trust.is_some() { others.len() } else { (others.len() - 1) / 2 });
        for &other in &others {
            resize(&mut random, &mut images[other], size);
        }
        let mut schedule = Self {
            seed,
            sector,
            members: Vec::new(),
            size: (given && trust.is_none()).then_some(size),
            trust,
            picks: Vec::new(),
            no_write: Vec::new(),
            truncate: random.chance(50),
            // Not from the same numbers: those make the same stories as before.
            portion_bytes: [PORTION_BYTES, 4096, 16384][(seed % 3) as usize],
            journal: true,
            habits: Habits { direct: random.chance(50), forgets: random.chance(50), stamps: random.chance(70) },
            lies: random.chance(50),
            heard: None,
            donor: None,
        };
        let spoilt = random.chance(40);
        for bytes in images {
            let mut member = Original { bytes, bad: BTreeSet::new(), stubborn: BTreeSet::new(), allocated: BTreeSet::new(), sector };
            member.allocate(&mut random);
            if spoilt && random.chance(60) {
                member.spoil(&mut random);
            }
            schedule.members.push(member);
        }
        if random.chance(20) {
            // Where a short one is trusted, the image ends as early as it does.
            let voted = schedule.voted_size();
            let start = random.below(voted);
            let end = random.between(start + 1, voted);
            schedule.picks.push((ByteRange::new(start, end), random.below(count) as usize));
        }
        if random.chance(15) {
            schedule.no_write.push(random.below(count) as usize);
        }
        schedule.keep_ends_readable();
        schedule
    }

    /// What can't be read behind the end can't be journalled, so it can't be cut; and a block in which a member is cut or grows must
    /// be such that a part of it can be written.
    fn keep_ends_readable(&mut self) {
        let size = self.voted_size();
        for member in &mut self.members {
            let longer = member.length() > size;
            member.bad.retain(|sector| !longer || (sector + 1) * SECTOR <= size);
        }
        for member in 0..self.members.len() {
            let length = self.members[member].length();
            let last = size.min(length) / BLOCK;
            if length != size && self.blocks_that_cannot_heal(member).contains(&last) {
                self.members[member].bad.retain(|sector| sector * SECTOR / BLOCK != last);
            }
        }
    }

    /// Likewise where a block may not heal by an error that is yet to come.
    pub fn with_sound_ends(mut self) -> Self {
        let size = self.voted_size();
        for member in self.members.iter_mut().filter(|member| member.length() != size) {
            let last = size.min(member.length()) / BLOCK;
            member.bad.retain(|sector| sector * SECTOR / BLOCK != last);
        }
        self
    }

    /// Another one, in which some of the bad blocks never heal.
    pub fn stubborn(seed: u64) -> Self {
        let mut schedule = Self::new(seed).with_sound_ends();
        let mut random = Random::of(seed, 1);
        for member in &mut schedule.members {
            let blocks: BTreeSet<u64> = member.bad.iter().map(|sector| sector * SECTOR / BLOCK).collect();
            member.stubborn = blocks.into_iter().filter(|_| random.chance(50)).collect();
        }
        schedule
    }

    /// Two members and a digest of what both were: each has lost other sectors, so that neither is right alone.
    pub fn healed_by_digest(seed: u64) -> Self {
        let mut random = Random::of(seed, 9);
        let size = random.between(40, 300) * SECTOR;
        let disk = content(&mut random, size);
        let member =
            |bytes| Original { bytes, bad: BTreeSet::new(), stubborn: BTreeSet::new(), allocated: BTreeSet::new(), sector: SECTOR };
        let mut members = vec![member(disk.clone()), member(disk.clone())];
        for member in &mut members {
            member.allocate(&mut random);
        }
        let mut lost = BTreeSet::new();
        for _ in 0..random.between(1, 12) {
            let sector = random.below(size / SECTOR);
            if !lost.insert(sector) {
                continue;
            }
            let member = &mut members[random.below(2) as usize];
            let start = (sector * SECTOR) as usize;
            if random.chance(30) && member.allocated.contains(&(sector * SECTOR / BLOCK)) {
                member.bad.insert(sector);
            } else {
                member.bytes[start + random.below(SECTOR) as usize] ^= 1 << random.below(8);
                member.allocated.insert(sector * SECTOR / BLOCK);
            }
        }
        let plain = Self::new(seed);
        Self {
            sector: SECTOR,
            members,
            size: None,
            trust: None,
            picks: Vec::new(),
            no_write: Vec::new(),
            truncate: false,
            lies: false,
            heard: Some(disk),
            ..plain
        }
    }

    /// The same, and sectors that both have lost: a source gives them that has rotted elsewhere.
    pub fn given_by_donor(seed: u64) -> Self {
        let mut schedule = Self::healed_by_digest(seed);
        let mut random = Random::of(seed, 10);
        let mut donor = schedule.heard.clone().expect("a digest is heard");
        let sectors = donor.len() as u64 / SECTOR;
        let lost: BTreeSet<u64> = (0..random.between(1, 6)).map(|_| random.below(sectors)).collect();
        for (salt, member) in (1u8..).zip(&mut schedule.members) {
            for &sector in &lost {
                member.bytes[(sector * SECTOR) as usize] ^= salt;
                member.allocated.insert(sector * SECTOR / BLOCK);
            }
        }
        // One sector of the donor isn't what it was, and isn't wanted: both members hold it.
        let held = |sector: &u64| {
            let range = (sector * SECTOR) as usize..((sector + 1) * SECTOR) as usize;
            schedule.members.iter().all(|member| !member.bad.contains(sector) && member.bytes[range.clone()] == donor[range.clone()])
        };
        if let Some(sector) = (0..sectors).find(held) {
            donor[(sector * SECTOR) as usize] ^= 0x80;
        }
        Self { donor: Some(donor), ..schedule }
    }

    /// The source that never votes.
    fn donors(&self) -> Donors {
        let open = |bytes: &Vec<u8>| {
            let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
            file.write_all(bytes).expect("it can be written");
            let member = RawMember::open(MemberName::from(file.path()), file.path(), Cache::Writeback).expect("it opens");
            Arc::new(member) as Arc<dyn Member>
        };
        Donors(self.donor.iter().map(open).collect())
    }

    /// The digest that is heard.
    fn hearing(&self) -> Option<Arc<Hearing>> {
        let disk = self.heard.as_ref()?;
        let geometry = Geometry { hash: HashKind::Blake3, chunk_bytes: CHUNK_BYTES_MIN, size: disk.len() as u64 };
        let maker = Maker { sector: 512, threshold: 2, options: String::new(), sources: Vec::new() };
        let (part, origin, none) = (ByteRange::new(0, geometry.size), [0; 16], (0, 0));
        let header = Header { geometry, part, origin, maker, started: none, finished: none, pages: 0, values: 0, unknown: 0 };
        let file = tempfile::tempfile().expect("a temporary file");
        let mut writer = Writer::new(&file, header).expect("it can be written");
        for (chunk, bytes) in (0..).zip(disk.chunks(CHUNK_BYTES_MIN as usize)) {
            writer.push(geometry.entry(chunk, bytes), 1).expect("it can be written");
        }
        writer.finish(Ending::default()).expect("it can be written");
        let digest = DigestFile::open(MemberName::from(Path::new("digest")), file).expect("it is whole");
        let witness = Witness { digest, group: 0, memory_of: 0, old_for: 0, old: None, known: false };
        Some(Arc::new(Hearing { witnesses: vec![witness], warnings: Vec::new() }))
    }

    pub fn question(&self) -> Question {
        Question {
            hearing: self.hearing(),
            donors: self.donors(),
            sector: self.sector as u32,
            size: self.size,
            trust: self.trust,
            picks: self.picks.clone(),
            threads: 1,
            ..Question::default()
        }
    }

    /// The options that decide what is written, as one line.
    pub fn options(&self) -> String {
        format!("{} {:?} {:?} {:?} {:?} {}", self.sector, self.size, self.trust, self.picks, self.no_write, self.truncate)
    }

    pub fn is_written(&self, member: usize) -> bool {
        self.trust != Some(member) && !self.no_write.contains(&member)
    }
}

impl Original {
    pub fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub fn platter(&self, lies: bool) -> Platter {
        let view = View { bytes: self.bytes.clone(), bad: self.bad.clone(), allocated: self.allocated.clone() };
        Platter::new(view, self.stubborn.clone(), lies)
    }

    /// Blocks of zeros may be holes.
    fn allocate(&mut self, random: &mut Random) {
        let holes = random.chance(70);
        for (block, bytes) in self.bytes.chunks(BLOCK as usize).enumerate() {
            let zero = bytes.iter().all(|&byte| byte == 0);
            if !(zero && holes && random.chance(80)) {
                self.allocated.insert(block as u64);
            }
        }
    }

    /// Some sectors can't be read any more.
    fn spoil(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 3) {
            let block = random.below(self.length().div_ceil(BLOCK));
            if !self.allocated.contains(&block) {
                continue;
            }
            let all = random.chance(40);
            for sector in block * BLOCK / SECTOR..(block + 1) * BLOCK / SECTOR {
                if sector * SECTOR < self.length() && (all || random.chance(30)) {
                    self.bad.insert(sector);
                }
            }
        }
        // The sector in which it ends is absent, whether it can be read or not.
        let whole = self.length() - self.length() % self.sector;
        self.bad.retain(|sector| sector * SECTOR < whole);
    }
}

/// A disk's bytes: data, with stretches of zeros.
fn content(random: &mut Random, size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < size {
        let zeros = random.chance(40);
        for _ in 0..random.between(1, 24) {
            bytes.extend(if zeros { [0; SECTOR as usize] } else { sector_of(random) });
        }
    }
    bytes.truncate(size as usize);
    bytes
}

fn sector_of(random: &mut Random) -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    for part in sector.chunks_mut(8) {
        part.copy_from_slice(&random.next().to_le_bytes());
    }
    sector
}

/// Some sectors become something else.
fn damage(random: &mut Random, bytes: &mut [u8]) {
    let sectors = (bytes.len() as u64).div_ceil(SECTOR);
    let length = random.pick(&[1, 1, 1, 2, 3, 8, 17]);
    let first = random.below(sectors);
    let how = random.below(4);
    for sector in first..(first + length).min(sectors) {
        let start = (sector * SECTOR) as usize;
        let end = (start + SECTOR as usize).min(bytes.len());
        match how {
            0 => bytes[start..end].fill(0),
            // The same damage may hit several members in the same way.
            1 => bytes[start..end].fill(random.pick(&[1, 2])),
            2 => bytes[random.between(start as u64, end as u64 - 1) as usize] ^= 1 << random.below(8),
            _ => bytes[start..end].copy_from_slice(&sector_of(random)[..end - start]),
        }
    }
}

/// Ends too early, or too late.
fn resize(random: &mut Random, bytes: &mut Vec<u8>, size: u64) {
    let by = random.pick(&[1, 100, SECTOR, SECTOR, 3 * SECTOR, 2 * BLOCK, 5 * BLOCK]);
    match random.below(3) {
        0 => bytes.truncate(size.saturating_sub(by).max(size / 2 + 1) as usize),
        1 => {
            let data = random.chance(60);
            for at in 0..by {
                bytes.push(if data && at % 5000 < 3000 { random.next() as u8 } else { 0 });
            }
        }
        _ => {}
    }
}
