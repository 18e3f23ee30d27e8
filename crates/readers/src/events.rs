//! Lists of groups (of structs, of objects): the column `history.item` is the list of the attribute `item` of the events in
//! `history`. An attribute that is null keeps its place, so that the lists of all attributes have the same length.

use ncs_features::value::TextBuffer;
use ncs_features::{Texts, Values};

/// Returns the ways to read a name as a column and an attribute of its events.
pub(crate) fn divisions(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let dots = name.match_indices('.');
    dots.map(|(at, _)| (&name[..at], &name[at + 1..]))
}

/// Returns the values at these places, and a missing value at `None`: NaN among floating-point numbers, otherwise an empty
/// text, with all values as texts.
pub(crate) fn with_missing(values: &Values, places: &[Option<usize>]) -> Values {
    match values {
        _ if places.iter().all(Option::is_some) => values.select_or_fill(places.iter().copied()),
        Values::Float(numbers) => {
            let number = |place: &Option<usize>| place.map_or(f64::NAN, |i| numbers[i]);
            Values::Float(places.iter().map(number).collect())
        }
        Values::Text(_) => values.select_or_fill(places.iter().copied()),
        Values::Int(_) | Values::Time(_) => {
            let (mut texts, mut buffer) = (Texts::default(), TextBuffer::default());
            for place in places {
                match place {
                    Some(i) => texts.push(buffer.plain(values, *i)),
                    None => texts.push(b""),
                }
            }
            Values::Text(texts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_keep_their_places() {
        let ints = Values::Int(vec![7, 9]);
        assert_eq!(
            with_missing(&ints, &[Some(1), Some(0)]),
            Values::Int(vec![9, 7])
        );
        let Values::Text(texts) = with_missing(&ints, &[Some(0), None, Some(1)]) else {
            panic!("whole numbers have no missing value");
        };
        let found: Vec<&[u8]> = (0..3).map(|i| texts.get(i)).collect();
        assert_eq!(found, [&b"7"[..], b"", b"9"]);
        let Values::Float(numbers) = with_missing(&Values::Float(vec![0.5]), &[None, Some(0)])
        else {
            panic!("floating-point numbers have one");
        };
        assert!(numbers[0].is_nan() && numbers[1] == 0.5);
    }

    #[test]
    fn a_name_may_be_divided_at_each_dot() {
        let found: Vec<_> = divisions("a.b.c").collect();
        assert_eq!(found, [("a", "b.c"), ("a.b", "c")]);
        assert_eq!(divisions("a").count(), 0);
    }
}
