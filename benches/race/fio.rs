//! fio, which tells what a disk gives: the best of many ways to read the same files past the page cache.

use std::path::PathBuf;

use super::machine::{self, Outcome};

const BLOCKS: [&str; 4] = ["128k", "512k", "1M", "4M"];
const DEPTHS: [u32; 4] = [1, 4, 16, 64];
/// Those that are run again.
const AGAIN: usize = 3;

/// The best way.
pub struct Best {
    /// Seconds for all the files, as fio tells.
    pub seconds: f64,
    /// What it was.
    pub how: String,
}

/// Finds it; an error where fio isn't there.
pub fn best(files: &[PathBuf], size_bytes: u64, rounds: usize) -> Outcome<Best> {
    let ways = ["psync", "libaio", "io_uring"].into_iter().flat_map(|engine| BLOCKS.map(|block| (engine, block)));
    let ways = ways.flat_map(|(engine, block)| DEPTHS.map(|depth| (engine, block, depth)));
    let mut found = Vec::new();
    for way in ways {
        machine::go_on()?;
        found.push((run(files, size_bytes, way)?, way));
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.truncate(AGAIN);
    for (seconds, way) in &mut found {
        let mut all = vec![*seconds];
        for _ in 0..rounds {
            machine::go_on()?;
            all.push(run(files, size_bytes, *way)?);
        }
        all.sort_by(f64::total_cmp);
        *seconds = all[all.len() / 2];
    }
    let (seconds, (engine, block, depth)) = found.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).ok_or("no way was tried")?;
    Ok(Best { seconds, how: format!("{engine}, {block}, depth {depth}") })
}

/// One run in seconds. The files are read one after the other, which suits a disk; psync's depth is its jobs, each in a part of its own.
fn run(files: &[PathBuf], size_bytes: u64, (engine, block, depth): (&str, &str, u32)) -> Outcome<f64> {
    machine::drop_all_caches()?;
    let mut arguments: Vec<String> =
        ["--rw=read", "--direct=1", "--thread", "--group_reporting", "--output-format=json"].map(str::to_owned).to_vec();
    arguments.extend([format!("--ioengine={engine}"), format!("--bs={block}")]);
    let names: Vec<String> = files.iter().map(|file| file.to_string_lossy().replace(':', "\\:")).collect();
    if engine == "psync" {
        let part = size_bytes / u64::from(depth);
        for (file, name) in names.iter().enumerate() {
            for job in 0..u64::from(depth) {
                arguments.extend([format!("--name=job-{file}-{job}"), format!("--filename={name}")]);
                arguments.extend([format!("--offset={}", job * part), format!("--size={part}")]);
                if depth == 1 && file > 0 {
                    arguments.push("--stonewall".to_owned());
                }
            }
        }
    } else {
        arguments.extend([format!("--iodepth={depth}"), "--file_service_type=sequential".to_owned()]);
        arguments.extend(["--name=job".to_owned(), format!("--filename={}", names.join(":"))]);
    }
    let report: serde_json::Value = serde_json::from_str(&machine::run("fio", &arguments)?)?;
    let jobs = report["jobs"].as_array().ok_or("fio tells of no jobs")?;
    let milliseconds = jobs.iter().filter_map(|job| job["read"]["runtime"].as_u64());
    // Jobs behind a stone wall run one after the other.
    let all: u64 = if engine == "psync" && depth == 1 { milliseconds.sum() } else { milliseconds.max().unwrap_or(0) };
    Ok(all as f64 / 1000.0)
}
