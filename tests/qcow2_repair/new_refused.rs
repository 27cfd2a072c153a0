//! What can't be had of a new image is said at once, and nothing is written.

use super::{
    have_qemu,
    output::Copies,
    support::{GIB, Lab, noise, refusal::refused},
    words,
};

const MEMBERS: &str = "a.raw b.raw c.raw";

/// Members that take no time.
fn small() -> Copies {
    Copies::of(noise(1, 8192))
}

fn line(options: &str) -> Vec<String> {
    format!("repair -o out.q {options} {MEMBERS}").split_whitespace().map(str::to_owned).collect()
}

#[test]
fn raw_images_have_no_such_options() {
    let set = small();
    for options in ["-c", "--compress", "--output-options cluster_size=64k", "-O raw -c", "-O raw --output-options compat=1.1"] {
        refused(&set.lab, line(options)).complains("raw").complains("-O qcow2");
    }
}

#[test]
fn options_that_are_none() {
    let set = small();
    for (option, word) in [
        ("cluster_size=0", "cluster_size"),
        ("cluster_size=256", "cluster_size"),
        ("cluster_size=4M", "cluster_size"),
        ("cluster_size=5000", "cluster_size"),
        ("cluster_size=-1", "cluster_size"),
        ("cluster_size=99999999999999999999", "cluster_size"),
        ("cluster_size=16E", "cluster_size"),
        ("cluster_size=", "cluster_size"),
        ("cluster_size", "cluster_size"),
        ("compat=1.0", "compat"),
        ("compat=4", "compat"),
        ("compat=", "compat"),
        ("compression_type=lzma", "compression_type"),
        ("compression_type=ZLIB ", "compression_type"),
        ("preallocation=full", "preallocation"),
        ("backing_file=/etc/passwd", "backing_file"),
        ("data_file=x.raw", "data_file"),
        ("encrypt.format=luks", "encrypt.format"),
        ("size=1G", "size"),
        ("=", "="),
        ("cluster_size=64k,nonsense=1", "nonsense"),
        ("cluster_size=64k,,compat=v3", ""),
        ("", ""),
    ] {
        let mut words = line("-O qcow2 --output-options");
        words.insert(6, option.to_owned());
        assert_eq!(words[5], "--output-options");
        refused(&set.lab, &words).complains(word);
    }
}

/// Control characters are shown, never obeyed.
#[test]
fn hostile_options_are_shown_escaped() {
    let set = small();
    for option in ["\x1b[31m=1", "cluster_size=\x1b[2J", "compat=\r\n\x08", "\u{9b}31m"] {
        refused(&set.lab, ["repair", "-O", "qcow2", "-o", "out.q", "--output-options", option, "a.raw", "b.raw", "c.raw"]);
    }
}

#[test]
fn version_2_knows_no_zstd() {
    let set = small();
    for options in ["compat=0.10,compression_type=zstd", "compression_type=zstd,compat=v2"] {
        for compress in ["", "-c"] {
            refused(&set.lab, line(&format!("-O qcow2 --output-options {options} {compress}"))).complains("zstd");
        }
    }
}

#[test]
fn formats_that_are_not_written() {
    let set = small();
    for format in ["vmdk", "QCOW2", "qcow", "auto", ""] {
        refused(&set.lab, ["repair", "-O", format, "-o", "out.q", "a.raw", "b.raw", "c.raw"]);
    }
}

#[test]
fn in_place_makes_no_new_image() {
    let set = small();
    for options in ["-O qcow2", "-O raw", "-c", "--output-options cluster_size=64k"] {
        let line = format!("repair --in-place {options} {MEMBERS}");
        refused(&set.lab, words(&line));
    }
}

/// A table of more than 32 MiB is one that QEMU doesn't open.
#[test]
fn clusters_that_are_too_small_for_the_disk() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    for (size, cluster, fits) in [
        (128 * GIB + 512, "512", false),
        (200 * GIB, "512", false),
        (128 * GIB, "512", true),
        (513 * GIB, "1k", false),
        (513 * GIB, "2k", true),
        (10_000 * GIB, "4k", false),
    ] {
        for name in MEMBERS.split(' ') {
            lab.sparse(name, size);
        }
        let options = format!("-O qcow2 --force overwrite --output-options cluster_size={cluster}");
        if fits {
            let run = lab.quorum_img(line(&options)).exits(0);
            let info = super::image_info(&lab, "out.q");
            assert_eq!(info["virtual-size"], size, "{run}");
        } else {
            refused(&lab, line(&options)).complains("cluster_size");
        }
    }
}

/// A member never is the output, whatever the format.
#[test]
fn a_member_is_never_the_output() {
    let set = small();
    for force in ["", "--force overwrite", "--force overwrite,device"] {
        for output in ["a.raw", "./b.raw"] {
            let line = format!("repair -O qcow2 -o {output} {force} {MEMBERS}");
            refused(&set.lab, words(&line));
        }
    }
}
