//! The race: this tool against its peers, on data that it makes itself, in one go and side by side.
//!
//!     cargo bench --bench race
//!     cargo bench --bench race -- --size-mib 512 --only warm,damaged
//!
//! Machines differ by factors and drift while they run, so a figure counts only beside the others of its race: the contestants take
//! turns (A B C A B C ...), and the yardstick is a *ceiling*, a bare loop of mmap and memcmp that does the least that any check must.
#![allow(unsafe_code)] // The ceiling compares mapped bytes by memcmp; a signal handler makes Ctrl-C clean up.

use std::{env, path::PathBuf, process::ExitCode, thread::available_parallelism};

/// The parts, in `benches/race/`.
mod race {
    pub mod ceiling;
    pub mod contest;
    pub mod data;
    pub mod digests;
    pub mod far;
    pub mod fio;
    pub mod images;
    pub mod in_place;
    pub mod machine;
    pub mod many;
    pub mod options;
    pub mod races;
    pub mod stale;
    pub mod write_ceiling;
    pub mod xfs;
}

use race::{
    ceiling,
    data::Sets,
    machine::{self, Outcome, Peers},
    options::{Call, HELP, Options},
    races::{Lab, RACES, Race},
    write_ceiling,
};

fn main() -> ExitCode {
    match Call::parse(env::args_os().skip(1)) {
        Ok(Call::Race(options)) => race(options).unwrap_or_else(|error| {
            eprintln!("race: {error}");
            ExitCode::FAILURE
        }),
        Ok(Call::Ceiling { threads, files }) => ceiling::main(threads, &files),
        Ok(Call::WriteCeiling(work)) => write_ceiling::main(&work),
        Ok(Call::Help) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        // `cargo test --all-targets` starts this program too, and must not wait for gigabytes.
        Ok(Call::Idle) => {
            println!("race: nothing to do under `cargo test`; run `cargo bench --bench race`");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("race: {error}\nhint: `cargo bench --bench race -- --help` lists the options");
            ExitCode::from(2)
        }
    }
}

/// Runs the races asked for. A missed target is said, not an error: the machine may be busy. A race that had to stop is one.
fn race(options: Options) -> Outcome<ExitCode> {
    machine::heed_signals();
    std::fs::create_dir_all(&options.dir)?;
    let dir = options.dir.canonicalize()?; // absolute: `file.filename=` and mount points need no working directory
    let program = env::var_os("QUORUM_IMG").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_quorum-img")), PathBuf::from);
    let chosen: Vec<&Race> = RACES.iter().filter(|race| options.chooses(race.name)).collect();

    let peers = Peers::find();
    machine::print_facts(&dir, &options, &program, &peers)?;
    let mut lab = Lab {
        sets: Sets::new(dir, options.size_bytes, options.keep),
        program,
        itself: env::current_exe()?,
        threads: available_parallelism().map_or(1, usize::from),
        options,
        peers,
        targets: Vec::new(),
        limits: Vec::new(),
    };

    let mut aborted = Vec::new();
    for (index, race) in chosen.iter().enumerate() {
        let needed_from_now_on: Vec<_> = chosen[index..].iter().flat_map(|race| race.needs).copied().collect();
        let outcome = lab.sets.keep_only(&needed_from_now_on).and_then(|()| {
            race.needs.iter().try_for_each(|&kind| lab.sets.build(kind))?;
            (race.run)(&mut lab)
        });
        if let Err(error) = outcome {
            println!("\n{}: ABORTED: {error}", race.name);
            aborted.push(race.name);
        }
        if machine::interrupted() {
            break;
        }
    }

    println!("\nTargets");
    lab.targets.iter().for_each(|target| println!("  {target}"));
    if lab.targets.is_empty() {
        println!("  none measured");
    }
    if !aborted.is_empty() {
        println!("  aborted: {}", aborted.join(", "));
    }
    lab.print_limits();
    let complete = aborted.is_empty() && !machine::interrupted();
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
