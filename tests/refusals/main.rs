//! What each command refuses: the whole battery for all of them. A new one gets it in ten lines.

#[macro_use]
#[path = "../support/battery/mod.rs"]
mod battery;
#[path = "../support/mod.rs"]
mod support;

mod check {
    use super::battery::Subject;

    const CHECK: Subject = Subject { foreign: &["--in-place", "--dry-run", "-onew.img"], ..Subject::voting(&["check"]) };
    battery!(CHECK: command_line, operands, voters, reports; options:
        allow_references, cache, color, diagnose, donor, filler, format, mapfile, max_damage, max_divergences, output, picture, range, rate_limit,
        read_pattern, report, sector_size, shard, size, snapshot, sums, threads, threshold, timeout, trust);
}

mod set_create {
    use super::battery::Subject;

    const CREATE: Subject = Subject {
        foreign: &["--in-place", "--dry-run", "--shard=0/2", "--range=0:512", "--from=missing", "-onew.img"],
        ..Subject::voting(&["set", "create", "new.qset"])
    };
    battery!(CREATE: command_line, operands, voters, reports; options:
        color, diagnose, format, import, max_divergences, output, picture, policy, rate_limit, report);
}

mod check_of_the_medium {
    use super::battery::Subject;

    const CHECK: Subject = Subject::voting(&["check", "-T", "none"]);
    battery!(CHECK: operands, voters);
}

mod show {
    use super::battery::Subject;

    const SHOW: Subject = Subject {
        foreign: &["--in-place", "--dry-run", "-onew.img", "--report=r", "--range=0:512", "--from=missing"],
        ..Subject::voting(&["show", "0"])
    };
    battery!(SHOW: command_line, operands, company; options:
        allow_references, cache, color, donor, filler, format, lines, mapfile, output, places, rate_limit, sector_size, size, snapshot, threads,
        threshold, timeout, trust);
}

mod digest {
    use super::battery::Subject;

    const DIGEST: Subject = Subject {
        force: Some("overwrite"),
        foreign: &["--in-place", "--dry-run", "--report=r", "--range=0:512", "--from=missing"],
        ..Subject::voting(&["digest", "-o", "new.qdg"])
    };
    battery!(DIGEST: command_line, operands, company; options:
        allow_references, cache, chunk_size, color, filler, force, format, hash, mapfile, output, rate_limit, sector_size, shard, size,
        snapshot, threads, threshold, timeout, trust);
}

mod repair_to_a_new_image {
    use super::battery::Subject;

    const REPAIR: Subject = Subject {
        force: Some("device,overwrite,stale,newer"),
        foreign: &[
            "--dry-run",
            "--max-damage=5",
            "--no-write=#1",
            "--truncate",
            "--journal=j",
            "--no-journal",
            "-y",
            "--yes",
            "--in-place",
        ],
        ..Subject::voting(&["repair", "-o", "new.img"])
    };
    battery!(REPAIR: command_line, operands, voters, reports, new_images; options:
        allow_references, cache, color, diagnose, donor, expect_b3sum, expect_sha256, filler, force, format, from, mapfile, max_divergences, output,
        output_options, pick, picture, range, rate_limit, read_pattern, reflink, report, sector_size, size, snapshot, sparse_size,
        target_format, threads, threshold, timeout, trust, undecided);
}

mod repair_in_place {
    use super::battery::Subject;

    const REPAIR: Subject = Subject {
        force: Some("overwrite,stale,newer,no-locks"),
        foreign: super::NOT_IN_PLACE,
        ..Subject::voting(&["repair", "--in-place"])
    };
    battery!(REPAIR: command_line, operands, voters, reports, new_journals; options:
        allow_references, cache, color, diagnose, donor, filler, force, format, from, journal, mapfile, max_damage, max_divergences, no_write,
        output, pick, picture, range, rate_limit, read_pattern, report, sector_size, size, snapshot, threads, threshold, timeout, trust);
}

mod plan_of_a_repair_in_place {
    use super::battery::Subject;

    const PLAN: Subject = Subject {
        force: Some("overwrite,stale,newer,no-locks"),
        foreign: super::NOT_IN_PLACE,
        ..Subject::voting(&["repair", "--in-place", "--dry-run"])
    };
    battery!(PLAN: command_line, operands, voters, reports, new_journals; options:
        allow_references, cache, color, diagnose, donor, filler, force, format, from, journal, mapfile, max_damage, max_divergences, no_write,
        output, pick, picture, range, rate_limit, read_pattern, report, sector_size, size, snapshot, threads, threshold, timeout, trust);
}

mod undo {
    use super::battery::Subject;

    const UNDO: Subject = Subject {
        force: Some("changed,no-locks,device"),
        foreign: &["--in-place", "--trust=#0", "--range=0:512"],
        ..Subject::undoing(&["undo"])
    };
    battery!(UNDO: command_line, operands, undone_journals; options:
        color, force, map, output, rate_limit, timeout);
}

mod plan_of_an_undo {
    use super::battery::Subject;

    const PLAN: Subject = Subject { force: Some("changed,no-locks,device"), ..Subject::undoing(&["undo", "--dry-run"]) };
    battery!(PLAN: command_line, operands, undone_journals; options:
        color, force, map, output, rate_limit, timeout);
}

mod info {
    use super::battery::Subject;

    const INFO: Subject = Subject { foreign: &["--output=events"], ..Subject::looking(&["info"]) };
    battery!(INFO: command_line, operands; options:
        allow_references, cache, color, format, output, picture, snapshot, timeout);
}

/// What only `-o` takes.
const NOT_IN_PLACE: &[&str] = &[
    "-U",
    "--force-share",
    "--read-pattern=fifo",
    "--undecided=zero",
    "--undecided=first",
    "--expect-b3sum=0000000000000000000000000000000000000000000000000000000000000000",
    "--expect-sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "-S0",
    "--sparse-size=4k",
    "--reflink=never",
    "--no-verify",
    "--target-format=qcow2",
    "--compress",
    "--output-options=cluster_size=64k",
    "-o=new.img",
    "-o=disk-0.img",
];
