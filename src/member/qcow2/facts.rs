//! What an image's header and tables tell; keys as qemu-img names them, where it does.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use super::{
    header::Header,
    image::{Image, Link},
    opening::IGNORED,
    snapshots::{Snapshot, read_snapshots},
};
use crate::member::{Facts, Member, MemberName, Record, Words, escaped};

/// The facts of an image.
pub(super) fn image_facts(image: &Image) -> Facts {
    let header = &image.header;
    let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| escaped(&String::from_utf8_lossy(bytes)));
    let hex = |bytes: &Option<Vec<u8>>| MemberName::new(OsStr::from_bytes(bytes.as_ref()?)).hex();
    let (snapshots, flaw) = read_snapshots(&image.file, header);
    let (chain, broken) = image.chain();
    let broken = broken.filter(|why| *why != IGNORED);
    let told: Vec<Record> = snapshots.iter().map(|snapshot| snapshot_record(snapshot, header.size)).collect();
    let beneath: Vec<Record> = chain.iter().map(link_record).collect();
    let record = Record::default()
        .with("version", header.version)
        .with("cluster-size", header.cluster_bytes())
        .with("compression-type", header.compression.name())
        .with("extended-l2", header.extended_l2)
        .with("refcount-bits", 1u32 << header.refcount_order)
        .with("lazy-refcounts", header.lazy_refcounts)
        .with("dirty", header.dirty)
        .with("corrupt", header.corrupt)
        .with_some("snapshots", (!told.is_empty()).then_some(told))
        .with_some("bitmaps", (header.bitmaps > 0).then_some(header.bitmaps))
        .with_some("backing-file", text(&header.backing))
        .with_some("backing-file-hex", hex(&header.backing))
        .with_some("backing-format", text(&header.backing_format))
        .with_some("data-file", text(&header.data_file))
        .with_some("data-file-hex", hex(&header.data_file))
        .with_some("chain", (!beneath.is_empty()).then_some(beneath))
        .with_some("chain-error", broken.map(str::to_owned));

    let mut lines = vec![("qcow2:", summary(header))];
    if let Some(backing) = text(&header.backing) {
        let format = text(&header.backing_format).unwrap_or_else(|| "its format isn't recorded".to_owned());
        lines.push(("backing file:", Words::line(format!("{backing} ({format})"))));
    }
    for link in &chain {
        let size = [Words::Text(format!("{} ({}, ", link.name, link.format)), Words::Bytes(link.size), Words::Text(")".into())];
        lines.push(("  on:", size.to_vec()));
    }
    lines.extend(broken.map(|why| ("  broken:", Words::line(why))));
    lines.extend(text(&header.data_file).map(|data| ("data file:", Words::line(data))));
    lines.extend(snapshots.iter().map(|snapshot| ("snapshot:", snapshot_line(snapshot, header.size))));
    Facts {
        section: "qcow2",
        record,
        lines,
        warnings: flaw.map(|flaw| format!("{}: {flaw}", image.file.name())).into_iter().collect(),
        told_again: broken.map(str::to_owned),
    }
}

fn link_record(link: &Link) -> Record {
    Record::default().with("name", link.name.to_string()).with("format", link.format).with("virtual-size", link.size)
}

fn snapshot_record(snapshot: &Snapshot, size: u64) -> Record {
    Record::default()
        .with("id", shown(&snapshot.id))
        .with("name", shown(&snapshot.name))
        .with("virtual-size", snapshot.size.unwrap_or(size))
        .with_some("date", date(snapshot))
}

fn snapshot_line(snapshot: &Snapshot, size: u64) -> Vec<Words> {
    let date = date(snapshot).map_or_else(String::new, |date| format!(", {date}"));
    let name = format!("{} \"{}\" (", shown(&snapshot.id), shown(&snapshot.name));
    vec![Words::Text(name), Words::Bytes(snapshot.size.unwrap_or(size)), Words::Text(format!("{date})"))]
}

/// When it was taken (RFC 3339).
fn date(snapshot: &Snapshot) -> Option<String> {
    jiff::Timestamp::from_second(i64::from(snapshot.seconds)).ok().map(|time| time.to_string())
}

fn shown(bytes: &[u8]) -> String {
    escaped(&String::from_utf8_lossy(bytes))
}

/// What matters most, in one line.
fn summary(header: &Header) -> Vec<Words> {
    let mut facts = vec![
        String::new(), // what stands before the first comma
        format!("{} compression", header.compression.name()),
        format!("refcounts of {} bits", 1u32 << header.refcount_order),
    ];
    let flags = [
        (header.extended_l2, "extended L2 entries"),
        (header.lazy_refcounts, "lazy refcounts"),
        (header.dirty, "DIRTY (not closed cleanly)"),
        (header.corrupt, "CORRUPT (QEMU found its metadata damaged)"),
    ];
    facts.extend(flags.iter().filter(|(set, _)| *set).map(|&(_, words)| words.to_owned()));
    facts.extend(match header.bitmaps {
        0 => None,
        1 => Some("1 persistent bitmap".to_owned()),
        count => Some(format!("{count} persistent bitmaps")),
    });
    vec![
        Words::Text(format!("version {}, clusters of ", header.version)),
        Words::Bytes(header.cluster_bytes()),
        Words::Text(facts.join(", ")),
    ]
}
