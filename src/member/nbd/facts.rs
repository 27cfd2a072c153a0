//! What an NBD server says of an export.

use crate::{
    member::{Facts, Record, Words},
    sys::libnbd::Export,
};

/// The facts of an export.
pub(super) fn export_facts(export: Export) -> Facts {
    let minimum = export.minimum;
    let maximum = export.maximum;
    let record = Record::default()
        .with("read-only", export.read_only)
        .with("can-flush", export.can_flush)
        .with("can-fua", export.can_fua)
        .with("can-multi-conn", export.can_multi_conn)
        .with("can-df", export.can_df)
        .with("block-status", export.block_status)
        .with_some("block-size-minimum", minimum)
        .with_some("block-size-maximum", maximum)
        .with("tls", export.tls);
    let mut line = vec![Words::Text(if export.read_only { "read-only" } else { "writable" }.to_owned())];
    let flags = [
        (export.can_flush, "flush"),
        (export.can_fua, "FUA"),
        (export.can_multi_conn, "several connections"),
        (export.can_df, "DF"),
        (export.block_status, "block status"),
        (export.tls, "TLS"),
    ];
    line.extend(flags.iter().filter(|(set, _)| *set).map(|&(_, words)| Words::Text(format!(", {words}"))));
    for (words, bytes) in [(", requests from ", minimum), (", up to ", maximum)] {
        line.extend(bytes.into_iter().flat_map(|bytes| [Words::Text(words.to_owned()), Words::Bytes(bytes)]));
    }
    Facts { section: "nbd", record, lines: vec![("export:", line)], ..Facts::default() }
}
