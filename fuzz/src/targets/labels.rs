//! `labels.json`, and the request body that replaces it.

use super::Target;
use crate::mutate::Form;
use ncs_serve::registry::Labels;

pub(super) const TARGET: Target = Target {
    name: "labels",
    run,
    seeds,
    form: Form::Json,
    words: &[
        "stable",
        "canary",
        "shadow",
        "version",
        "share",
        "1.0000000000000002",
        "-0.0",
        "0.1",
    ],
    max_length: 4 << 10,
};

fn run(input: &[u8]) -> Result<String, String> {
    let labels: Labels = serde_json::from_slice(input).map_err(|error| error.to_string())?;
    labels.check().map_err(|error| error.to_string())?;
    let written = serde_json::to_vec(&labels).expect("labels are plain data");
    assert_eq!(
        serde_json::from_slice::<Labels>(&written).ok().as_ref(),
        Some(&labels)
    );
    let parts = (
        labels.stable.is_some(),
        labels.canary.is_some(),
        labels.shadow.is_empty(),
    );
    Ok(format!(
        "{parts:?} {}",
        labels.versions().count().next_power_of_two()
    ))
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"stable": 3, "canary": {"version": 4, "share": 0.1}, "shadow": [1, 2]}"#,
        r#"{"stable": null, "canary": null}"#,
        r#"{"canary": {"share": 1, "version": 18446744073709551615}}"#,
        "{}",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
