//! Metrics of the versions being served.

use super::histogram::Histogram;
use super::requests::Requests;
use super::served::{ColumnValues, ServedBy, ServedVersion, TaskScores};
use crate::drift::{DriftCounts, Since};
use crate::version::COUNT_EVERY;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// The versions being served, held by weak references: a version that is no longer served has no series.
#[derive(Debug, Default)]
pub(super) struct Models {
    /// Requests that matched no model.
    pub(super) unmatched: Requests,
    served: Mutex<Served>,
}

#[derive(Debug, Default)]
struct Served {
    /// If a version is loaded again before its last request has ended, the newer one.
    versions: BTreeMap<(Arc<str>, u64), Weak<ServedVersion>>,
    requests: BTreeMap<Arc<str>, Weak<Requests>>,
}

type Versions = Vec<Arc<ServedVersion>>;
type ByModel = Vec<(Arc<str>, Arc<Requests>)>;

impl Models {
    pub(super) fn serve(
        &self,
        by: ServedBy,
        tasks: &[impl AsRef<str>],
        columns: &[impl AsRef<str>],
    ) -> Arc<ServedVersion> {
        let mut served = self.lock();
        served.remove_dropped();
        let requests = served.requests(&by.model);
        let key = (by.model.clone(), by.version);
        let version = Arc::new(ServedVersion::new(by, requests, tasks, columns));
        served.versions.insert(key, Arc::downgrade(&version));
        version
    }

    /// Returns the versions being served, held while their metrics are written.
    fn snapshot(&self) -> (Versions, ByModel) {
        let mut served = self.lock();
        served.remove_dropped();
        let versions = served.versions.values().filter_map(Weak::upgrade).collect();
        let requests = served.requests.iter();
        let requests = requests.filter_map(|(name, weak)| Some((name.clone(), weak.upgrade()?)));
        (versions, requests.collect())
    }

    fn lock(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Served {
    /// Removes versions that are no longer served.
    fn remove_dropped(&mut self) {
        self.versions.retain(|_, weak| weak.strong_count() > 0);
        self.requests.retain(|_, weak| weak.strong_count() > 0);
    }

    fn requests(&mut self, model: &Arc<str>) -> Arc<Requests> {
        let known = self.requests.get(model).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let requests = Arc::default();
            self.requests
                .insert(model.clone(), Arc::downgrade(&requests));
            requests
        })
    }
}

impl Collector for Models {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let (versions, by_model) = self.snapshot();
        self.encode_requests(&mut encoder, &by_model)?;
        encode_candidates(&mut encoder, &by_model)?;
        encode_info(&mut encoder, &versions)?;
        let help = "Scores of responses.";
        encode_scores(&mut encoder, "ncs_score", help, &versions, |task| {
            &task.scores
        })?;
        let help = "Absolute differences between a shadow's scores and those returned.";
        let name = "ncs_shadow_difference";
        encode_scores(&mut encoder, name, help, &versions, |task| {
            &task.differences
        })?;
        let sampled = format!("one request in {COUNT_EVERY} is counted");
        let help = format!("Values in requests ({sampled}).");
        encode_values(&mut encoder, "ncs_values", &help, &versions, |column| {
            &column.values
        })?;
        let help = format!(
            "Values that training never saw: not in the vocabulary, or in a hash bucket without training rows \
             ({sampled})."
        );
        let name = "ncs_unseen_values";
        encode_values(&mut encoder, name, &help, &versions, |column| {
            &column.unseen
        })?;
        let help =
            format!("Numbers that were clipped to the range of the training rows ({sampled}).");
        let name = "ncs_clipped_values";
        encode_values(&mut encoder, name, &help, &versions, |column| {
            &column.clipped
        })?;
        let hour = Since::Hour(Instant::now());
        for (window, since, name) in [
            (
                "since the version was loaded",
                Since::Loaded,
                ["ncs_score_psi", "ncs_column_psi"],
            ),
            (
                "in the last hour",
                hour,
                ["ncs_score_psi_hour", "ncs_column_psi_hour"],
            ),
        ] {
            let when = format!("{window} ({sampled}; from 500 values on)");
            encode_indices(&mut encoder, &versions, &when, since, name)?;
        }
        Ok(())
    }
}

/// Writes the indices of scores and of columns; `names` are those of the two families.
fn encode_indices(
    encoder: &mut DescriptorEncoder<'_>,
    versions: &Versions,
    when: &str,
    since: Since,
    names: [&str; 2],
) -> Result<(), Error> {
    let help = |of: &str| {
        format!("Population stability index of {of} against the model's training, {when}.")
    };
    encode_shifts(
        encoder,
        names[0],
        &help("scores"),
        versions,
        |version, drift| {
            let scores = version.tasks.iter().enumerate();
            let score = |(output, task): (usize, &TaskScores)| {
                Some(("task", task.name.clone(), drift.score_index(output, since)?))
            };
            scores.filter_map(score).collect()
        },
    )?;
    encode_shifts(
        encoder,
        names[1],
        &help("values"),
        versions,
        |version, drift| {
            let columns = version.columns.iter().enumerate();
            let column = |(f, column): (usize, &ColumnValues)| {
                Some(("column", column.name.clone(), drift.column_index(f, since)?))
            };
            columns.filter_map(column).collect()
        },
    )
}

/// Label, name and index of a score or column.
type Shift = (&'static str, String, f64);

fn encode_shifts(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    versions: &Versions,
    of: impl Fn(&ServedVersion, &DriftCounts) -> Vec<Shift>,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for version in versions {
        let Some(drift) = version.drift.get() else {
            continue;
        };
        for (label, of, index) in of(version, drift) {
            let labels = [
                ("model", &*version.by.model),
                ("version", version.version.as_str()),
                (label, of.as_str()),
            ];
            ConstGauge::new(index).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

impl Models {
    fn encode_requests(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        by_model: &ByModel,
    ) -> Result<(), Error> {
        let help = "Requests that were answered or refused.";
        let mut family =
            encoder.encode_descriptor("ncs_requests", help, None, MetricType::Counter)?;
        let named = by_model
            .iter()
            .map(|(name, requests)| (&**name, &**requests));
        for (model, requests) in [("", &self.unmatched)].into_iter().chain(named) {
            requests.each(|protocol, call, code, n| {
                let labels = [
                    ("protocol", protocol.as_str()),
                    ("call", call.as_str()),
                    ("model", model),
                    ("code", code),
                ];
                ConstCounter::new(n).encode(family.encode_family(&labels)?)
            })?;
        }
        Ok(())
    }
}

fn encode_candidates(encoder: &mut DescriptorEncoder<'_>, by_model: &ByModel) -> Result<(), Error> {
    let help = "Candidates in successful requests.";
    let mut family =
        encoder.encode_descriptor("ncs_candidates", help, None, MetricType::Histogram)?;
    for (model, requests) in by_model {
        let labels = [("model", &**model)];
        requests.candidates.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn encode_info(encoder: &mut DescriptorEncoder<'_>, versions: &Versions) -> Result<(), Error> {
    let help = "Versions that are served.";
    let mut family = encoder.encode_descriptor("ncs_model", help, None, MetricType::Info)?;
    for version in versions {
        let labels = version.labels();
        family.encode_info(&[
            ("model", &*version.by.model),
            ("version", &version.version),
            ("hash", &version.by.hash),
            ("labels", &labels),
        ])?;
    }
    Ok(())
}

fn encode_scores(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    versions: &Versions,
    of: impl Fn(&TaskScores) -> &Histogram,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for version in versions {
        for task in version.tasks.iter().filter(|task| !of(task).is_empty()) {
            let labels = [
                ("model", &*version.by.model),
                ("version", &version.version),
                ("task", &task.name),
            ];
            of(task).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_values(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    versions: &Versions,
    of: impl Fn(&ColumnValues) -> &AtomicU64,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for version in versions {
        for column in &version.columns {
            let labels = [
                ("model", &*version.by.model),
                ("version", &version.version),
                ("column", &column.name),
            ];
            let n = of(column).load(Relaxed);
            ConstCounter::new(n).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_are_no_longer_served_are_removed() {
        let models = Models::default();
        let serve = |version| {
            let by = ServedBy {
                model: "m".into(),
                version,
                hash: "".into(),
            };
            models.serve(by, &["ctr"], &["user"])
        };
        for version in 0..1000 {
            serve(version);
        }
        assert_eq!(models.lock().versions.len(), 1);
        let kept = serve(1000);
        let (versions, by_model) = models.snapshot();
        assert_eq!((versions.len(), by_model.len()), (1, 1));
        drop((kept, versions, by_model));
        models.snapshot();
        let served = models.lock();
        assert!(served.versions.is_empty() && served.requests.is_empty());
    }
}
