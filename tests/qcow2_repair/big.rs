//! Big disks that hold little take little; and what ends too early leaves nothing behind.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::{
    assert_state, have_qemu, image_info,
    output::Copies,
    qemu_img,
    signals::wait_for_handler,
    state,
    support::{GIB, Lab, MIB, mounts::Mounted, noise, refusal::assert_clean, sectors},
    words,
};

const TIB: u64 = 1024 * GIB;

/// What a run may allocate (not: map of files) is bounded by the shell.
fn bounded() -> [String; 4] {
    ["sh".into(), "-c".into(), "ulimit -d 262144 && exec \"$@\"".into(), "sh".into()]
}

/// Islands of data in 8 TiB of nothing: three members, and what is right in `good.raw`.
fn islands(lab: &Lab) {
    for name in ["a.raw", "b.raw", "c.raw", "good.raw"] {
        let member = lab.sparse(name, 8 * TIB);
        for at in [0, 3 * GIB + 512, TIB - 4096, 5 * TIB + 12345 * 512, 8 * TIB - MIB] {
            lab.write(&member, at, &noise(at, 1 << 20));
        }
    }
    lab.damage(&lab.path("a.raw"), sectors(10..12));
    lab.damage(&lab.path("b.raw"), 5 * TIB + 12345 * 512..5 * TIB + 12346 * 512);
    // Data where there is nothing.
    lab.write(&lab.path("c.raw"), 2 * TIB, &[1; 4096]);
}

#[test]
fn big_sparse_disks_take_little_time_and_memory() {
    if !have_qemu() {
        return;
    }
    let lab = Lab::new();
    islands(&lab);
    for options in ["", "-c", "-c --output-options compression_type=zstd,cluster_size=2M", "--output-options cluster_size=32k"] {
        let line = "repair --output json -O qcow2 -o out.q --force overwrite a.raw b.raw c.raw";
        let run = lab.quorum_img(words(line)).args(words(options)).within(Duration::from_secs(30)).under(bounded()).exits(0);
        assert_eq!(image_info(&lab, "out.q")["virtual-size"], 8 * TIB, "{run}");
        qemu_img(&lab, "check -q -f qcow2 out.q");
        qemu_img(&lab, "compare -f qcow2 -F raw out.q good.raw");
        let (allocated, length) = (lab.allocated(&lab.path("out.q")), lab.path("out.q").metadata().expect("it is there").len());
        assert!(allocated < 128 * MIB && length < 256 * MIB, "{allocated} of {length} bytes\n{run}");
    }
}

/// A disk that takes seconds at the rate limit that the tests set.
fn slow() -> Copies {
    Copies::of(noise(3, 1 << 20))
}

#[test]
fn killed_in_the_middle_no_file_appears() {
    for options in ["", "-c", "--no-verify"] {
        for moment in [20, 150, 400, 900] {
            let set = slow();
            let before = state(&set.lab);
            let running = set.repair().args(words("--rate-limit 1M")).args(words(options)).start();
            thread::sleep(Duration::from_millis(moment));
            drop(running); // SIGKILL
            assert!(state(&set.lab) == before, "something is left behind after {moment} ms, {options}");
        }
    }
}

#[test]
fn interrupted_in_the_middle_no_file_appears() {
    for (options, moment) in [("", 100), ("-c", 700), ("--force overwrite", 300)] {
        let set = slow();
        if options.contains("overwrite") {
            set.lab.file("out.q", "precious");
        }
        let before = state(&set.lab);
        let mut running = set.repair().args(words("--rate-limit 1M")).args(words(options)).start();
        wait_for_handler(&mut running, libc::SIGINT);
        thread::sleep(Duration::from_millis(moment));
        let asked = Instant::now();
        running.signal("INT");
        let run = running.wait().expect_code(130);
        assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?} to stop\n{run}", asked.elapsed());
        assert_state(&before, &state(&set.lab), &run);
    }
}

/// A disk that is full: an error that names the file, and nothing is left behind.
#[test]
fn a_full_disk_is_an_error() {
    let set = Copies::new();
    let Some(small) = Mounted::tmpfs(set.lab.folder(), 700 << 10) else { return };
    let output = small.path().join("out.q");
    for options in ["", "-c", "--output-options cluster_size=512", "-S 0"] {
        for force in [None, Some("--force=space")] {
            let line = words("repair -O qcow2 a.raw b.raw c.raw -o");
            let run = set.lab.quorum_img(line).arg(&output).args(words(options)).args(force).exits(3);
            run.complains("out.q");
            assert_eq!(fs::read_dir(small.path()).expect("a folder").count(), 0, "something is left behind\n{run}");
            assert_clean(&run);
        }
    }
}
