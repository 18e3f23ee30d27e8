//! What is wrong in a comparison file, found before anything runs.

use super::toml_types::{CompareFile, DATA, DataSet, Match, Method, SEED};

/// Errors with the keys that they refer to.
#[derive(Default)]
struct Problems(Vec<(Vec<String>, String)>);

impl Problems {
    fn add(&mut self, keys: &[&str], text: String) {
        self.0
            .push((keys.iter().map(|key| (*key).to_owned()).collect(), text));
    }
}

/// Returns the errors of a comparison file, each with the keys that it refers to.
pub(super) fn of(file: &CompareFile) -> Vec<(Vec<String>, String)> {
    let mut problems = Problems::default();
    if file.methods.is_empty() {
        problems.add(
            &["methods"],
            "there is not a method; add [methods.NAME] or include".to_owned(),
        );
    }
    let unknown = |name: &&String| !file.methods.contains_key(*name);
    for name in file.references.iter().filter(unknown) {
        problems.add(&["references"], unknown_method(name, file));
    }
    for (name, set) in &file.data {
        of_data_set(name, set, file, &mut problems);
    }
    for (name, method) in &file.methods {
        of_method(name, method, file, &mut problems);
    }
    of_tuning(file, &mut problems);
    of_names(file, &mut problems);
    problems.0
}

fn of_data_set(name: &str, set: &DataSet, file: &CompareFile, problems: &mut Problems) {
    if set.run.is_none() && set.synth.is_none() {
        let text = format!("data set {name:?} needs run (a run file) or synth (a synthetic log)");
        problems.add(&["data", name], text);
    }
    let methods = set.methods.iter().flatten();
    let methods = methods.map(|method| ("methods", method));
    let published = set.published.iter();
    let published = published.map(|published| ("published", &published.method));
    for (key, method) in methods.chain(published) {
        if !file.methods.contains_key(method) {
            problems.add(&["data", name, key], unknown_method(method, file));
        }
    }
}

fn of_method(name: &str, method: &Method, file: &CompareFile, problems: &mut Problems) {
    let bases = [
        ("masks_of", &method.masks_of),
        ("weights_of", &method.weights_of),
    ];
    for (key, base) in bases {
        if let Some(base) = base {
            of_base(name, key, base, file, problems);
        }
    }
    for text in of_scores(name, method, file) {
        problems.add(&["methods", name], text);
    }
    let takes_widths = method.masks_of.is_some() || method.weights_of.is_some();
    if method.width.is_some() && (takes_widths || file.matching != Match::None) {
        let text = format!(
            "method {name:?} has width, but match, masks_of or weights_of already sets its widths"
        );
        problems.add(&["methods", name, "width"], text);
    }
    if method.masks_of.is_some() && method.weights_of.is_some() {
        let text = format!(
            "method {name:?} has masks_of and weights_of; its widths are those of the masks"
        );
        problems.add(&["methods", name], text);
    }
}

/// Checks the method `base`, which the method `name` names under `key`.
fn of_base(name: &str, key: &str, base: &str, file: &CompareFile, problems: &mut Problems) {
    let text = match file.methods.get(base) {
        None => Some(unknown_method(base, file)),
        Some(other) if other.masks_of.is_some() || other.weights_of.is_some() => Some(format!(
            "{base:?} itself reuses another method; name that one"
        )),
        Some(other) if other.scores.is_some() => Some(format!(
            "{base:?} consists of score files, which have no masks and no widths"
        )),
        Some(_) => None,
    };
    if let Some(text) = text {
        problems.add(&["methods", name, key], text);
    }
    for (data, set) in &file.data {
        let lacks = |method: &str| {
            let own = set.methods.as_ref();
            own.is_some_and(|own| !own.iter().any(|name| name == method))
        };
        if lacks(base) && !lacks(name) {
            let text = format!("{name:?} needs {base:?}, which does not run on data set {data:?}");
            problems.add(&["data", data, "methods"], text);
        }
    }
}

/// Returns the errors of a method given as score files, as far as the comparison file determines them.
fn of_scores(name: &str, method: &Method, file: &CompareFile) -> Vec<String> {
    let Some(scores) = &method.scores else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    let others = [
        ("set", !method.set.is_empty()),
        ("masks_of", method.masks_of.is_some()),
        ("weights_of", method.weights_of.is_some()),
        ("family", method.family.is_some()),
    ];
    for (key, _) in others.iter().filter(|(_, is_set)| *is_set) {
        problems.push(format!(
            "method {name:?} consists of score files, to which {key} does not apply; leave out {key} or scores"
        ));
    }
    let runs = |(_, set): &(&String, &DataSet)| {
        set.methods
            .as_ref()
            .is_none_or(|own| own.iter().any(|own| own == name))
    };
    let sets: Vec<_> = file.data.iter().filter(runs).collect();
    if sets.len() > 1 && !scores.contains(DATA) {
        problems.push(format!(
            "method {name:?} runs on {} data sets, but its scores name the same file for all; write {DATA} for the \
             name of the data set",
            sets.len()
        ));
    }
    let has_logs = sets.iter().any(|(_, set)| set.synth.is_some());
    if has_logs && file.seeds.len() > 1 && !scores.contains(SEED) {
        problems.push(format!(
            "method {name:?}: every seed has its own synthetic log, so every seed needs its own scores; \
             write {SEED} for the seed"
        ));
    }
    problems
}

fn of_tuning(file: &CompareFile, problems: &mut Problems) {
    let tuning = &file.tuning;
    for (key, range) in [
        ("learning_rate", tuning.learning_rate),
        ("weight_decay", tuning.weight_decay),
        ("weight", tuning.weight),
    ] {
        if range.0 > range.1 {
            let text = format!(
                "tuning.{key} is {} to {}; the smaller number must come first",
                range.0, range.1
            );
            problems.add(&["tuning", key], text);
        }
    }
}

/// Checks the names of data sets and methods, which become names of folders.
fn of_names(file: &CompareFile, problems: &mut Problems) {
    let sets = file.data.keys().map(|name| ("data", name));
    let methods = file.methods.keys().map(|name| ("methods", name));
    for (key, name) in sets.chain(methods) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            let text = format!(
                "{name:?} becomes the name of a folder: use letters, digits, _, - and . only"
            );
            problems.add(&[key, name], text);
        }
    }
}

fn unknown_method(name: &str, file: &CompareFile) -> String {
    let known = file.methods.keys().map(String::as_str);
    format!("{name:?} is not a method{}", ncs_config::hint(name, known))
}
