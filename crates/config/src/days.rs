//! `data.days` and `data.as_of`: the days of the training part.

use ncs_readers::DataPlan;
use ncs_readers::days::{DayChoice, DayKey, DayRange, by_folder};

use crate::checks::Checks;
use crate::toml_types;

/// Keeps the files of the chosen days in the plan. Returns false if there is a problem, which is then in `checks`.
pub(crate) fn choose(
    config: &toml_types::Data,
    plan: &mut DataPlan,
    checks: &mut Checks<'_>,
) -> bool {
    let Some((choice, as_of)) = parsed(config, checks) else {
        return false;
    };
    let key = if config.days.is_some() {
        "days"
    } else {
        "as_of"
    };
    let found =
        ncs_readers::files(&plan.train, &plan.root).map_err(|error| ("train", error.to_string()));
    let found = found.and_then(|files| match by_folder(&files, None) {
        Ok(Some(days)) => Ok(days),
        Ok(None) => Err((
            key,
            format!(
                "data.{key} needs files in folders named by day, such as day=2026-11-28/rows.parquet; data.train names {} \
                 files, and not all are in such a folder",
                files.len()
            ),
        )),
        Err(what) => Err(("train", what)),
    });
    let days = match found {
        Ok(days) => days,
        Err((key, text)) => {
            checks.say(&["data", key], text);
            return false;
        }
    };
    let (Some(first), Some(latest)) = (
        days.keys().next().copied(),
        days.keys().next_back().copied(),
    ) else {
        return true;
    };
    let range = choice.range(as_of, latest);
    let chosen: Vec<_> = days.iter().filter(|(day, _)| range.holds(**day)).collect();
    let (Some((from, _)), Some((to, _))) = (chosen.first(), chosen.last()) else {
        let text = format!("no day of data.train is chosen; its days are {first} to {latest}");
        checks.say(&["data", key], text);
        return false;
    };
    let files: Vec<_> = chosen.iter().flat_map(|(_, files)| files.iter()).collect();
    checks.note(format!(
        "data.train: {} of {} days, {from} to {to}, {} files",
        chosen.len(),
        days.len(),
        files.len()
    ));
    let absolute =
        |file: &&std::path::PathBuf| std::path::absolute(file).unwrap_or(file.to_path_buf());
    plan.train = files
        .iter()
        .map(|file| absolute(file).display().to_string())
        .collect();
    true
}

/// Returns the choice of days and the day of the training; `None` if one of them has another form.
fn parsed(
    config: &toml_types::Data,
    checks: &mut Checks<'_>,
) -> Option<(DayChoice, Option<DayKey>)> {
    let choice = config
        .days
        .as_deref()
        .map_or(Ok(DayChoice::Range(DayRange::default())), DayChoice::parse);
    let as_of = config
        .as_of
        .as_deref()
        .map(|text| DayKey::parse(text).ok_or("expected a day, such as 2026-11-28 or 20261128"));
    let as_of = as_of.transpose();
    if let Err(what) = &choice {
        let text = format!(
            "data.days = {:?}: {what}",
            config.days.as_deref().unwrap_or_default()
        );
        checks.say(&["data", "days"], text);
    }
    if let Err(what) = as_of {
        let text = format!(
            "data.as_of = {:?}: {what}",
            config.as_of.as_deref().unwrap_or_default()
        );
        checks.say(&["data", "as_of"], text);
    }
    Some((choice.ok()?, as_of.ok()?))
}
