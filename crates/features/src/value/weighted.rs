//! Weights of the values of a list.

use super::{items, number_of_text, shown_text};
use crate::beside::Beside;
use crate::block::{Block, Column, Values};
use crate::error::EncodeError;
use crate::list_text;
use crate::schema::Field;

/// Source of the weights of a list's values.
pub(super) enum Weights<'a> {
    /// None: every value counts once.
    None,
    /// A column of parallel lists.
    Column(&'a Column),
    /// Behind this character of each value.
    After(char),
}

impl<'a> Weights<'a> {
    pub(super) fn of(field: &Field, block: &'a Block) -> Result<Weights<'a>, EncodeError> {
        Ok(match &field.beside {
            Beside::Weights { column } => {
                let wanted_by = format!("feature \"{}\"", field.name);
                Weights::Column(block.require(column, &wanted_by)?)
            }
            Beside::WeightAfter { separator } => Weights::After(*separator),
            Beside::None | Beside::Since { .. } | Beside::Ages(_) => Weights::None,
        })
    }

    /// Returns the weights of a row.
    pub(super) fn of_row(
        &self,
        of: &'a Column,
        row: usize,
        separator: Option<&str>,
    ) -> Result<RowWeights<'a>, EncodeError> {
        Ok(match self {
            Weights::None => RowWeights::None,
            Weights::After(separator) => RowWeights::After {
                separator: *separator,
                column: of,
                row,
            },
            Weights::Column(column) => RowWeights::Listed {
                weights: listed(column, row, separator)?,
                n_values: 0,
                column,
                of,
                row,
            },
        })
    }
}

/// Weights of the values of a row, taken in their order.
pub(super) enum RowWeights<'a> {
    None,
    After {
        separator: char,
        column: &'a Column,
        row: usize,
    },
    Listed {
        weights: Vec<f64>,
        /// Number of values whose weights were taken.
        n_values: usize,
        column: &'a Column,
        of: &'a Column,
        row: usize,
    },
}

impl RowWeights<'_> {
    /// Returns the next value without its weight, and the weight.
    pub(super) fn split<'t>(&mut self, item: &'t [u8]) -> Result<(&'t [u8], f64), EncodeError> {
        match self {
            RowWeights::None => Ok((item, 1.0)),
            RowWeights::Listed {
                weights, n_values, ..
            } => {
                *n_values += 1;
                // Too few weights are an error once all values are known.
                Ok((item, weights.get(*n_values - 1).copied().unwrap_or(0.0)))
            }
            RowWeights::After {
                separator,
                column,
                row,
            } => {
                // The column was checked to be UTF-8.
                let text = std::str::from_utf8(item).unwrap_or_default();
                match text.rsplit_once(*separator) {
                    None => Ok((item, 1.0)),
                    Some((value, weight)) => {
                        let found = number_of_text(weight.as_bytes());
                        Ok((value.as_bytes(), checked(found, weight, column, *row)?))
                    }
                }
            }
        }
    }

    /// Checks that each value had one weight.
    pub(super) fn finish(self) -> Result<(), EncodeError> {
        match self {
            RowWeights::Listed {
                weights,
                n_values,
                column,
                of,
                row,
            } if weights.len() != n_values => Err(EncodeError::Weights {
                column: column.name.clone(),
                row: row as u64 + 1,
                what: format!(
                    "{} where column \"{}\" holds {}; write one weight for each value",
                    counted(weights.len(), "weight"),
                    of.name,
                    counted(n_values, "value")
                ),
            }),
            _ => Ok(()),
        }
    }
}

fn counted(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Returns the list of weights of a row.
fn listed(column: &Column, row: usize, separator: Option<&str>) -> Result<Vec<f64>, EncodeError> {
    let mut weights = Vec::new();
    for i in column.range(row) {
        let Values::Text(texts) = &column.values else {
            let x = column.any_number(row, i)?;
            let shown = x.map_or("null".to_owned(), |x| x.to_string());
            weights.push(checked(x, &shown, column, row)?);
            continue;
        };
        let mut push = |item: &[u8]| {
            let shown = shown_text(item);
            weights.push(checked(number_of_text(item), &shown, column, row)?);
            Ok(())
        };
        let text = texts.get(i);
        match list_text::items_of(text).filter(|_| column.offsets.is_none()) {
            Some(written) => written.iter().try_for_each(|item| push(item))?,
            None => items(text, separator).try_for_each(push)?,
        }
    }
    Ok(weights)
}

/// Returns the weight if it is one: finite in single precision, at least 0.
fn checked(
    weight: Option<f64>,
    found: &str,
    column: &Column,
    row: usize,
) -> Result<f64, EncodeError> {
    let is_weight = |x: &f64| *x >= 0.0 && (*x as f32).is_finite();
    weight
        .filter(is_weight)
        .ok_or_else(|| EncodeError::Weights {
            column: column.name.clone(),
            row: row as u64 + 1,
            what: format!("the weight {found:?} is not a finite number of at least 0"),
        })
}
