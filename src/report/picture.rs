//! A picture of an image on a terminal: a row for each member, its partitions above.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Color, Style};

use super::{
    PartitionSpan, Report,
    fit::shortened,
    human_size,
    map::{Map, Part},
    styles::DIM,
};
use crate::vote::ByteRange;

/// How a picture is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// How wide the terminal is, in columns.
    pub columns: usize,
    /// Half blocks in colours, two parts of the image in a column; else a letter a column.
    pub blocks: bool,
}

/// What a picture shows.
pub(super) struct Scene<'a> {
    /// The image's size in bytes.
    pub(super) size: u64,
    /// What each row is called.
    pub(super) names: &'a [String],
    /// Rows that are drawn.
    pub(super) rows: &'a [usize],
    /// Where partitions lie.
    pub(super) partitions: &'a [PartitionSpan],
    /// What is known.
    pub(super) map: &'a Map,
}

/// Rows that a picture of a report has at most.
const ROWS_MAX: usize = 16;

/// The picture of a report: of all its members, or of those that are unwell where they are many; none where nothing is known against
/// anybody.
pub(super) fn of_report(report: &Report, drawing: Drawing) -> Option<String> {
    let none = Map::new(report.members.len());
    let map = report.map.as_ref().unwrap_or(&none);
    let names: Vec<String> = report.members.iter().map(|member| format!("#{} {}", member.index, member.name)).collect();
    let mut rows: Vec<usize> = (0..names.len()).collect();
    if rows.len() > ROWS_MAX {
        rows.retain(|&row| map.worst(row, ByteRange::new(0, report.size)) != Part::Alike);
        rows.truncate(ROWS_MAX);
    }
    let scene = Scene { size: report.size, names: &names, rows: &rows, partitions: &report.partitions, map };
    Some(scene.drawn(drawing)).filter(|picture| !picture.is_empty())
}

/// Columns of a name at most and at least, and of the picture at least.
const NAME_MAX: usize = 24;
const NAME_MIN: usize = 8;
const WIDTH_MIN: usize = 16;

impl Scene<'_> {
    /// The picture, with ANSI styles.
    pub(super) fn drawn(&self, drawing: Drawing) -> String {
        if self.size == 0 || self.rows.is_empty() {
            return String::new();
        }
        let name_max = NAME_MAX.min(drawing.columns / 4).max(NAME_MIN);
        let names: Vec<String> = self.rows.iter().map(|&row| shortened(&self.names[row], name_max)).collect();
        let lead = names.iter().map(|name| textwrap::core::display_width(name)).max().unwrap_or(0);
        let width = drawing.columns.saturating_sub(lead + 2).max(WIDTH_MIN);
        let indent = " ".repeat(lead + 1);
        let mut lines = Vec::new();
        let labels = self.labels(width);
        if !labels.is_empty() {
            lines.push(format!("{indent}{DIM}{labels}{DIM:#}"));
        }
        let mut met = Vec::new();
        for (&row, name) in self.rows.iter().zip(&names) {
            let parts = if drawing.blocks { width * 2 } else { width };
            let parts: Vec<Part> = (0..parts).map(|part| self.map.worst(row, self.range(part, parts))).collect();
            met.extend(parts.iter().copied());
            let cells: Vec<(Style, char)> = if drawing.blocks {
                parts.chunks(2).map(block).collect()
            } else {
                parts.iter().map(|&part| (style(part), part.letter())).collect()
            };
            let gap = " ".repeat(lead - textwrap::core::display_width(name));
            lines.push(format!("{name}{gap} {}", painted(&cells)));
        }
        lines.push(format!("{indent}{DIM}{}{DIM:#}", self.scale(width)));
        let known = Part::WORSE.iter().filter(|part| met.contains(part));
        let legend: Vec<String> = known.map(|&part| legend(part, drawing.blocks)).collect();
        if !legend.is_empty() {
            lines.push(format!("{indent}{}", legend.join("  ")));
        }
        lines.join("\n")
    }

    /// The bytes of a part.
    fn range(&self, part: usize, parts: usize) -> ByteRange {
        let at = |part: usize| (u128::from(self.size) * part as u128 / parts as u128) as u64;
        // Of an image with fewer bytes than parts each byte has several.
        let start = at(part).min(self.size - 1);
        ByteRange::new(start, at(part + 1).max(start + 1))
    }

    /// Partitions' names where they begin, as far as there is room.
    fn labels(&self, width: usize) -> String {
        let column = |offset: u64| (u128::from(offset.min(self.size)) * width as u128 / u128::from(self.size)) as usize;
        let mut line = String::new();
        let mut used = 0;
        for partition in self.partitions {
            let (from, to) = (column(partition.offset), column(partition.offset.saturating_add(partition.length)).min(width));
            let room = to.saturating_sub(from.max(used) + 1);
            if room < 2 {
                continue;
            }
            let label = shortened(&format!("|{}", partition.label), room);
            line += &" ".repeat(from.max(used) - used);
            used = from.max(used) + textwrap::core::display_width(&label);
            line += &label;
        }
        line
    }

    /// The ends, and the middle.
    fn scale(&self, width: usize) -> String {
        let (middle, end) = (human_size(self.size / 2), human_size(self.size));
        let gap = width.saturating_sub(end.len());
        let half = width / 2;
        if half + middle.len() + 1 < gap { format!("{:<half$}{middle:<1$}{end}", "0", gap - half) } else { format!("{:<gap$}{end}", "0") }
    }
}

fn colour(part: Part) -> Option<AnsiColor> {
    match part {
        Part::Alike => None,
        Part::Data => Some(AnsiColor::Cyan),
        Part::Filler | Part::Absent => Some(AnsiColor::Blue),
        Part::Outvoted => Some(AnsiColor::Yellow),
        Part::Unstable | Part::Unreadable => Some(AnsiColor::Magenta),
        Part::Undecided | Part::Failed => Some(AnsiColor::Red),
    }
}

fn style(part: Part) -> Style {
    colour(part).map_or(DIM, AnsiColor::on_default)
}

/// Two parts in one column.
fn block(pair: &[Part]) -> (Style, char) {
    let (left, right) = (pair[0], pair.get(1).copied().unwrap_or(pair[0]));
    match (colour(left), colour(right)) {
        (None, None) => (DIM, '\u{b7}'),
        (Some(one), Some(other)) if one == other => (one.on_default(), '\u{2588}'),
        (Some(one), None) => (one.on_default(), '\u{258c}'),
        (None, Some(one)) => (one.on_default(), '\u{2590}'),
        (Some(one), Some(other)) => (one.on_default().bg_color(Some(Color::Ansi(other))), '\u{258c}'),
    }
}

/// What stands side by side in one style is written in one go: such a line goes over ssh.
fn painted(cells: &[(Style, char)]) -> String {
    let mut text = String::new();
    for run in cells.chunk_by(|one, other| one.0 == other.0) {
        let style = run[0].0;
        let letters: String = run.iter().map(|cell| cell.1).collect();
        let _ = write!(text, "{style}{letters}{style:#}");
    }
    text
}

fn legend(part: Part, blocks: bool) -> String {
    let what = if blocks { '\u{2588}' } else { part.letter() };
    format!("{} {}", painted(&[(style(part), what)]), part.word())
}

#[cfg(test)]
mod tests {
    use super::{Drawing, Map, Part, Scene};
    use crate::{report::PartitionSpan, vote::ByteRange};

    fn drawn(columns: usize, blocks: bool, size: u64) -> String {
        let mut map = Map::new(3);
        map.mark(1, ByteRange::new(size / 2, size / 2 + 1), Part::Outvoted);
        map.mark(2, ByteRange::new(size - 1, size), Part::Unreadable);
        let partition = |label: &str, offset, length| PartitionSpan { label: label.into(), offset, length };
        let partitions = [partition("1 (boot)", 0, size / 4), partition("2 (a root with a very long name)", size / 4, size - size / 4)];
        let names = ["#0 a.img".to_owned(), "#1 /srv/replicas/room-b/vm1/disk0.img".to_owned(), "#2 c.img".to_owned()];
        let scene = Scene { size, names: &names, rows: &[0, 1, 2], partitions: &partitions, map: &map };
        anstream::adapter::strip_str(&scene.drawn(Drawing { columns, blocks })).to_string()
    }

    #[test]
    fn each_member_has_a_row_and_it_fits() {
        let text = drawn(80, false, 1 << 30);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 6, "{text}");
        assert!(rows[0].contains("|1 (boot)") && rows[0].contains("|2 (a root"), "{text}");
        assert_eq!((rows[1].matches('x').count(), rows[2].matches('x').count()), (0, 1), "{text}");
        assert!(rows[3].ends_with('u') && rows[4].ends_with("1 GiB") && rows[5].ends_with("x outvoted  u unreadable"), "{text}");
        for (columns, blocks, size) in [(80, true, 1 << 40), (40, false, 5), (40, true, 1), (200, true, 4096), (3, false, 1 << 20)] {
            let text = drawn(columns, blocks, size);
            assert!(text.lines().all(|line| textwrap::core::display_width(line) <= columns.max(40)), "{columns}: {text}");
        }
        assert!(drawn(80, true, 1 << 30).contains('\u{2590}') || drawn(80, true, 1 << 30).contains('\u{258c}'));
    }
}
