//! New clusters for an image, by imago: what it writes is held in memory.

use std::{fs::File, io};

use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, qcow2::Qcow2};

use crate::{member::Allocator, sys::overlay::Overlay};

/// Bytes of writes that are held before they are carried out.
const HELD_BYTES_MAX: usize = 16 << 20;
/// Bytes of L2 tables that may be in memory meanwhile: whole clusters.
const TABLES_BYTES_MAX: u64 = 32 << 20;
/// What it means that imago says no.
pub(super) const UNWRITABLE: &str = "its tables can't be written to";

/// Gives new clusters. It keeps tables in memory, so it doesn't live long.
pub(super) struct NewClusters {
    image: FormatAccess<Overlay>,
    overlay: Overlay,
    cluster_bytes: u64,
    /// L2 tables that were met, and the last of them.
    tables: u64,
    last_table: Option<u64>,
}

impl NewClusters {
    /// Over the image in `file`, of which nothing is changed.
    pub(super) fn new(file: &File, cluster_bytes: u64) -> io::Result<Self> {
        let overlay = Overlay::new(file.try_clone()?)?;
        // Whole clusters are written, so nothing under it is read.
        let image = Qcow2::<Overlay>::builder(overlay.clone()).write(true).backing(None).data_file(None);
        let image = FormatAccess::new(image.open(DenyImplicitOpenGate::default())?);
        Ok(Self { image, overlay, cluster_bytes, tables: 0, last_table: None })
    }
}

impl Allocator for NewClusters {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.image.write(bytes, offset)?;
        let table = Some(offset / self.cluster_bytes / (self.cluster_bytes / 8));
        self.tables += u64::from(table != self.last_table);
        self.last_table = table;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.overlay.held() >= HELD_BYTES_MAX || self.tables * self.cluster_bytes > TABLES_BYTES_MAX
    }

    fn into_writes(self: Box<Self>) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let written = self.image.flush().and_then(|()| self.overlay.take_writes());
        written.map_err(|error| io::Error::new(error.kind(), format!("{UNWRITABLE}: {error}")))
    }
}
