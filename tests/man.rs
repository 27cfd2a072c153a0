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
    pages_of(&top, "quorum-img", &mut pages);
    for (source, file, title, section, about) in TEXTS {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(source)).expect("it is kept in docs/");
        pages.push((file.to_owned(), page_of_text(&text, title, section, about)));
    }
    pages
}

/// The pages of what is below a command.
fn pages_of(command: &Command, name: &str, pages: &mut Vec<(String, String)>) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let name = format!("{name}-{}", sub.get_name());
        pages.push((format!("{name}.1"), page(sub, &name)));
        pages_of(sub, &name, pages);
    }
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
            let _ = writeln!(text, ".TP\n\\fB{}\\-{}\\fR(1)\n{}", escaped(name), sub.get_name(), escaped(&about));
        }
    }
    text + &sections_of(&extra)
}

/// Headings stand at the margin and end with a colon. Below them paragraphs are indented by two blanks, command lines by four, and a line with a word,
/// blanks and a text is an entry of a list.
fn sections_of(text: &str) -> String {
    let mut roff = String::new();
    let mut literal = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let command = line.strip_prefix("    ").filter(|line| !line.starts_with(' '));
        if literal && command.is_none() {
            roff += ".fi\n.RE\n";
            literal = false;
        }
        if let Some(heading) = line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
            let _ = writeln!(roff, ".SH {}", heading.to_uppercase());
        } else if let Some(command) = command {
            if !literal {
                roff += ".RS 4\n.nf\n";
                literal = true;
            }
            let _ = writeln!(roff, "{}", escaped(command));
        } else {
            let line = line.strip_prefix("  ").unwrap_or(line);
            match line.split_once("  ").filter(|(word, _)| !word.contains(' ')) {
                Some((word, text)) => drop(writeln!(roff, ".TP\n\\fB{}\\fR\n{}", escaped(word), escaped(text.trim_start()))),
                None => drop(writeln!(roff, ".PP\n{}", escaped(line))),
            }
        }
    }
    if literal { roff + ".fi\n.RE\n" } else { roff }
}

/// Pages of other sections, from the texts in `docs/`: file, title, section, and what it is.
const TEXTS: [(&str, &str, &str, &str, &str); 2] = [
    ("report.md", "quorum-img-report.5", "quorum-img-report", "5", "the JSON report and the events of quorum-img"),
    ("vote.md", "quorum-img.7", "quorum-img", "7", "how copies of a disk vote, and what to do where they disagree"),
];

/// A page of such a text.
fn page_of_text(text: &str, title: &str, section: &str, about: &str) -> String {
    let mut roff = format!(".TH {title} {section} \"\" \"{SOURCE}\"\n.SH NAME\n{} \\- {about}\n.SH DESCRIPTION\n", escaped(title));
    let (mut literal, mut open) = (false, false);
    let mut header: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("<!--")) {
        let command = line.trim_start();
        let is_command = line.starts_with("       ") || (line.starts_with("    ") && command.starts_with("quorum-img"));
        if literal && !is_command {
            roff += ".fi\n.RE\n";
            literal = false;
        }
        if line.is_empty() {
            open = false;
        } else if is_command {
            if !literal {
                roff += ".RS 4\n.nf\n";
                literal = true;
            }
            let _ = writeln!(roff, "{}", escaped(command));
            open = false;
        } else if let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix('|')) {
            let cells: Vec<String> = cells.split(" | ").map(|cell| inline(cell.trim())).collect();
            if cells.iter().all(|cell| cell.chars().all(|c| c == '-' || c == '\\')) {
                continue; // the line below a table's head
            }
            if header.is_empty() {
                header = cells;
                continue;
            }
            let rest = cells[1..].iter().zip(&header[1..]).filter(|(cell, _)| !cell.is_empty());
            let rest: Vec<String> = rest
                .map(|(cell, head)| if header.len() > 3 || header[0] == "code" { format!("{head}: {cell}") } else { cell.clone() })
                .collect();
            let _ = writeln!(roff, ".TP\n{}\n{}", cells[0], rest.join("; "));
            open = false;
        } else if let Some(heading) = line.strip_prefix("## ") {
            let _ = writeln!(roff, ".SH {}", inline(heading).to_uppercase());
            header.clear();
        } else if let Some(heading) = line.strip_prefix("### ") {
            let _ = writeln!(roff, ".SS {}", inline(heading));
            header.clear();
        } else if line.starts_with("# ") {
            header.clear();
        } else if let Some(item) = line.strip_prefix("- ") {
            let _ = writeln!(roff, ".IP \\(bu 2\n{}", inline(item));
            open = true;
        } else if let Some((number, item)) = line.split_once(". ").filter(|(number, _)| number.parse::<u8>().is_ok()) {
            let _ = writeln!(roff, ".IP {number}. 4\n{}", inline(item));
            open = true;
        } else {
            if !open {
                header.clear();
                if !line.starts_with(' ') {
                    roff += ".PP\n";
                }
            }
            let _ = writeln!(roff, "{}", inline(line.trim_start()));
            open = true;
        }
    }
    if literal { roff + ".fi\n.RE\n" } else { roff }
}

/// Text with its words in bold and in code, and without its links.
fn inline(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        if let Some((name, after)) = link.split_once("](").and_then(|(name, rest)| Some((name, rest.split_once(')')?.1))) {
            plain += before;
            plain += name;
            rest = after;
        } else {
            plain += before;
            plain.push('[');
            rest = link;
        }
    }
    plain += rest;
    let text = escaped(&plain);
    let bold = |text: &str, mark: &str| {
        let parts = text.split(mark).enumerate();
        parts.map(|(place, part)| if place % 2 == 1 { format!("\\fB{part}\\fR") } else { part.to_owned() }).collect::<String>()
    };
    bold(&bold(&text, "**"), "`")
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
