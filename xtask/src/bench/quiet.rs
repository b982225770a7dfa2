//! Whether somebody else uses the machine while we measure.

use std::time::{Duration, Instant};

/// How long to look; nothing of ours runs meanwhile.
const LOOK: Duration = Duration::from_millis(200);
/// Up to this share of all cores in use, the machine counts as quiet.
pub(super) const QUIET: f64 = 0.1;

/// Watches what others use, and waits for quiet as long as it may.
#[derive(Debug)]
pub(super) struct Quiet {
    patience: Duration,
    worst: Option<f64>,
}

impl Quiet {
    pub(super) const fn new(patience: Duration) -> Self {
        Self { patience, worst: None }
    }

    /// Called before each run, when nothing of ours is running.
    pub(super) fn before_run(&mut self) {
        loop {
            let began = Instant::now();
            let Some(used) = others() else { return };
            if used <= QUIET || self.patience.is_zero() {
                self.worst = Some(self.worst.map_or(used, |worst| worst.max(used)));
                return;
            }
            self.patience = self.patience.saturating_sub(began.elapsed());
        }
    }

    /// The largest share others used before any run since the last call; `None` where it can't be known.
    pub(super) const fn take_worst(&mut self) -> Option<f64> {
        self.worst.take()
    }
}

/// The share of all cores in use over a moment.
fn others() -> Option<f64> {
    let (busy, all) = ticks()?;
    std::thread::sleep(LOOK);
    let (busy_after, all_after) = ticks()?;
    let all = all_after.saturating_sub(all).max(1);
    Some(busy_after.saturating_sub(busy) as f64 / all as f64)
}

/// Ticks of all cores since the start of the machine: in use, and together.
fn ticks() -> Option<(u64, u64)> {
    parse(std::fs::read_to_string("/proc/stat").ok()?.lines().next()?)
}

fn parse(line: &str) -> Option<(u64, u64)> {
    let ticks: Vec<u64> = line.strip_prefix("cpu ")?.split_whitespace().map_while(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what guests use is part of user already.
    let all = ticks.iter().take(8).sum::<u64>();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((all - idle, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_for_the_disk_are_not_in_use() {
        assert_eq!(parse("cpu  10 1 5 100 20 0 2 1 7 0"), Some((19, 139)));
        assert_eq!(parse("intr 5"), None);
    }
}
