//! Completions work as typed, in the shells themselves: subcommands, options and their values.

#[path = "support/mod.rs"]
mod support;

use support::{Lab, needs};

/// What is typed, and a word that must be offered for it.
const TYPED: [(&str, &str); 6] = [
    ("quorum-img che", "check"),
    ("quorum-img repair --in-pl", "--in-place"),
    ("quorum-img check --thresh", "--threshold"),
    ("quorum-img check --output js", "json"),
    ("quorum-img show --cache no", "none"),
    ("quorum-img completions zs", "zsh"),
];

fn script(lab: &Lab, shell: &str, name: &str) {
    let made = lab.quorum_img(["completions", shell]).exits(0);
    lab.file(name, &made.stdout);
}

/// After a subcommand nothing but files came: two spellings of the program's name didn't agree.
#[test]
fn bash_completes() {
    let lab = Lab::new();
    script(&lab, "bash", "quorum-img.bash");
    // As readline does it: the function that `complete` names, with the words, the number of the last one, and three arguments.
    let driver = r#"
        source ./quorum-img.bash
        made=$(complete -p quorum-img)
        function=${made#*-F }; function=${function%% *}
        read -ra COMP_WORDS <<< "$1"
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        COMP_LINE=$1 COMP_POINT=${#1}
        $function quorum-img "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    for (typed, expected) in TYPED {
        let run = lab.program("bash").args(["-c", driver, "bash", typed]).exits(0);
        assert!(run.stdout().lines().any(|line| line == expected), "{typed}: {expected}\n{run}");
    }
}

#[test]
fn fish_completes() {
    if !needs("fish") {
        return;
    }
    let lab = Lab::new();
    script(&lab, "fish", "quorum-img.fish");
    // clap_complete tells fish nothing of a command's own words.
    for (typed, expected) in &TYPED[..5] {
        let line = format!("source quorum-img.fish; complete -C '{typed}'");
        let run = lab.program("fish").args(["--no-config", "-c", &line]).env("HOME", lab.folder().to_str().expect("text")).exits(0);
        assert!(run.stdout().lines().any(|line| line.split('\t').next() == Some(*expected)), "{typed}: {expected}\n{run}");
    }
}

#[test]
fn zsh_completes() {
    if !needs("zsh") {
        return;
    }
    let lab = Lab::new();
    script(&lab, "zsh", "_quorum-img");
    // zsh completes at a terminal alone: here is one, at which somebody types, presses the tabulator, and goes to the line's start to see it.
    let driver = r#"
        zmodload zsh/zpty
        zpty shell 'zsh -f -i'
        zpty -w shell "PROMPT='> '; fpath=($PWD \$fpath); autoload -U compinit; compinit -u -d $PWD/dump; unsetopt zle_bracketed_paste; print -r -- rea''dy"
        said=
        while zpty -r shell line '*'$'\n' && said+=$line && [[ $said != *ready$'\r'* ]]; do :; done
        zpty -n -w shell "$1"$'\t'
        said=
        for try in {1..100}; do
            while zpty -t -r shell part 2> /dev/null; do said+=$part; done
            [[ $said != *"$2"* ]] || break
            sleep 0.1
        done
        print -r -- "$said"
        zpty -d shell
    "#;
    for (typed, expected) in TYPED {
        let run = lab.program("zsh").args(["-f", "-c", driver, "zsh", typed, expected]).exits(0);
        assert!(run.stdout().contains(expected), "{typed}: {expected}\n{run}");
    }
}
