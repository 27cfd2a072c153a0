//! Colours for people.

use anstyle::{AnsiColor, Style};

/// All is well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Repairable.
pub(super) const MEND: Style = AnsiColor::Yellow.on_default().bold();
/// Not, or not yet.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Of less weight.
pub(super) const DIM: Style = Style::new().dimmed();
