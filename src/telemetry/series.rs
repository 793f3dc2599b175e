//! Series: what was counted in the last minutes, for charts.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use serde::Serialize;

/// Time between two samples.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// Samples that are kept: a quarter of an hour, and one before it. The oldest goes first.
const SAMPLES_MAX: usize = 181;
/// Samples of a minute.
const MINUTE: usize = 12;

/// What had been counted at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// When, in milliseconds from 1970.
    pub at_ms: i64,
    /// Revisions that this node had read from the log.
    pub revisions: u64,
    /// Revisions that it had handed to connections.
    pub deliveries: u64,
    /// Commits to the log.
    pub commits: u64,
    /// Seconds that they took, together.
    pub commit_seconds: f64,
}

/// The newest samples.
#[derive(Debug, Default)]
pub struct Series(Mutex<VecDeque<Sample>>);

/// What they say, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// The end of each interval, in seconds from 1970.
    pub at: Vec<i64>,
    /// Revisions a minute, over the minute before.
    pub revisions_per_minute: Vec<f64>,
    /// Deliveries a second, over the interval.
    pub deliveries_per_second: Vec<f64>,
    /// Seconds of a commit on average, over the minute before; none without any.
    pub commit_seconds: Vec<Option<f64>>,
}

impl Series {
    /// Adds what is counted now. A clock that was set back begins anew.
    pub fn add(&self, sample: Sample) {
        let mut samples = self.0.lock().expect("no panic under this lock");
        if samples
            .back()
            .is_some_and(|last| last.at_ms >= sample.at_ms)
        {
            samples.clear();
        }
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// The rates between the samples.
    pub fn rates(&self) -> Rates {
        let samples = self.0.lock().expect("no panic under this lock");
        let mut rates = Rates::default();
        for (place, now) in samples.iter().enumerate().skip(1) {
            let (last, minute) = (samples[place - 1], samples[place.saturating_sub(MINUTE)]);
            rates.at.push(now.at_ms / 1000);
            let revisions = rate(now, &minute, |sample| sample.revisions);
            rates.revisions_per_minute.push(60.0 * revisions);
            let deliveries = rate(now, &last, |sample| sample.deliveries);
            rates.deliveries_per_second.push(deliveries);
            let commits = count(now.commits.saturating_sub(minute.commits));
            let seconds = now.commit_seconds - minute.commit_seconds;
            let mean = (commits > 0.0).then(|| seconds / commits);
            rates.commit_seconds.push(mean);
        }
        rates
    }
}

/// How much more it is a second, rounded to thousandths.
fn rate(now: &Sample, before: &Sample, of: impl Fn(&Sample) -> u64) -> f64 {
    let more = count(of(now).saturating_sub(of(before)));
    let took_ms = now.at_ms.saturating_sub(before.at_ms);
    let took_ms = count(u64::try_from(took_ms).unwrap_or(0)).max(1.0);
    (1_000_000.0 * more / took_ms).round() / 1000.0
}

fn count(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_s: i64, revisions: u64, deliveries: u64) -> Sample {
        Sample {
            at_ms: at_s * 1000,
            revisions,
            deliveries,
            commits: revisions,
            commit_seconds: 0.004 * count(revisions),
        }
    }

    /// A steady rate shows as itself from the second sample on; the oldest go first.
    #[test]
    fn rates_of_steady_news() {
        let series = Series::default();
        assert_eq!(series.rates(), Rates::default());
        for number in 0..400_u64 {
            let at = 5 * i64::try_from(number).unwrap();
            series.add(sample(at, 2 * number, 100 * number));
        }
        let rates = series.rates();
        assert_eq!(rates.at.len(), SAMPLES_MAX - 1);
        assert_eq!(rates.at.last(), Some(&1995));
        assert!(rates.revisions_per_minute.iter().all(|rate| *rate == 24.0));
        assert!(rates.deliveries_per_second.iter().all(|rate| *rate == 20.0));
        let is_mean = |mean: &Option<f64>| mean.is_some_and(|mean| (mean - 0.004).abs() < 1e-9);
        assert!(rates.commit_seconds.iter().all(is_mean));
    }

    /// A burst shows for a minute in what is counted by minutes, and once in the other; without
    /// commits they have no duration.
    #[test]
    fn a_burst() {
        let series = Series::default();
        for number in 0..30 {
            let more = if number < 5 { 0 } else { 6 };
            series.add(sample(5 * number, more, more));
        }
        let rates = series.rates();
        let busy = rates
            .revisions_per_minute
            .iter()
            .filter(|rate| **rate > 0.0);
        assert_eq!(busy.count(), MINUTE);
        let busy = rates
            .deliveries_per_second
            .iter()
            .filter(|rate| **rate > 0.0);
        assert_eq!(busy.count(), 1);
        assert_eq!(rates.commit_seconds.last(), Some(&None));
    }

    /// A clock that is set back makes no rate of its own.
    #[test]
    fn the_clock_is_set_back() {
        let series = Series::default();
        series.add(sample(100, 1, 1));
        series.add(sample(50, 2, 2));
        assert_eq!(series.rates(), Rates::default());
        series.add(sample(55, 2, 2));
        assert_eq!(series.rates().deliveries_per_second, [0.0]);
    }
}
