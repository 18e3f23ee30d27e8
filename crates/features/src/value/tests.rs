use super::*;

#[test]
fn a_number_has_one_text_whatever_its_type() {
    let check = |values: Values, text: &str| {
        assert_eq!(TextBuffer::default().text(&values, 0), text.as_bytes());
    };
    check(Values::Int(vec![-17]), "-17");
    check(Values::Float(vec![-17.0]), "-17");
    check(Values::Float(vec![-0.0]), "0");
    check(Values::Float(vec![0.1]), "0.1");
    check(
        Values::Float(vec![9_007_199_254_740_992.0]),
        "9007199254740992",
    );
    check(Values::Float(vec![f64::NAN]), "");
    check(Values::Int(vec![i64::MIN]), "-9223372036854775808");
}

#[test]
fn texts_are_cut_at_the_separator() {
    let check = |text: &str, separator: Option<&str>, expected: &[&str]| {
        let found: Vec<&[u8]> = items(text.as_bytes(), separator).collect();
        let expected: Vec<&[u8]> = expected.iter().map(|item| item.as_bytes()).collect();
        assert_eq!(found, expected);
    };
    check("a|b||c", Some("|"), &["a", "b", "", "c"]);
    check("a·b", Some("·"), &["a", "b"]);
    check("a|b", None, &["a|b"]);
    check("", Some("|"), &[]);
}

#[test]
fn lists_in_brackets_are_read_and_items_lose_the_blanks_around_them() {
    let field = Field {
        name: "tags".into(),
        column: "tags".into(),
        table: 0,
        pooling: Some(Pooling::Mean),
        separator: Some(','),
        max_values: Some(3),
        beside: Default::default(),
        missing: vec![],
    };
    let mut texts = crate::block::Texts::default();
    let rows = [
        "['a', 'b']",
        " a , b",
        "[]",
        "[1.0, None, true]",
        "(a, b)",
        "[1 2 3 4]",
    ];
    rows.iter().for_each(|row| texts.push(row.as_bytes()));
    let block = Block {
        n_rows: rows.len(),
        columns: vec![Column {
            name: "tags".into(),
            values: Values::Text(texts),
            ..Column::default()
        }],
    };
    let mut found = vec![Vec::new(); rows.len()];
    let add = |row: usize, text: Option<&[u8]>| {
        found[row].push(String::from_utf8(text.unwrap().to_vec()).unwrap());
    };
    each_text(&field, &block, add).unwrap();
    let expected: [&[&str]; 6] = [
        &["a", "b"],
        &["a", "b"],
        &[],
        &["1", "1"],
        &["(a", "b)"],
        &["1", "2", "3"],
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_short_number_keeps_its_text() {
    assert_eq!(widen(0.1), 0.1);
    assert_eq!(widen(-20.08), -20.08);
    assert_eq!(widen(16_777_216.0), 16_777_216.0);
    assert!(widen(f32::NAN).is_nan());
    // 0.1, -0.00012004 and 65504, the largest; infinite, none.
    let halves = [0x2E66, 0x87DE, 0x7BFF, 0x7C00].map(widen_half);
    assert_eq!(halves, [0.1, -0.000_120_04, 65_500.0, f64::INFINITY]);
    assert!(widen_half(0x7E00).is_nan());
    assert_eq!(widen_bfloat(0x3DCD), 0.1);
}
