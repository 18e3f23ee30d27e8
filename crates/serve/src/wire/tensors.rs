//! Tensors of the Open Inference Protocol and their conversion to columns.
//!
//! A tensor has the name of its column. `[1, ...]` is a column of the context, `[N, ...]` of the candidates
//! (all are candidates if `N` is 1). `[N]` and `[N, 1]` have one value per row, `[N, L]` a list of `L`
//! values; a tensor `NAME:lengths` of `N` whole numbers gives the used length of each list.

use super::Accepts;
use crate::api_error::{ApiError, ErrorKind};
use crate::words::shown;
use ncs_features::{Block, Column, Values};

/// A tensor with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name of the column, or `NAME:lengths`.
    pub name: String,
    /// One or two dimensions.
    pub shape: Vec<i64>,
    /// Values; their number is the product of the shape.
    pub values: Values,
}

/// Returns the number of values of a shape.
///
/// # Errors
/// It has no or more than two dimensions, a negative one, or the number exceeds 32 bits.
pub fn n_values(shape: &[i64]) -> Result<usize, ApiError> {
    let wrong = |what: &str| ApiError::invalid(format!("shape {shape:?}: {what}"));
    if shape.is_empty() || shape.len() > 2 {
        return Err(wrong("a column is [rows] or [rows, list]"));
    }
    let size = |&size: &i64| u32::try_from(size).ok();
    let sizes: Option<Vec<u32>> = shape.iter().map(size).collect();
    let product = sizes.and_then(|sizes| sizes.into_iter().try_fold(1u32, u32::checked_mul));
    let product = product.ok_or_else(|| wrong("no such number of values"))?;
    Ok(product as usize)
}

const LENGTHS: &str = ":lengths";

/// Splits tensors into the context and the candidates.
///
/// # Errors
/// Shapes do not match, a name is repeated, lengths have no list, or there are too many candidates.
pub fn blocks(tensors: Vec<Tensor>, accepts: &Accepts) -> Result<(Block, Block), ApiError> {
    let rows = |tensor: &Tensor| tensor.shape[0] as usize;
    let n_rows = tensors.iter().map(rows).max().unwrap_or(0);
    accepts.check_candidates(n_rows)?;
    let (lengths, columns): (Vec<_>, Vec<_>) = tensors
        .into_iter()
        .partition(|tensor| tensor.name.ends_with(LENGTHS));
    let mut lengths: Vec<Option<Tensor>> = lengths.into_iter().map(Some).collect();
    let mut names = std::collections::HashSet::new();
    let mut context = Block {
        n_rows: 1,
        columns: Vec::new(),
    };
    let mut candidates = Block {
        n_rows,
        columns: Vec::new(),
    };
    for tensor in columns {
        let name = tensor.name.clone();
        let wrong = |error: ApiError| error.at(format_args!("input \"{}\"", shown(&name)));
        if !names.insert(name.clone()) {
            return Err(wrong(ApiError::invalid("it comes twice")));
        }
        let block = match rows(&tensor) {
            n if n == n_rows => &mut candidates,
            1 => &mut context,
            n => {
                return Err(wrong(ApiError::invalid(format!(
                    "shape {:?} has {n} rows, and others have {n_rows}; a column has one row for the \
                     context or one a candidate",
                    tensor.shape
                ))));
            }
        };
        let is_lengths = |tensor: &&mut Option<Tensor>| {
            let lengths = tensor.as_ref();
            lengths.is_some_and(|lengths| lengths.name.strip_suffix(LENGTHS) == Some(&name))
        };
        let lengths = lengths.iter_mut().find(is_lengths).and_then(Option::take);
        block.columns.push(column(tensor, lengths).map_err(wrong)?);
    }
    match lengths.into_iter().flatten().next() {
        None => Ok((context, candidates)),
        Some(rest) => Err(ErrorKind::Invalid.error(format!(
            "input \"{}\": there is no input with lists of that name",
            shown(&rest.name)
        ))),
    }
}

fn column(tensor: Tensor, lengths: Option<Tensor>) -> Result<Column, ApiError> {
    let n_rows = tensor.shape[0] as usize;
    let width = tensor.shape.get(1).map_or(1, |&width| width as usize);
    let is_list = tensor.shape.len() == 2 && (width != 1 || lengths.is_some());
    let (values, offsets) = match lengths {
        Some(_) if !is_list => {
            return Err(ApiError::invalid(
                "it has lengths, but its shape is not a list",
            ));
        }
        Some(lengths) => {
            let lengths = counts(&lengths, n_rows, width)?;
            let (values, offsets) = cut(&tensor.values, &lengths, width);
            (values, Some(offsets))
        }
        None if is_list => {
            let offsets = (0..=n_rows).map(|row| (row * width) as u32).collect();
            (tensor.values, Some(offsets))
        }
        None => (tensor.values, None),
    };
    Ok(Column {
        name: tensor.name,
        values,
        offsets,
        nulls: Vec::new(),
    })
}

/// Returns the list length of each row, at most `width`.
fn counts(lengths: &Tensor, n_rows: usize, width: usize) -> Result<Vec<usize>, ApiError> {
    let Values::Int(numbers) = &lengths.values else {
        return Err(ApiError::invalid("its lengths must be whole numbers"));
    };
    if numbers.len() != n_rows {
        return Err(ApiError::invalid(format!(
            "{} lengths for {n_rows} rows",
            numbers.len()
        )));
    }
    let count = |&length: &i64| usize::try_from(length).ok().filter(|&n| n <= width);
    let counts: Option<Vec<usize>> = numbers.iter().map(count).collect();
    counts.ok_or_else(|| {
        ApiError::invalid(format!(
            "a length is outside 0 to {width}, the width of its shape"
        ))
    })
}

fn cut(values: &Values, lengths: &[usize], width: usize) -> (Values, Vec<u32>) {
    let rows = lengths.iter().enumerate();
    let kept = rows.flat_map(|(row, &n)| row * width..row * width + n);
    let values = values.select(kept);
    let mut offsets = vec![0];
    let mut end = 0;
    offsets.extend(lengths.iter().map(|&n| {
        end += n as u32;
        end
    }));
    (values, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[i64]) -> Tensor {
        let n = n_values(shape).unwrap() as i64;
        Tensor {
            name: name.into(),
            shape: shape.into(),
            values: Values::Int((0..n).collect()),
        }
    }

    const ACCEPTS: Accepts = Accepts {
        candidates: 5,
        bytes: 1 << 20,
        lenient: false,
    };

    #[test]
    fn one_row_is_the_context_and_lists_are_cut_to_their_lengths() {
        let lengths = Tensor {
            values: Values::Int(vec![1, 0, 2]),
            ..tensor("b:lengths", &[3])
        };
        let tensors = vec![tensor("a", &[1, 2]), lengths, tensor("b", &[3, 2])];
        let (context, candidates) = blocks(tensors, &ACCEPTS).unwrap();
        assert_eq!(context.n_rows, 1);
        assert_eq!(context.columns[0].offsets, Some(vec![0, 2]));
        assert_eq!(candidates.n_rows, 3);
        assert_eq!(candidates.columns[0].values, Values::Int(vec![0, 4, 5]));
        assert_eq!(candidates.columns[0].offsets, Some(vec![0, 1, 1, 3]));
    }

    #[test]
    fn shapes_that_do_not_match_are_refused() {
        let check = |tensors: Vec<Tensor>, expected: &str| {
            let refusal = blocks(tensors, &ACCEPTS).unwrap_err();
            assert!(refusal.message.contains(expected), "{refusal}");
        };
        check(vec![tensor("a", &[6])], "more than 5 candidates");
        check(
            vec![tensor("a", &[2]), tensor("b", &[3])],
            "shape [2] has 2 rows",
        );
        check(vec![tensor("a", &[2]), tensor("a", &[2])], "it comes twice");
        check(
            vec![tensor("a:lengths", &[2])],
            "no input with lists of that name",
        );
        check(
            vec![tensor("a", &[2]), tensor("a:lengths", &[2])],
            "its shape is not a list",
        );
        check(
            vec![tensor("a", &[2, 2]), tensor("a:lengths", &[1])],
            "1 lengths for 2 rows",
        );
        check(
            vec![tensor("a", &[3, 1]), tensor("a:lengths", &[3])],
            "outside 0 to 1",
        );
        assert!(n_values(&[]).is_err());
        assert!(n_values(&[1, 2, 3]).is_err());
        assert!(n_values(&[-1]).is_err());
        assert!(n_values(&[1 << 20, 1 << 20]).is_err());
    }
}
