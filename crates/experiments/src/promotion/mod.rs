//! `ncs promote`: a candidate against the model that serves, on the same rows; then the served link moves, or not.
//!
//! ```text
//! LIVE                     a link to the version that serves
//! LIVE.versions/0001 ...   the models, as they were promoted
//! LIVE.promotions.jsonl    a line for each comparison and each return
//! ```

mod gate;
mod pairs;
mod record;
mod versions;

use crate::error::Error;
pub use crate::refused::Refused;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use crate::run_folder::utc;

use ncs_model::artifact::Artifact;
use ncs_readers::{Encoded, ReadError, Reading};

use crate::scoring::{self, EvaluationListener, LoadedModel, Rows};
use crate::slices::SliceColumns;

pub use gate::{Gate, GateFigures, GateSettings, GateTest, Slice};
pub use record::{Action, Promotion};
pub use versions::{Live, Served};

use pairs::Pairs;

/// Rows to compare two models on.
#[derive(Clone, Debug)]
pub struct PromotionRows<'a> {
    /// The files, globs and folders, as they were named.
    pub named: &'a [String],
    /// The files that they name.
    pub files: &'a [std::path::PathBuf],
    /// Options of the reader.
    pub reading: &'a Reading,
}

/// Options of a promotion.
#[derive(Clone, Debug)]
pub struct PromotionPlan {
    /// Settings of the comparison.
    pub gate: GateSettings,
    /// Versions to keep.
    pub keep: usize,
    /// Whether nothing is written.
    pub dry_run: bool,
    /// Worker threads; `None`: all cores.
    pub threads: Option<usize>,
}

/// Callbacks of a promotion.
pub struct PromotionListener<'a> {
    /// Called with notes.
    pub note: &'a mut dyn FnMut(String),
    /// Called with the number of further rows processed, of either model.
    pub advance: &'a mut dyn FnMut(u64),
    /// Called at the end of each pass with the reader.
    pub finish: &'a mut dyn FnMut(&Encoded) -> Result<(), ReadError>,
}

/// Compares `candidate` with the model that `served` names and moves the link unless the candidate is refused. Returns
/// what was recorded, also of a refusal; `None` if the candidate serves already.
///
/// # Errors
/// A model or the rows cannot be read, the models do not fit each other's rows, another promotion is under way, files
/// cannot be written, or `stop` was set; then the served model stays.
pub fn promote(
    candidate: &Path,
    served: &Served,
    rows: &PromotionRows<'_>,
    plan: &PromotionPlan,
    stop: &AtomicBool,
    listener: &mut PromotionListener<'_>,
) -> Result<Option<Promotion>, Error> {
    let _lock = (!plan.dry_run).then(|| served.lock()).transpose()?;
    let candidate = LoadedModel::open(candidate)?;
    let candidate_hash = Artifact::hash(&candidate.folder)?.to_hex().to_string();
    let state = served.state()?;
    let live = match &state {
        Live::Absent => None,
        Live::Link(_) | Live::Folder => Some(LoadedModel::open(served.path())?),
    };
    let live_hash = live.as_ref().map(|live| Artifact::hash(&live.folder));
    let live_hash = live_hash.transpose()?.map(|hash| hash.to_hex().to_string());
    if live_hash.as_ref() == Some(&candidate_hash) {
        return Ok(None);
    }
    let pairs = pairs(&candidate, live.as_ref(), rows, plan, stop, listener)?;
    let gate = gate::compare(&pairs, &plan.gate);
    let mut promotion = Promotion {
        time: utc(SystemTime::now()),
        action: if gate.reasons.is_empty() {
            Action::Promoted
        } else {
            Action::Refused
        },
        candidate: candidate.folder.display().to_string(),
        candidate_hash: Some(candidate_hash),
        live_hash,
        version: None,
        replaced: None,
        data: rows.named.to_vec(),
        gate: Some(gate),
    };
    if !plan.dry_run {
        settle(
            served,
            &state,
            &candidate,
            &mut promotion,
            plan.keep,
            listener.note,
        )?;
    }
    Ok(Some(promotion))
}

/// Records a decision and, where it is to promote, installs the candidate and moves the link.
fn settle(
    served: &Served,
    state: &Live,
    candidate: &LoadedModel,
    promotion: &mut Promotion,
    keep: usize,
    note: &mut dyn FnMut(String),
) -> Result<(), Error> {
    if promotion.action != Action::Promoted {
        return Ok(record::append(&served.record(), promotion)?);
    }
    let replaced = match state {
        Live::Absent => None,
        Live::Link(target) => Some(target.clone()),
        Live::Folder => {
            let version = served.adopt()?;
            note(format!(
                "{} was a folder; it is a link to {version} from now on",
                served.path().display()
            ));
            Some(version)
        }
    };
    let version = served.install(&candidate.folder)?;
    promotion.version = Some(version.clone());
    promotion.replaced.clone_from(&replaced);
    // Recorded first: a return needs to know what was replaced, whenever this process ends.
    record::append(&served.record(), promotion)?;
    served.switch(&version)?;
    for gone in served.prune(keep, [Some(&version), replaced.as_ref()])? {
        note(format!(
            "{gone}: deleted; the newest {keep} versions are kept"
        ));
    }
    Ok(())
}

/// Returns to the version that the live one replaced, and what was recorded.
///
/// # Errors
/// The live path is not a link, nothing is recorded of its promotion, the earlier version is gone or damaged, or files
/// cannot be written.
pub fn roll_back(served: &Served, dry_run: bool) -> Result<Promotion, Error> {
    let _lock = (!dry_run).then(|| served.lock()).transpose()?;
    let path = served.path().display();
    let Live::Link(current) = served.state()? else {
        return Err(format!(
            "{path}: is not a link that ncs promote made, so there is not a version to return to"
        )
        .into());
    };
    let records = record::read(&served.record())?;
    let of_current = |promotion: &&Promotion| {
        promotion.action == Action::Promoted && promotion.version.as_ref() == Some(&current)
    };
    let Some(promotion) = records.iter().rev().find(of_current) else {
        return Err(format!(
            "{}: does not say what {current} replaced; list {}, and set the link: ln -sfn VERSION {path}",
            served.record().display(),
            served.versions().display()
        )
        .into());
    };
    let Some(target) = promotion.replaced.clone() else {
        return Err(
            format!("{path}: {current} was the first version; there is none before it").into(),
        );
    };
    let earlier = LoadedModel::open(&served.resolved(&target))?;
    let hash = |folder: &Path| Ok::<_, Error>(Artifact::hash(folder)?.to_hex().to_string());
    let live = LoadedModel::open(served.path());
    let back = Promotion {
        time: utc(SystemTime::now()),
        action: Action::RolledBack,
        candidate: target.clone(),
        candidate_hash: Some(hash(&earlier.folder)?),
        // A damaged version is a good reason to return.
        live_hash: live.ok().map(|live| hash(&live.folder)).transpose()?,
        version: Some(target.clone()),
        replaced: Some(current),
        data: Vec::new(),
        gate: None,
    };
    if !dry_run {
        record::append(&served.record(), &back)?;
        served.switch(&target)?;
    }
    Ok(back)
}

/// Scores the rows with both models.
fn pairs(
    candidate: &LoadedModel,
    live: Option<&LoadedModel>,
    rows: &PromotionRows<'_>,
    plan: &PromotionPlan,
    stop: &AtomicBool,
    listener: &mut PromotionListener<'_>,
) -> Result<Pairs, Error> {
    let mut pass = scoring::pass(plan.threads);
    let mut slices = SliceColumns::new(&plan.gate.slices);
    let mut scored = |model: &LoadedModel, keep: &[String]| {
        let source = Rows::Files {
            files: rows.files.to_vec(),
            reading: rows.reading.clone(),
        };
        let labelled = scoring::Labelled {
            before_calibration: false,
            keep,
            kept: &mut |rows, block| Ok(slices.add(rows, &block)?),
        };
        let mut listener = EvaluationListener {
            note: &mut |_| {},
            advance: listener.advance,
            finish: listener.finish,
        };
        let found = scoring::predictions(model, source, labelled, &mut pass, stop, &mut listener)?;
        Ok::<_, Error>(pairs::with_product(found.0, model.schema()))
    };
    let of_candidate = scored(candidate, &plan.gate.slices)?;
    let of_live = live.map(|live| scored(live, &[])).transpose()?;
    Pairs::new(of_candidate, of_live, slices)
}
