//! What goes wrong on a line by itself. Pure: a seed in, outages and the fates of connections out.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// A connection lost in the middle is lost within so many bytes of its answers.
const LOST_WITHIN_BYTES: u64 = 256 << 10;

/// How often connections are lost, and when the whole line is gone.
#[derive(Debug, Clone, PartialEq)]
pub struct Weather {
    /// The same seed makes the same weather.
    pub seed: u64,
    /// How many of all connections are lost: half of them at once, half while their first 256 KiB arrive.
    pub loss: f64,
    /// The chance that a connection which wasn't lost so is lost within its next second, whatever its age.
    pub loss_per_second: f64,
    /// When nobody gets anything; `None`: never.
    pub outages: Option<Outages>,
}

/// How often the line is gone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outages {
    /// From the end of one to the beginning of the next, on average; each time between half of it and one and a half.
    pub every: Duration,
    /// The shortest one.
    pub shortest: Duration,
    /// The longest one.
    pub longest: Duration,
}

/// One time without a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Its beginning, counted from the first connection.
    pub at: Duration,
    /// How long it lasts.
    pub length: Duration,
    /// What it looks like.
    pub kind: OutageKind,
}

/// What an outage looks like from the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutageKind {
    /// Connections end, new ones are refused.
    Refused,
    /// Nothing passes in either direction; connections stay, and go on afterwards.
    Silent,
    /// Connections end; new ones are taken, but nothing passes on them until it is over.
    Cut,
}

/// What becomes of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing but the outages.
    Spared,
    /// It is reset as soon as it is taken.
    LostAtOnce,
    /// It is reset after so many bytes to the app.
    LostAfterBytes(u64),
    /// It is reset after so long.
    LostAfter(Duration),
}

impl Weather {
    /// The fate of the connection with this number.
    #[must_use]
    pub fn fate(&self, number: u64) -> Fate {
        let mut random = StdRng::seed_from_u64(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if random.random_bool(self.loss.clamp(0.0, 1.0)) {
            let at_once = random.random_bool(0.5);
            let bytes = random.random_range(0..LOST_WITHIN_BYTES);
            return if at_once { Fate::LostAtOnce } else { Fate::LostAfterBytes(bytes) };
        }
        let survives_second = 1.0 - self.loss_per_second.clamp(0.0, 0.999);
        if survives_second >= 1.0 {
            return Fate::Spared;
        }
        // Without memory: the logarithm of an even number has the same chance in each second.
        let seconds = random.random_range(f64::MIN_POSITIVE..1.0).ln() / survives_second.ln();
        Fate::LostAfter(Duration::from_secs_f64(seconds.min(86_400.0)))
    }

    /// The outages, in order, without end; each kind takes its turn.
    pub fn outages(&self) -> impl Iterator<Item = Outage> + Send + use<> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut end = Duration::ZERO;
        let kinds = [OutageKind::Refused, OutageKind::Silent, OutageKind::Cut].into_iter().cycle();
        let outages = self.outages;
        kinds.map_while(move |kind| {
            let outages = outages?;
            let at = end + outages.every.mul_f64(random.random_range(0.5..1.5));
            let length = random.random_range(outages.shortest..=outages.longest.max(outages.shortest));
            end = at + length;
            Some(Outage { at, length, kind })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORM: Weather = Weather {
        seed: 8,
        loss: 0.2,
        loss_per_second: 0.2,
        outages: Some(Outages {
            every: Duration::from_secs(4),
            shortest: Duration::from_secs(1),
            longest: Duration::from_secs(3),
        }),
    };

    #[test]
    fn the_same_seed_makes_the_same_weather_and_another_one_another() {
        let other = Weather { seed: 9, ..STORM };
        let fates = |weather: &Weather| (0..50).map(|number| weather.fate(number)).collect::<Vec<_>>();
        assert_eq!(fates(&STORM), fates(&STORM.clone()));
        assert_ne!(fates(&STORM), fates(&other));
        let outages = |weather: &Weather| weather.outages().take(20).collect::<Vec<_>>();
        assert_eq!(outages(&STORM), outages(&STORM.clone()));
        assert_ne!(outages(&STORM), outages(&other));
    }

    #[test]
    fn as_many_connections_are_lost_as_asked_for() {
        let calm_between = Weather { loss_per_second: 0.0, ..STORM };
        let lost = (0..10_000).filter(|number| calm_between.fate(*number) != Fate::Spared).count();
        assert!((1_800..2_200).contains(&lost), "{lost} of 10,000 at 20 %");
        let after_a_second = |number: &u64| match STORM.fate(*number) {
            Fate::LostAfter(age) => age > Duration::from_secs(1),
            _ => false,
        };
        let survivors = (0..10_000).filter(after_a_second).count();
        assert!((6_100..6_700).contains(&survivors), "{survivors} of 10,000 outlive a second; 0.8 × 0.8 should");
    }

    #[test]
    fn outages_follow_each_other_and_keep_their_lengths() {
        let mut end = Duration::ZERO;
        for outage in STORM.outages().take(100) {
            assert!(outage.at >= end + Duration::from_secs(2), "two are apart: {outage:?}");
            assert!((Duration::from_secs(1)..=Duration::from_secs(3)).contains(&outage.length), "{outage:?}");
            end = outage.at + outage.length;
        }
    }
}
