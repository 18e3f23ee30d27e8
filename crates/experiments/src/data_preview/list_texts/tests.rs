use super::*;
use crate::data_preview::gathered::Reads;
use ncs_features::{Block, Column, Pooling, Texts as Values};

fn warning_of(texts: &[&str], pooling: Option<Pooling>, separator: Option<char>) -> String {
    let mut values = Values::default();
    texts.iter().for_each(|text| values.push(text.as_bytes()));
    let field = Field {
        name: "tags".into(),
        column: "tags".into(),
        table: 0,
        pooling,
        separator,
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    };
    let block = Block {
        n_rows: texts.len(),
        columns: vec![Column {
            name: "tags".into(),
            values: ncs_features::Values::Text(values),
            ..Column::default()
        }],
    };
    let ids = IdSpacePlan::Vocabulary {
        min_count: 2,
        max_size: None,
    };
    let gathered = Gathered::of(&field, Reads::Texts, [&block].into_iter());
    warning(&field, &ids, &gathered).unwrap_or_default()
}

#[track_caller]
fn category(texts: &[&str], expected: &str) {
    let text = warning_of(texts, None, None);
    assert_eq!(text.is_empty(), expected.is_empty(), "{text}");
    assert!(text.contains(expected), "{text}");
}

#[track_caller]
fn list(texts: &[&str], separator: Option<char>, expected: &str) {
    let text = warning_of(texts, Some(Pooling::Mean), separator);
    assert_eq!(text.is_empty(), expected.is_empty(), "{text}");
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_category_that_looks_like_a_list_gets_advice() {
    let brackets = "kind = \"list\", which reads them";
    category(&["['a', 'b']", "['b']", "[]"], brackets);
    category(&["[\"a\",\"b\"]", "[\"c\"]"], brackets);
    category(&["a|b", "b", "a|b|c"], "separator = \"|\"");
    category(&["a;b", "b;c", "a;c", "c;a;b"], "separator = \";\"");
    category(&["a, b", "b, c", "a, b, c", "a"], "separator = \",\"");
    let words = ["a b c", "a b", "b c", "a c", "c b", "c a b", "b"];
    category(&words, "separator = \" \"");
    category(&["a\u{1}b", "b\u{1}c\u{1}d"], "separator = \"\\u{1}\"");
}

#[test]
fn texts_with_blanks_and_punctuation_are_not_lists() {
    category(
        &[
            "New York",
            "Los Angeles",
            "San Francisco",
            "New Orleans",
            "Oslo",
        ],
        "",
    );
    category(&["Smith, John", "Doe, Jane", "Roe, Richard"], "");
    let times = [
        "2024-01-01 10:00",
        "2024-01-01 11:00",
        "2024-01-02 10:00",
        "2024-01-02 11:00",
    ];
    category(&times, "");
    category(&["12:30", "12:45", "13:30", "13:45"], "");
    category(&["Mozilla/5.0", "a-b", "a_b", "sports/football"], "");
}

#[test]
fn weights_are_reported() {
    let not = "weights are not supported";
    category(&["a:0.5|b:1", "b:2|c:0.1", "a:1"], not);
    list(&["a:0.5|b:1", "b:2|a:0.1", "a:1"], Some('|'), not);
    list(
        &["a:0.5,b:1", "b:2,a:0.1", "a:1"],
        None,
        "separator = \",\"",
    );
    list(
        &["{'a': 0.5}", "{'a': 0.5, 'b': 1}"],
        None,
        "weights are not supported".trim(),
    );
}

#[test]
fn an_unsplit_list_gets_advice_on_its_separator() {
    list(&["a|b", "c", "d|e"], None, "set separator = \"|\"");
    list(&["a|b", "c|d"], Some(','), "which no text contains");
    list(&["a,b", "c"], Some(','), "");
    list(&["['a', 'b']", "[]", "['c']"], None, "");
    list(&["['a', 'b']", "[]", "['c']"], Some(','), "");
    list(&["[['a'], ['b']]", "[['c']]"], None, "lists in lists");
}

#[test]
fn numbers_with_fractions_are_vectors() {
    let not = "declare kind = \"vector\"";
    category(&["[0.1, -0.5]", "[0.2, 1.5e-3]"], not);
    category(
        &[
            "0.1 0.25 0.5",
            "0.3 0.5 0.1",
            "0.2 0.7 0.9",
            "0.1 0.5",
            "0.3 0.1",
        ],
        not,
    );
    list(&["0.1|0.25", "0.5|0.75"], None, not);
}
