//! Progress, the rate limit, and the signals that a long run heeds.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::{consts, flag};

use serde_json::json;

use super::{
    present::now,
    say::Output,
    show_args::{OutputFormat, ProgressArgs, ShowArgs},
    signals::stop_flag,
};
use crate::{
    report::{Event, counted, human_size},
    scan::Watch,
};

/// How often signals and the clock are looked at.
const TICK: Duration = Duration::from_millis(50);
/// What is done sooner needs no bar.
const BAR_AFTER: Duration = Duration::from_millis(500);
/// How often programs hear of it that read events.
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// How often progress is printed where there is no terminal to redraw it on.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What a run looks at while it works.
pub(super) struct Control {
    state: Arc<State>,
    ticker: Option<JoinHandle<()>>,
}

struct State {
    stop: Arc<AtomicBool>,
    show: Arc<AtomicBool>,
    done: AtomicU64,
    /// Divergences found so far.
    found: AtomicU64,
    ended: AtomicBool,
    /// Somebody else has the terminal.
    aside: AtomicBool,
    /// What is going on, and how many bytes of it there are.
    phase: Mutex<(&'static str, u64, Instant)>,
    bar: ProgressBar,
    /// Whether standard output takes events.
    events: bool,
    rate: Option<Rate>,
    begun: Instant,
}

/// No more than so many bytes a second.
struct Rate {
    bytes_per_second: u64,
    /// When all that was spent so far is paid for.
    paid_until: Mutex<Instant>,
}

impl Control {
    /// As [`new`](Self::new) for a run that reports, which may do so by events.
    pub(super) fn reporting(show: &ShowArgs) -> Result<Self> {
        Self::start(&show.progress, show.format == OutputFormat::Events && !show.progress.is_quiet())
    }

    /// Takes the signals, and starts to show progress where that is wanted.
    pub(super) fn new(show: &ProgressArgs) -> Result<Self> {
        Self::start(show, false)
    }

    fn start(show: &ProgressArgs, events: bool) -> Result<Self> {
        let stop = stop_flag().context("signals")?;
        let asked = Arc::new(AtomicBool::new(false));
        flag::register(consts::SIGUSR1, Arc::clone(&asked)).context("signals")?;
        let terminal = io::stderr().is_terminal();
        let bar = ProgressBar::hidden();
        // As wide as the terminal, and never wider: a line that wraps leaves its traces.
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {percent:>3} %  {binary_bytes_per_sec}  {eta} to go{msg}")
            .context("the progress bar's template")?;
        bar.set_style(style);
        let rate = show.rate_limit.filter(|&rate| rate > 0);
        let rate = rate.map(|bytes_per_second| Rate { bytes_per_second, paid_until: Mutex::new(Instant::now()) });
        let state = Arc::new(State {
            stop,
            show: asked,
            done: AtomicU64::new(0),
            found: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            aside: AtomicBool::new(false),
            phase: Mutex::new(("starting", 0, Instant::now())),
            bar,
            events,
            rate,
            begun: Instant::now(),
        });
        let show_nothing = show.is_quiet();
        let lines = show.progress && !show.is_quiet() && !terminal;
        let ticker = thread::Builder::new().name("progress".into()).spawn({
            let state = Arc::clone(&state);
            move || state.tick(lines, terminal && !show_nothing)
        });
        Ok(Self { state, ticker: Some(ticker.context("a thread for progress")?) })
    }

    /// Begins the next part of the work.
    pub(super) fn begin(&self, what: &'static str, bytes: u64) {
        *self.state.phase.lock().expect("no panics") = (what, bytes, Instant::now());
        self.state.done.store(0, Relaxed);
        self.state.bar.reset();
        self.state.bar.set_length(bytes);
        self.state.bar.set_prefix(what);
    }

    /// A divergence was found.
    pub(super) fn found(&self) {
        self.state.found.fetch_add(1, Relaxed);
    }

    /// Lets `what` use the terminal meanwhile.
    pub(super) fn aside<T>(&self, what: impl FnOnce() -> T) -> T {
        self.state.aside.store(true, Relaxed);
        let result = self.state.bar.suspend(what);
        self.state.aside.store(false, Relaxed);
        result
    }

    /// Takes the bar away.
    pub(super) fn end(&mut self) {
        self.state.ended.store(true, Relaxed);
        if let Some(ticker) = self.ticker.take() {
            ticker.thread().unpark();
            let _ = ticker.join(); // it has nothing to say
        }
        self.state.bar.finish_and_clear();
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.end();
    }
}

impl State {
    fn tick(&self, lines: bool, mut bar_wanted: bool) {
        let begun = Instant::now();
        let mut last_line = Instant::now();
        let mut last_event = begun.checked_sub(EVENT_EVERY).unwrap_or(begun);
        let mut last_phase = "";
        while !self.ended.load(Relaxed) {
            thread::park_timeout(TICK);
            if self.aside.load(Relaxed) {
                continue;
            }
            if bar_wanted && begun.elapsed() >= BAR_AFTER {
                self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
                bar_wanted = false;
            }
            self.bar.set_position(self.done.load(Relaxed));
            self.bar.set_message(self.found_so_far());
            if self.events && begun.elapsed() >= BAR_AFTER && last_event.elapsed() >= EVENT_EVERY {
                last_event = Instant::now();
                self.print_event();
            }
            let asked = self.show.swap(false, Relaxed);
            let (phase, ..) = *self.phase.lock().expect("no panics");
            let due = lines && phase != "starting" && (phase != last_phase || last_line.elapsed() >= LINE_EVERY);
            if asked || due {
                (last_line, last_phase) = (Instant::now(), phase);
                self.bar.suspend(|| self.print_line());
            }
        }
        if lines {
            self.print_line();
        }
    }

    /// Where standard error is gone, nobody waits for progress.
    fn print_line(&self) {
        let _ = writeln!(io::stderr().lock(), "{}", self.line());
    }

    /// One for programs, on standard output among the others.
    fn print_event(&self) {
        let (phase, bytes, _) = *self.phase.lock().expect("no panics");
        let done = self.done.load(Relaxed).min(bytes);
        let data = json!({ "phase": phase, "done": done, "total": bytes, "divergences": self.found.load(Relaxed) });
        let _ = Output::new().write_all(Event { event: "QUORUM_IMG_PROGRESS", data }.line(now()).as_bytes()); // likewise
    }

    fn found_so_far(&self) -> String {
        match self.found.load(Relaxed) {
            0 => String::new(),
            found => format!("; {} so far", counted(found, "divergence")),
        }
    }

    fn line(&self) -> String {
        let (what, bytes, since) = *self.phase.lock().expect("no panics");
        let done = self.done.load(Relaxed).min(bytes);
        let percent = if bytes == 0 { 100.0 } else { done as f64 / bytes as f64 * 100.0 };
        let seconds = since.elapsed().as_secs_f64().max(1e-3);
        #[allow(clippy::cast_sign_loss)] // neither is negative
        let speed = (done as f64 / seconds) as u64;
        let left = if speed > 0 && done < bytes { format!(", {} s to go", (bytes - done).div_ceil(speed)) } else { String::new() };
        format!("{what}: {percent:.2} % ({} of {}), {}/s{left}", human_size(done), human_size(bytes), human_size(speed))
            + &self.found_so_far()
    }
}

impl Watch for Control {
    fn stopped(&self) -> bool {
        self.state.stop.load(Relaxed)
    }

    fn is_limited(&self) -> bool {
        self.state.rate.is_some()
    }

    fn spend(&self, bytes: u64) {
        let Some(rate) = &self.state.rate else { return };
        let cost = Duration::from_secs_f64(bytes as f64 / rate.bytes_per_second as f64);
        let until = {
            let mut paid_until = rate.paid_until.lock().expect("no panics");
            *paid_until = (*paid_until).max(Instant::now()) + cost;
            *paid_until
        };
        while !self.stopped() {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { return };
            thread::sleep(left.min(TICK));
        }
    }

    fn elapsed(&self) -> Duration {
        self.state.begun.elapsed()
    }

    fn pause(&self) {
        thread::sleep(TICK);
    }

    fn advanced(&self, bytes: u64) {
        self.state.done.fetch_add(bytes, Relaxed);
    }
}
