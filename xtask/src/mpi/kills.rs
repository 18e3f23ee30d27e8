//! Ranks killed at random moments of a training, and the training started again.

use super::processes::{ended, none_left, ranks_of, signal, text};
use super::{ENDS_WITHIN, Job, Results, SHARDED, Start};
use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

/// How many kills, and the numbers from which their moments follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kills {
    pub(super) tries: u64,
    pub(super) seed: u64,
}

/// Time after which no further kill begins, so that the check ends on a slow machine too.
const BUDGET: Duration = Duration::from_secs(150);

/// Share of an undisturbed run's time within which a rank is killed: the end of a run is the report.
const SPAN: f64 = 0.8;

impl Kills {
    /// Returns number `n` of a sequence, in [0, 1) (SplitMix64).
    fn uniform(self, n: u64) -> f64 {
        let mut z = (self.seed.wrapping_mul(1 << 20) + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Job {
    /// Kills a rank of a job at a random moment, with whole tables and with shards in turn, and starts it again: it must end
    /// with the bytes of an undisturbed run. Returns the number of jobs.
    pub(super) fn kills(&self, kills: Kills) -> Result<u64, String> {
        let mut undisturbed = Vec::new();
        for (out, sets) in [("undisturbed", &[][..]), ("undisturbed-shards", &[SHARDED])] {
            let begun = Instant::now();
            let results = self.train(Start::new(2, out, sets))?;
            undisturbed.push((sets, results, begun.elapsed()));
        }
        let begun = Instant::now();
        let (mut tries, mut hits) = (0, 0);
        // A kill that comes before the ranks have begun, or after they have ended, is repeated at another moment.
        while hits < kills.tries && begun.elapsed() < BUDGET {
            let (sets, results, time) = &undisturbed[tries as usize % 2];
            let moment = time.mul_f64(SPAN * kills.uniform(2 * tries));
            let victim = usize::from(kills.uniform(2 * tries + 1) < 0.5);
            let told = |why: String| {
                let (n, seed) = (tries + 1, kills.seed);
                format!(
                    "kill {n} of --seed {seed}: rank {victim} after {moment:?}, {sets:?}: {why}"
                )
            };
            hits += u64::from(self.kill(sets, victim, moment).map_err(told)?);
            self.is_whole(sets, results).map_err(told)?;
            tries += 1;
        }
        println!(
            "kills: {hits} of {tries} hit a running job ({} wanted, seed {}, {} s)",
            kills.tries,
            kills.seed,
            begun.elapsed().as_secs()
        );
        if 2 * hits < tries {
            return Err("most kills did not hit a job".to_owned());
        }
        Ok(2 + 2 * tries)
    }

    /// Starts a job and kills one of its ranks after some time; false if the job has ended before.
    fn kill(&self, sets: &[&str], victim: usize, moment: Duration) -> Result<bool, String> {
        let _ = fs::remove_dir_all(self.folder.join("killed"));
        let mut job = self.start(Start::new(2, "killed", sets))?;
        std::thread::sleep(moment);
        let ranks = ranks_of(job.id());
        let is_running = |job: &mut Child| job.try_wait().is_ok_and(|status| status.is_none());
        let process = ranks.get(victim).filter(|_| is_running(&mut job));
        let Some(&process) = process else {
            ended(job)?;
            return Ok(false);
        };
        if signal("KILL", process).is_err() {
            // It has ended meanwhile.
            ended(job)?;
            return Ok(false);
        }
        let killed = Instant::now();
        let output = ended(job)?;
        if output.status.success() {
            // The rank had done its work.
            return Ok(false);
        }
        let (message, took) = (text(&output), killed.elapsed());
        if took > ENDS_WITHIN {
            return Err(format!("the job ended {took:?} after the kill"));
        }
        if !message.contains(&format!("rank {victim}")) {
            return Err(format!("the rank is not named: {message}"));
        }
        none_left(&ranks)?;
        Ok(true)
    }

    /// Starts the killed job again and compares its results.
    fn is_whole(&self, sets: &[&str], undisturbed: &Results) -> Result<(), String> {
        if self.train(Start::new(2, "killed", sets))? == *undisturbed {
            return Ok(());
        }
        Err("the results are not those of an undisturbed run".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_follow_from_the_seed_and_spread() {
        let numbers = |seed| {
            let kills = Kills { tries: 0, seed };
            (0..1000).map(move |n| kills.uniform(n))
        };
        assert!(numbers(7).eq(numbers(7)) && !numbers(7).eq(numbers(8)));
        let mean = numbers(7).sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert!(numbers(7).all(|number| (0.0..1.0).contains(&number)));
    }
}
