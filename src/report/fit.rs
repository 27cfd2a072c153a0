//! Lines that fit a terminal.

use textwrap::{Options, core::display_width};

/// A name of at most so many columns, shortened in the middle: its beginning tells where, its end which.
pub(super) fn shortened(name: &str, columns: usize) -> String {
    const GAP: &str = "...";
    if display_width(name) <= columns || columns <= GAP.len() {
        return name.to_owned();
    }
    let room = columns - GAP.len();
    let take = |chars: &mut dyn Iterator<Item = char>, room: usize| -> Vec<char> {
        let mut width = 0;
        let mut fits = |c: &char| {
            width += display_width(c.encode_utf8(&mut [0; 4]));
            width <= room
        };
        chars.take_while(|c| fits(c)).collect()
    };
    let start: String = take(&mut name.chars(), room / 3).into_iter().collect();
    let end: String = take(&mut name.chars().rev(), room - room / 3).into_iter().rev().collect();
    format!("{start}{GAP}{end}")
}

/// Text whose lines are no longer than `columns`, broken between words; what follows a break begins with `indent`. A line with a command stays
/// as it is: it is to be copied.
#[must_use]
pub fn wrapped(text: &str, columns: usize, indent: &str) -> String {
    let options = Options::new(columns).subsequent_indent(indent).break_words(false).word_splitter(textwrap::WordSplitter::NoHyphenation);
    let wrap = |line: &str| if line.contains("quorum-img ") { line.to_owned() } else { textwrap::fill(line, &options) };
    text.split('\n').map(wrap).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{shortened, wrapped};

    #[test]
    fn names_keep_their_beginning_and_their_end() {
        assert_eq!(shortened("/mnt/s1/vm1.img", 15), "/mnt/s1/vm1.img");
        assert_eq!(shortened("/srv/replicas/room-b/vm1/disk0.img", 21), "/srv/r...m1/disk0.img");
        let wide = shortened("/日本語日本語日本語日本語/ディスク.img", 20);
        assert!(textwrap::core::display_width(&wide) <= 20 && wide.ends_with("ク.img"), "{wide}");
    }

    #[test]
    fn lines_break_between_words_and_commands_stay() {
        let text = "one two three four five six\nhint: quorum-img undo a.journal takes back what was written so far";
        assert_eq!(
            wrapped(text, 14, "  "),
            "one two three\n  four five\n  six\nhint: quorum-img undo a.journal takes back what was written so far"
        );
        let path = "/a/very/long/path/without/any/blank: gone";
        assert_eq!(wrapped(path, 10, ""), "/a/very/long/path/without/any/blank:\ngone");
    }
}
