//! Signals at the right moment.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::support::Running;

/// Waits until the program has said that it handles this signal: one sent earlier would just end it.
pub fn wait_for_handler(running: &mut Running, signal: i32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        assert!(running.runs(), "it ended by itself");
        let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map_or("0", str::trim);
        if u64::from_str_radix(caught, 16).is_ok_and(|mask| (mask >> (signal - 1)) & 1 == 1) {
            return;
        }
        assert!(Instant::now() < deadline, "no handler for signal {signal}: {status}");
        thread::sleep(Duration::from_millis(2));
    }
}
