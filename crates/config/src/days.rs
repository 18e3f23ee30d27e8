//! `data.days` and `data.as_of`: the days of the training part.

use std::path::PathBuf;

use ncs_readers::DataPlan;
use ncs_readers::days::{DayChoice, DayKey, DayRange, by_folder};

use crate::toml_types;

/// A problem: the key of `[data]`, and what is wrong.
pub(crate) type Problem = (&'static str, String);

/// The files of the chosen days.
#[derive(Debug)]
pub(crate) struct ChosenDays {
    /// Absolute paths.
    pub(crate) files: Vec<String>,
    /// Note on the choice.
    pub(crate) note: String,
}

/// Returns the files of the chosen days; `None` if the run file does not choose.
///
/// # Errors
/// A setting has another form, files are not in folders by day, or no day is chosen.
pub(crate) fn choose(
    config: &toml_types::Data,
    plan: &DataPlan,
) -> Result<Option<ChosenDays>, Problem> {
    if config.days.is_none() && config.as_of.is_none() {
        return Ok(None);
    }
    let (choice, as_of) = parsed(config)?;
    let key = if config.days.is_some() {
        "days"
    } else {
        "as_of"
    };
    let of_train = |text: String| ("train", text);
    let files = ncs_readers::files(&plan.train, &plan.root);
    let files = files.map_err(|error| of_train(error.to_string()))?;
    let days = by_folder(&files, None).map_err(of_train)?.ok_or_else(|| {
        let text = format!(
            "data.{key} needs files in folders named by day, such as day=2026-11-28/rows.parquet; some files of \
             data.train are in no such folder"
        );
        (key, text)
    })?;
    let all: Vec<DayKey> = days.keys().copied().collect();
    let (Some(first), Some(&latest)) = (all.first(), all.last()) else {
        return Ok(None);
    };
    let range = choice.range(as_of, latest);
    let chosen: Vec<(&DayKey, &Vec<PathBuf>)> =
        days.iter().filter(|(day, _)| range.holds(**day)).collect();
    let (Some((from, _)), Some((to, _))) = (chosen.first(), chosen.last()) else {
        let text = format!("no day of data.train is chosen; its days are {first} to {latest}");
        return Err((key, text));
    };
    let files = chosen.iter().flat_map(|(_, files)| files.iter());
    let files: Vec<String> = files
        .map(|file| ncs_readers::absolute(file).display().to_string())
        .collect();
    let note = format!(
        "data.train: {} of {} days, {from} to {to}, {} files",
        chosen.len(),
        days.len(),
        files.len()
    );
    Ok(Some(ChosenDays { files, note }))
}

/// Returns the latest day of the folders by day of the training files; `None` if they are in no such folders.
pub(crate) fn latest(plan: &DataPlan) -> Option<i64> {
    let files = ncs_readers::files(&plan.train, &plan.root).ok()?;
    let days = by_folder(&files, None).ok()??;
    days.keys().next_back().map(|day| match *day {
        DayKey::Number(day) | DayKey::Date(day) => day,
    })
}

/// Returns the choice of days and the day of the training.
fn parsed(config: &toml_types::Data) -> Result<(DayChoice, Option<DayKey>), Problem> {
    let choice = match &config.days {
        None => DayChoice::Range(DayRange::default()),
        Some(text) => DayChoice::parse(text)
            .map_err(|what| ("days", format!("data.days = {text:?}: {what}")))?,
    };
    let as_of = match &config.as_of {
        None => None,
        Some(text) => Some(DayKey::parse(text).ok_or_else(|| {
            let text =
                format!("data.as_of = {text:?}: expected a day, such as 2026-11-28 or 20261128");
            ("as_of", text)
        })?),
    };
    Ok((choice, as_of))
}
