// SPDX-License-Identifier: MPL-2.0

//! How long a run may take, and what the rest of it would.

use std::time::{Duration, Instant};

/// Shares the time of a run among its models, so that each of them has been measured when the time is over.
#[derive(Debug)]
pub struct Limit {
    /// When the run has to end, if it has to.
    end: Option<Instant>,
    /// Models that have not been begun.
    waiting: u32,
    /// When the present model has to be done.
    share: Option<Instant>,
    /// What its windows took so far, and how many they were.
    spent: Duration,
    begun: u32,
    left_out: u32,
    /// What those that were left out of any model would take.
    rest: Duration,
    all_left_out: u32,
}

impl Limit {
    /// For so many models from now on. Without a `time` nothing is left out.
    pub fn new(time: Option<Duration>, models: usize, now: Instant) -> Self {
        Self {
            end: time.and_then(|time| now.checked_add(time)),
            waiting: models as u32,
            share: None,
            spent: Duration::ZERO,
            begun: 0,
            left_out: 0,
            rest: Duration::ZERO,
            all_left_out: 0,
        }
    }

    /// The next model begins, with an equal share of the time that is left.
    pub fn begin(&mut self, now: Instant) {
        self.close();
        let left = self.end.map(|end| end.saturating_duration_since(now));
        self.share = left.map(|left| now + left / self.waiting.max(1));
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Whether another window is begun: the model's first one always, further ones if there is time for as long as they
    /// took on average.
    pub fn allows(&mut self, now: Instant) -> bool {
        let allowed = self.begun == 0 || self.share.is_none_or(|share| now + self.mean() <= share);
        self.left_out += u32::from(!allowed);
        allowed
    }

    /// A window took this.
    pub fn took(&mut self, time: Duration) {
        self.spent += time;
        self.begun += 1;
    }

    fn mean(&self) -> Duration {
        self.spent / self.begun.max(1)
    }

    fn close(&mut self) {
        self.rest += self.mean() * self.left_out;
        self.all_left_out += self.left_out;
        (self.spent, self.begun, self.left_out) = (Duration::ZERO, 0, 0);
    }

    /// Windows that were left out, and what they would take, if there are any.
    pub fn left_out(mut self) -> Option<(u32, Duration)> {
        self.close();
        (self.all_left_out > 0).then_some((self.all_left_out, self.rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Measures `windows` of this length each, as long as there is time.
    fn measure(limit: &mut Limit, now: &mut Instant, windows: u32, each: Duration) -> u32 {
        limit.begin(*now);
        let mut measured = 0;
        for _ in 0..windows {
            if limit.allows(*now) {
                *now += each;
                limit.took(each);
                measured += 1;
            }
        }
        measured
    }

    #[test]
    fn models_share_the_time_and_the_first_window_is_always_measured() {
        let mut now = Instant::now();
        let mut limit = Limit::new(Some(60 * SECOND), 3, now);
        assert_eq!(measure(&mut limit, &mut now, 10, 6 * SECOND), 3, "20 seconds hold three of 6");
        // 42 seconds are left for two. What one does not need is the next one's.
        assert_eq!(measure(&mut limit, &mut now, 2, SECOND), 2);
        assert_eq!(measure(&mut limit, &mut now, 9, 41 * SECOND), 1);
        assert_eq!(limit.left_out(), Some((7 + 8, 7 * 6 * SECOND + 8 * 41 * SECOND)));
    }

    #[test]
    fn without_a_limit_nothing_is_left_out() {
        let mut now = Instant::now();
        let mut limit = Limit::new(None, 1, now);
        assert_eq!(measure(&mut limit, &mut now, 50, 3600 * SECOND), 50);
        assert_eq!(limit.left_out(), None);
    }
}
