//! Text on a page.

use crate::member::escaped;

/// Text as HTML takes it: no markup, no control character, nothing that turns the writing direction.
pub(super) fn text(raw: &str) -> String {
    let mut html = String::with_capacity(raw.len());
    for character in escaped(raw).chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// The same of several lines.
pub(super) fn text_lines(raw: &str) -> String {
    raw.lines().map(text).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn no_markup_comes_through() {
        assert_eq!(text("<script>alert('&\"')</script>"), "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;");
        assert_eq!(text("a\u{1b}[31m\u{202e}b\n"), "a\\u{1b}[31m\\u{202e}b\\n");
    }
}
