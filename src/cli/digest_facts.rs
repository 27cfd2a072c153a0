//! The facts of a digest, for people and programs.

use crate::{
    digest::{Header, Source, VERSION, Value, hex},
    member::escaped,
    report::{DigestInfo, DigestSource, Times, rfc3339_of},
    vote::ByteRange,
};

/// The facts of a digest.
pub(super) fn digest_info(header: &Header, name: Option<String>, root: Option<&Value>) -> DigestInfo {
    let Header { geometry, part, maker, .. } = header;
    let source = |source: &Source| DigestSource {
        name: escaped(&String::from_utf8_lossy(&source.name)),
        format: escaped(&source.format),
        size: source.size,
        modified: source.modified.and_then(rfc3339_of),
    };
    DigestInfo {
        name,
        format: "quorum-digest",
        version: VERSION,
        hash: geometry.hash.name(),
        chunk_bytes: geometry.chunk_bytes,
        size: geometry.size,
        part: (*part != ByteRange::new(0, geometry.size)).then_some((*part).into()),
        origin: header.origin_in_words(),
        threshold: maker.threshold,
        sector_size: maker.sector,
        options: escaped(&maker.options),
        sources: maker.sources.iter().map(source).collect(),
        times: Times { started: rfc3339_of(header.started), finished: rfc3339_of(header.finished), ..Times::default() },
        chunks: part.end.div_ceil(geometry.chunk_bytes) - part.start / geometry.chunk_bytes,
        value_chunks: header.values,
        unknown_chunks: header.unknown,
        damaged_chunks: 0,
        root: root.map(|root| hex(root)),
    }
}
