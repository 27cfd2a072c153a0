//! One contest: contestants take turns, their times become a table.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Instant,
};

use super::{
    data,
    machine::{self, Outcome},
};

/// What the page cache holds of the files when a run begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// What the run before left; an uncounted round comes first.
    Warm,
    /// Their data, read anew before each run: for contests where somebody fills the cache with other things.
    Refilled,
    /// Nothing.
    Cold,
}

/// One command of a contestant.
struct Step {
    /// The exit code that it must end with.
    code: i32,
    program: OsString,
    arguments: Vec<OsString>,
}

/// What brings files to a state.
type Reset = dyn Fn() -> Outcome<()>;

/// One command, or several that run one after another and are timed together.
pub struct Contestant {
    who: String,
    steps: Vec<Step>,
    reads: Vec<PathBuf>,
    writes: Option<PathBuf>,
    /// What it changes and leaves there.
    rewrites: Option<PathBuf>,
    /// Brings its files to the state that each run begins with.
    before: Option<Box<Reset>>,
    /// Length of the clean image that must be in `rewrites` or `writes` after the first run.
    clean_bytes: Option<u64>,
    /// Whether one run must do.
    once: bool,
}

impl Contestant {
    /// Nothing to do yet.
    pub fn new(who: impl Into<String>, reads: &[PathBuf]) -> Self {
        Self {
            who: who.into(),
            steps: Vec::new(),
            reads: reads.to_vec(),
            writes: None,
            rewrites: None,
            before: None,
            clean_bytes: None,
            once: false,
        }
    }

    /// Adds a command that must end with `code`.
    pub fn step(mut self, code: i32, program: impl AsRef<OsStr>, arguments: &[&dyn AsRef<OsStr>]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.as_ref().to_os_string()).collect();
        self.steps.push(Step { code, program: program.as_ref().to_owned(), arguments });
        self
    }

    /// The same under another name.
    pub fn named(mut self, who: &str) -> Self {
        who.clone_into(&mut self.who);
        self
    }

    /// Has only this read anew of what it reads, where that is done.
    pub fn reading(mut self, path: &Path) -> Self {
        self.reads = vec![path.to_owned()];
        self
    }

    /// Says what it writes: deleted after each run, outside of its time.
    pub fn writes(mut self, path: &Path) -> Self {
        self.writes = Some(path.to_owned());
        self
    }

    /// Says what it changes in place.
    pub fn rewrites(mut self, path: &Path) -> Self {
        self.rewrites = Some(path.to_owned());
        self
    }

    /// Has this done before each run, outside of its time.
    pub fn before(mut self, reset: impl Fn() -> Outcome<()> + 'static) -> Self {
        self.before = Some(Box::new(reset));
        self
    }

    /// Has its output compared with the clean data once: a fast wrong repair wins nothing.
    pub fn proves_clean(mut self, size_bytes: u64) -> Self {
        self.clean_bytes = Some(size_bytes);
        self
    }

    /// Has it run in the first counted round only: for who is slower by orders of magnitude.
    pub fn once(mut self) -> Self {
        self.once = true;
        self.who += " (one run)";
        self
    }

    /// One run, in seconds.
    fn run(&self, cache: Cache, first: bool) -> Outcome<f64> {
        self.prepare(cache)?;
        let start = Instant::now();
        let mut ended = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            // Results go nowhere; standard error is kept for the case that all goes wrong.
            let output = Command::new(&step.program).args(&step.arguments).stdin(Stdio::null()).stdout(Stdio::null()).output();
            ended.push(output.map_err(|error| format!("{}: {error}", step.program.to_string_lossy()))?);
        }
        let seconds = start.elapsed().as_secs_f64();

        self.steps.iter().zip(&ended).try_for_each(|(step, output)| step.expect(output))?;
        if let Some(path) = self.rewrites.as_ref().or(self.writes.as_ref()).filter(|_| first) {
            self.prove(path)?;
        }
        if let Some(path) = &self.writes {
            data::remove_if_there(path)?;
        }
        Ok(seconds)
    }

    /// An error where the output should be the undamaged data and isn't.
    fn prove(&self, output: &Path) -> Outcome<()> {
        let Some(size_bytes) = self.clean_bytes else { return Ok(()) };
        let proven = data::holds_clean(output, size_bytes).map_err(|error| format!("{}: {error}", output.display()))?;
        if proven { Ok(()) } else { Err(format!("{}: its output is not the undamaged data", self.who).into()) }
    }

    /// Brings the machine to the state that `cache` names.
    fn prepare(&self, cache: Cache) -> Outcome<()> {
        if let Some(reset) = &self.before {
            reset()?;
        }
        if let Some(path) = &self.writes {
            data::remove_if_there(path)?;
            // Writing back what others wrote is not this one's work.
            machine::run("sync", ["-f".as_ref(), path.parent().ok_or("an output without a folder")?.as_os_str()])?;
        }
        if cache != Cache::Warm {
            machine::drop_cached(&self.reads)?;
        }
        if cache == Cache::Refilled {
            machine::read_data(&self.reads)?;
        }
        if cache == Cache::Cold {
            machine::drop_all_caches()?;
            // The images are to be cold, not the programs and their libraries.
            for step in &self.steps {
                _ = Command::new(&step.program).arg("--version").stdin(Stdio::null()).output();
            }
        }
        Ok(())
    }
}

impl Step {
    /// An error with all that one needs, where the exit code isn't the right one.
    fn expect(&self, output: &Output) -> Outcome<()> {
        if output.status.code() == Some(self.code) {
            return Ok(());
        }
        let ended = match (output.status.code(), output.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("ended by signal {}", signal.unwrap_or(0)),
        };
        let mut message = format!("{ended} instead of {} from\n  {}", self.code, self.program.to_string_lossy());
        for argument in &self.arguments {
            write!(message, " {}", argument.to_string_lossy())?;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        write!(message, "\nwhose standard error was:\n{}", if said.is_empty() { "(empty)" } else { said.trim_end() })?;
        Err(message.into())
    }
}

/// A contestant's place in its contest.
#[derive(Clone, Copy)]
pub struct Lane(usize);

/// Contestants that take turns.
pub struct Contest {
    title: String,
    cache: Cache,
    contestants: Vec<Contestant>,
    ceiling: Option<Lane>,
    notes: Vec<String>,
}

impl Contest {
    /// Nobody yet. The first to be added is *ours*, to whom the others are compared.
    pub fn new(title: impl Into<String>, cache: Cache) -> Self {
        Self { title: title.into(), cache, contestants: Vec::new(), ceiling: None, notes: Vec::new() }
    }

    /// Adds one.
    pub fn add(&mut self, contestant: Contestant) -> Lane {
        self.contestants.push(contestant);
        Lane(self.contestants.len() - 1)
    }

    /// Adds the one to whom all are compared in a column of its own.
    pub fn add_ceiling(&mut self, contestant: Contestant) -> Lane {
        let lane = self.add(contestant);
        self.ceiling = Some(lane);
        lane
    }

    /// Adds one whose program may be missing: then says so instead.
    pub fn add_peer(&mut self, there: bool, contestant: Contestant) {
        if there {
            self.add(contestant);
        } else {
            self.note(format!("{}: LEFT OUT, the program is missing here", contestant.who));
        }
    }

    /// Adds a line below the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Runs all rounds and prints the table.
    pub fn run(&self, rounds: usize) -> Outcome<Times> {
        println!("\n{}", self.title);
        let uncounted = usize::from(self.cache == Cache::Warm);
        let mut times = Times { seconds: vec![Vec::with_capacity(rounds); self.contestants.len()] };
        for round in 0..uncounted + rounds {
            for (lane, contestant) in self.contestants.iter().enumerate() {
                if contestant.once && round != uncounted {
                    continue;
                }
                machine::go_on()?;
                let seconds = contestant.run(self.cache, round == 0)?;
                if round >= uncounted {
                    times.seconds[lane].push(seconds);
                }
            }
        }
        self.print(&times);
        Ok(times)
    }

    /// Prints the table.
    fn print(&self, times: &Times) {
        let width = self.contestants.iter().map(|contestant| contestant.who.len()).max().unwrap_or(0);
        let ceiling_head = if self.ceiling.is_some() { "  x ceiling" } else { "" };
        println!("  {:width$}  median s     min s    x ours{ceiling_head}", "who");
        for (index, contestant) in self.contestants.iter().enumerate() {
            let lane = Lane(index);
            let ceiling = self.ceiling.map(|ceiling| format!("  {:9.2}", times.ratio(lane, ceiling))).unwrap_or_default();
            println!(
                "  {:width$}  {:8.4}  {:8.4}  {:8.2}{ceiling}",
                contestant.who,
                times.median(lane),
                times.least(lane),
                times.ratio(lane, Lane(0)),
            );
        }
        self.notes.iter().for_each(|note| println!("  {note}"));
    }
}

/// Seconds of each contestant's rounds.
pub struct Times {
    seconds: Vec<Vec<f64>>,
}

impl Times {
    /// The median of one's rounds.
    pub fn median(&self, lane: Lane) -> f64 {
        median(self.seconds[lane.0].clone())
    }

    /// One's best round.
    fn least(&self, lane: Lane) -> f64 {
        self.seconds[lane.0].iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// How many times as long as `base` one took: the median of each round's ratio, since the machine drifts between rounds.
    pub fn ratio(&self, lane: Lane, base: Lane) -> f64 {
        self.of_rounds([lane, base], |[seconds, base]| seconds / base)
    }

    /// The median of what `figure` makes of the times of each round in which all of these ran.
    pub fn of_rounds<const COUNT: usize>(&self, lanes: [Lane; COUNT], figure: impl Fn([f64; COUNT]) -> f64) -> f64 {
        let rounds = lanes.iter().map(|lane| self.seconds[lane.0].len()).min().unwrap_or(0);
        median((0..rounds).map(|round| figure(lanes.map(|lane| self.seconds[lane.0][round]))).collect())
    }
}

/// The middle value, or the mean of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}
