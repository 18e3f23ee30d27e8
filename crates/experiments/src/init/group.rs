//! The column by which rows are grouped for ranking metrics.

use super::Column;

/// Names of group columns, in order of preference: rows that are shown together first.
const GROUPS: [&[&str]; 3] = [
    &[
        "impressionid",
        "impid",
        "slateid",
        "requestid",
        "reqid",
        "pvid",
        "searchid",
        "queryid",
        "impression",
        "request",
        "slate",
        "qid",
        "srchid",
    ],
    &["sessionid", "session", "sessid", "seqnum"],
    &[
        "userid",
        "user",
        "uid",
        "memberid",
        "visitorid",
        "customerid",
        "useridhash",
        "feauid",
        "deviceid",
    ],
];

/// Guesses by name the column whose rows are shown together or belong to one user.
pub(super) fn guess(columns: &[Column]) -> Option<&Column> {
    let letters = |name: &str| -> String {
        let letters = name.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let names = GROUPS.into_iter().flatten();
    let of_name = |name: &&str| {
        let mut candidates = columns
            .iter()
            .filter(|column| letters(&column.name) == *name);
        candidates.find(|column| {
            column.nulls == 0 && column.distinct * 3 <= column.known * 2 && column.distinct > 1
        })
    };
    names.copied().find_map(|name| of_name(&name))
}

/// Returns true if the group is one event, unlike the rows of a user.
pub(super) fn is_event(name: &str) -> bool {
    super::names::name_hint(name) == Some(super::names::NameHint::Event)
}
