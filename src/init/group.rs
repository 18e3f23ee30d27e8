//! Which column groups the rows within which a model ranks.

use super::Column;

/// Names of groups, those first whose rows are shown together.
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

/// A column whose rows are shown together or are of one user, by its name.
pub(super) fn guess(columns: &[Column]) -> Option<&Column> {
    let letters = |name: &str| -> String {
        let letters = name.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let names = GROUPS.into_iter().flatten();
    let of_name = |name: &&str| {
        let mut named = columns
            .iter()
            .filter(|column| letters(&column.name) == *name);
        named.find(|column| {
            column.nulls == 0 && column.distinct * 3 <= column.known * 2 && column.distinct > 1
        })
    };
    names.copied().find_map(|name| of_name(&name))
}

/// Whether the rows of a group belong together, unlike those of a user.
pub(super) fn is_event(name: &str) -> bool {
    super::names::named(name) == Some(super::names::Named::Event)
}
