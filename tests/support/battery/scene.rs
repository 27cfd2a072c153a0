//! What a command is run on: files that it would take, beside those that it has to refuse.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
};

use super::{Subject, Takes};
use crate::support::{KIB, Lab, Output, Run, refusal, sectors};

/// None of them.
pub const NO_OPTIONS: [&str; 0] = [];

/// A lab with what the subject takes, and with work for it to do: what isn't refused leaves its traces.
pub struct Scene<'a> {
    pub subject: &'a Subject,
    pub lab: Lab,
    /// Voters, images, or one journal.
    pub operands: Vec<PathBuf>,
    /// Bound to `socket`.
    _listener: UnixListener,
}

impl<'a> Scene<'a> {
    pub fn new(subject: &'a Subject) -> Self {
        let lab = Lab::new();
        let [a, b, c] = lab.copies("disk.img", 64 * KIB);
        lab.damage(&a, sectors(3..4));
        let operands = match subject.takes {
            Takes::Voters => vec![a, b, c],
            Takes::Images => vec![a, b],
            Takes::Journal => {
                lab.quorum_img(["repair", "--in-place"]).args([&a, &b, &c]).exits(0);
                vec![lab.path("disk-0.img.quorum-journal")]
            }
        };
        // What is neither image nor journal, by names that tell.
        lab.file("text", "precious");
        fs::create_dir(lab.path("folder")).expect("a folder");
        nix::unistd::mkfifo(&lab.path("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let listener = UnixListener::bind(lab.path("socket")).expect("a socket");
        for (target, link) in [("fifo", "to-fifo"), ("nowhere", "dangling"), ("circle", "circle"), ("..", "folder/up")] {
            symlink(target, lab.path(link)).expect("a link");
        }
        Self { subject, lab, operands, _listener: listener }
    }

    /// Other names of a file in the lab.
    pub fn other_names(&self, file: &Path) -> Vec<PathBuf> {
        let name = Path::new(file.file_name().expect("a name"));
        fs::hard_link(file, self.lab.path("hard")).expect("a hard link");
        for (target, link) in [(name, "soft"), (Path::new("soft"), "softer")] {
            symlink(target, self.lab.path(link)).expect("a link");
        }
        let detours = ["./", "folder/..", "folder/up"].map(|detour| Path::new(detour).join(name));
        [file, name, Path::new("hard"), Path::new("soft"), Path::new("softer")].map(Path::to_owned).into_iter().chain(detours).collect()
    }

    /// Every member by its name, and one of them by all others, each with the name that a message must show.
    pub fn members_by_name(&self) -> Vec<(PathBuf, String)> {
        let name = |file: &Path| file.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned();
        let by_name = self.operands.iter().map(|member| (member.clone(), name(member)));
        let second = &self.operands[1];
        by_name.chain(self.other_names(second).into_iter().map(|other| (other, name(second)))).collect()
    }

    /// The subject's command line.
    pub fn line<O: AsRef<OsStr>>(&self, options: impl IntoIterator<Item = O>, operands: &[PathBuf]) -> Vec<OsString> {
        let options = options.into_iter().map(|option| option.as_ref().to_owned());
        self.subject.words.iter().map(OsString::from).chain(options).chain(operands.iter().map(OsString::from)).collect()
    }

    /// The operands with this one wherever one can stand.
    pub fn operands_with(&self, stranger: &Path) -> Vec<Vec<PathBuf>> {
        // What only looks tells of the others all the same.
        if self.subject.words[0] == "info" {
            return vec![vec![stranger.to_owned()]];
        }
        let with = |at: usize| {
            let mut operands = self.operands.clone();
            stranger.clone_into(&mut operands[at]);
            operands
        };
        (0..self.operands.len()).map(with).collect()
    }

    /// Fails unless the operand is refused wherever it stands, and named.
    pub fn refuses_operand(&self, stranger: impl AsRef<Path>, shown: &str) {
        for operands in self.operands_with(stranger.as_ref()) {
            // A name that is none may be clap's to refuse.
            let hint = if stranger.as_ref().as_os_str().is_empty() { "" } else { "hint:" };
            self.refuses(NO_OPTIONS, &operands, &[shown, hint]);
        }
    }

    /// Fails unless this is refused with these words, whatever is forced.
    pub fn refuses<O: AsRef<OsStr> + Clone>(&self, options: impl IntoIterator<Item = O>, operands: &[PathBuf], words: &[&str]) {
        self.refuses_line(&self.line(options, operands), words);
    }

    /// This value of an option, whatever else is right.
    pub fn refuses_value(&self, option: &str, value: impl Into<OsString>, words: &[&str]) {
        self.refuses([option.into(), value.into()], &self.operands, words);
    }

    /// As [`refuses`](Self::refuses), by all words of the line.
    pub fn refuses_line(&self, line: &[OsString], words: &[&str]) {
        let forced = self.subject.force.map(|force| [&line[..1], &["--force".into(), force.into()], &line[1..]].concat());
        for line in [Some(line.to_vec()), forced].into_iter().flatten() {
            let output = refusal::refused(&self.lab, line);
            assert_explained(&output);
            for word in words {
                output.complains(word);
            }
        }
    }

    /// As [`refuses`](Self::refuses) for a single run that was prepared in some way.
    pub fn refuses_run(&self, run: Run, words: &[&str]) {
        let before = self.lab.state();
        let output = run.within(refusal::AT_ONCE).exits(3);
        assert_eq!(self.lab.state(), before, "something was written\n{output}");
        refusal::assert_clean(&output);
        assert_explained(&output);
        for word in words {
            output.complains(word);
        }
    }
}

/// Our own messages end with a hint (clap's point to the help), and no name makes a line of its own.
pub fn assert_explained(output: &Output) {
    let said = output.stderr();
    let ours = said.lines().any(|line| line.starts_with("quorum-img: "));
    assert!(!ours || said.lines().any(|line| line.starts_with("hint: ")), "no way out is shown\n{output}");
    assert!(!said.lines().any(|line| line.starts_with(refusal::FORGED)), "a name made a line of its own\n{output}");
}
