//! The man pages in `man/` say what the program says of itself. `UPDATE_MAN=1 cargo test --test man` writes them anew.

use std::{env, fmt::Write as _, fs, path::Path};

use clap::Command;
use clap_mangen::Man;

/// What the pages' last line names.
const SOURCE: &str = concat!("quorum-img ", env!("CARGO_PKG_VERSION"));

/// The pages by their file names.
fn pages() -> Vec<(String, String)> {
    let mut top = quorum_img::cli::command().disable_help_subcommand(true);
    top.build();
    let mut pages = vec![("quorum-img.1".to_owned(), page(&top, "quorum-img"))];
    for command in top.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("quorum-img-{}", command.get_name());
        pages.push((format!("{name}.1"), page(command, &name)));
    }
    pages
}

/// One page: clap's own sections, and those that stand at the end of the long help.
fn page(command: &Command, name: &str) -> String {
    let mut roff = Vec::new();
    let extra = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string).unwrap_or_default();
    let shown = command.clone().display_name(name.to_owned()).version(env!("CARGO_PKG_VERSION"));
    let man = Man::new(shown.after_help("").after_long_help("")).title(name).source(SOURCE).date("");
    for render in [Man::render_title, Man::render_name_section] {
        render(&man, &mut roff).expect("a vector takes all");
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace(['<', '>'], "");
    roff.extend(format!(".SH SYNOPSIS\n{}\n", escaped(&usage)).bytes());
    man.render_description_section(&mut roff).expect("a vector takes all");
    man.render_options_section(&mut roff).expect("a vector takes all");
    let mut text = String::from_utf8(roff).expect("man pages are text");
    if command.has_subcommands() {
        text += ".SH COMMANDS\n";
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, ".TP\n\\fBquorum\\-img\\-{}\\fR(1)\n{}", sub.get_name(), escaped(&about));
        }
    }
    text + &sections_of(&extra)
}

/// Headings stand at the margin and end with a colon; what is below them is shown as it is.
fn sections_of(text: &str) -> String {
    let mut roff = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
            Some(heading) => {
                let end = if roff.is_empty() { "" } else { ".fi\n" };
                let _ = writeln!(roff, "{end}.SH {}\n.nf", heading.to_uppercase());
            }
            None => {
                let _ = writeln!(roff, "{}", escaped(line.strip_prefix("  ").unwrap_or(line)));
            }
        }
    }
    if roff.is_empty() { roff } else { roff + ".fi\n" }
}

/// Text as roff takes it: no line is a request, a hyphen is the one that can be copied to a shell.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

#[test]
fn man_pages_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    for (file, text) in pages() {
        let path = folder.join(&file);
        if env::var_os("UPDATE_MAN").is_some() {
            fs::write(&path, &text).expect("man/ can be written");
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(there == text, "man/{file} is out of date: UPDATE_MAN=1 cargo test --test man");
    }
}
