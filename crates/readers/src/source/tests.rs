use super::*;

#[test]
fn broken_rows_move_those_after_them() {
    let broken = [11, 12, 15].map(|row| BrokenRow {
        row,
        what: String::new(),
    });
    let found: Vec<u64> = (1..=4).map(|row| row_in_file(10, &broken, row)).collect();
    assert_eq!(found, [10, 13, 14, 16]);
}

#[test]
fn blanks_around_the_names_of_columns_are_seen() {
    let present = ["user", " click", "long read"].map(String::from);
    let error = ReadError::missing("a.csv".as_ref(), "click", &present);
    assert_eq!(
        error.to_string(),
        "a.csv: no column \"click\"; the nearest is \" click\"; it has user, \" click\", \"long read\""
    );
}

#[test]
fn an_error_tells_file_row_and_column() {
    let error = ReadError::Row {
        path: "a.csv".into(),
        row: 7,
        what: "row 7 (line 8): column \"price\": text where a number belongs".to_owned(),
    };
    assert_eq!(error.file(), Some(Path::new("a.csv")));
    assert_eq!(
        (error.row(), error.column()),
        (Some(7), Some("price".to_owned()))
    );
    let error = ReadError::no_rows("a.csv".as_ref(), 1);
    assert_eq!((error.row(), error.column()), (None, None));
}

#[test]
fn a_missing_column_is_named_with_one_like_it() {
    let present = ["user", "click", "long_read"].map(String::from);
    let error = ReadError::missing("a.csv".as_ref(), "clik", &present);
    assert_eq!(
        error.to_string(),
        "a.csv: no column \"clik\"; the nearest is \"click\"; it has user, click, long_read"
    );
}
