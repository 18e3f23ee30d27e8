//! The rank call in protobuf: `proto/ranking.proto`.

use super::Accepts;
use super::bounds::Bounds;
use super::count_proto::{self, count, malformed};
use crate::api_error::{ApiError, ErrorKind};
use crate::proto::ranking::{
    Column as ColumnProto, RankRequest, RankResponse, Scores, column::Values as ValuesProto,
    rank_request,
};
use crate::rank_request::{ModelSelector, RankQuery, RankScores, Top, VersionSelector};
use crate::words::shown;
use bytes::Bytes;
use ncs_features::{Block, Column, Values};
use prost::Message;

/// Decodes a request, after counting its memory.
///
/// # Errors
/// It is not such a message, or would take more memory than a request may.
pub fn decode(message: Bytes, accepts: &Accepts) -> Result<RankRequest, ApiError> {
    count(&count_proto::RANK, &message, &Bounds::new(accepts))?;
    RankRequest::decode(message).map_err(|error| malformed(&error.to_string()))
}

/// Reads a request.
///
/// # Errors
/// Its columns do not match each other, or there are too many candidates.
pub fn read(request: RankRequest, accepts: &Accepts) -> Result<RankQuery, ApiError> {
    let context = block(request.context, "context")?;
    let is_one_row = context.n_rows == 1;
    if let Some(column) = context.columns.first().filter(|_| !is_one_row) {
        let column = shown(&column.name);
        let what = format!(
            "context: column \"{column}\" has {} values; the context is one row (a list needs \
             `lengths`)",
            context.n_rows
        );
        return Err(ErrorKind::Invalid.error(what));
    }
    let candidates = block(request.candidates, "candidates")?;
    accepts.check_candidates(candidates.n_rows)?;
    let top = match (request.top_k, request.top_by) {
        (0, by) if by.is_empty() => None,
        (0, _) => return Err(ErrorKind::Invalid.error("top_by without top_k")),
        (n, by) => Some(Top {
            n: n as usize,
            by: Some(by).filter(|by| !by.is_empty()),
        }),
    };
    Ok(RankQuery {
        model: ModelSelector {
            name: Some(request.model).filter(|name| !name.is_empty()),
            version: match request.which {
                None => VersionSelector::Routed,
                Some(rank_request::Which::Version(number)) => VersionSelector::Number(number),
                Some(rank_request::Which::Label(label)) => VersionSelector::Labelled(label),
            },
        },
        id: request.id,
        user: Some(request.user).filter(|user| !user.is_empty()),
        context,
        candidates,
        top,
        timeout: None,
    })
}

fn block(columns: Vec<ColumnProto>, part: &str) -> Result<Block, ApiError> {
    let wrong = |what: String| ApiError::invalid(format!("{part}: {what}"));
    let mut block = Block::default();
    let mut names = std::collections::HashSet::new();
    for proto in columns {
        let name = proto.name.clone();
        if !names.insert(name.clone()) {
            return Err(wrong(format!("column \"{}\" comes twice", shown(&name))));
        }
        let in_column =
            |error: ApiError| error.at(format_args!("{part}: column \"{}\"", shown(&name)));
        let (n_rows, column) = column(proto).map_err(in_column)?;
        match block.columns.first() {
            None => block.n_rows = n_rows,
            Some(first) if block.n_rows != n_rows => {
                return Err(wrong(format!(
                    "column \"{}\" has {n_rows} rows and column \"{}\" has {}; each needs one a \
                     candidate, with `null_rows` where a value is unknown",
                    shown(&name),
                    shown(&first.name),
                    block.n_rows
                )));
            }
            Some(_) => {}
        }
        block.columns.push(column);
    }
    Ok(block)
}

/// Converts a column; returns it with its number of rows.
fn column(proto: ColumnProto) -> Result<(usize, Column), ApiError> {
    let (n_values, values) = match proto.values {
        Some(ValuesProto::Ints(ints)) => (ints.values.len(), Values::Int(ints.values)),
        Some(ValuesProto::Floats(floats)) => (floats.values.len(), Values::Float(floats.values)),
        Some(ValuesProto::Texts(texts)) => (texts.values.len(), Values::Text(texts.values)),
        None => {
            let message = "it has no values; set texts, ints or floats";
            return Err(ApiError::invalid(message));
        }
    };
    let offsets = proto
        .lengths
        .map(|lengths| offsets(&lengths.values, n_values));
    let offsets = offsets.transpose()?;
    let n_rows = offsets
        .as_ref()
        .map_or(n_values, |offsets| offsets.len() - 1);
    let mut nulls = Vec::new();
    for row in proto.null_rows {
        nulls.resize(n_rows, false);
        match nulls.get_mut(row as usize) {
            Some(null) => *null = true,
            None => {
                let message = format!("null_rows names row {row} of {n_rows} (from 0)");
                return Err(ApiError::invalid(message));
            }
        }
    }
    let column = Column {
        name: proto.name,
        values,
        offsets,
        nulls,
    };
    Ok((n_rows, column))
}

/// Returns the offsets of the rows' lists from their lengths.
fn offsets(lengths: &[u32], n_values: usize) -> Result<Vec<u32>, ApiError> {
    let mut offsets = Vec::with_capacity(lengths.len() + 1);
    let mut end = 0u64;
    offsets.push(0);
    for &length in lengths {
        end += u64::from(length);
        offsets.push(u32::try_from(end).unwrap_or(u32::MAX));
    }
    if end != n_values as u64 {
        let message = format!("lengths add up to {end}, and there are {n_values} values");
        return Err(ApiError::invalid(message));
    }
    Ok(offsets)
}

/// Builds a response.
pub fn answer(answer: RankScores) -> RankResponse {
    let outputs = answer.outputs.iter().cloned();
    let scores = outputs.zip(answer.scores);
    RankResponse {
        id: answer.id,
        model: answer.model.to_string(),
        version: answer.version,
        model_hash: answer.hash.to_string(),
        label: answer.label.unwrap_or_default().to_owned(),
        scores: scores
            .map(|(output, values)| Scores { output, values })
            .collect(),
        best: answer.best.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ranking::{Ints, Lengths};

    fn ints(name: &str, values: &[i64], lengths: Option<&[u32]>, null_rows: &[u32]) -> ColumnProto {
        ColumnProto {
            name: name.into(),
            values: Some(ValuesProto::Ints(Ints {
                values: values.into(),
            })),
            lengths: lengths.map(|lengths| Lengths {
                values: lengths.into(),
            }),
            null_rows: null_rows.into(),
        }
    }

    fn read_request(
        context: Vec<ColumnProto>,
        candidates: Vec<ColumnProto>,
    ) -> Result<RankQuery, ApiError> {
        let request = RankRequest {
            context,
            candidates,
            ..RankRequest::default()
        };
        let accepts = Accepts {
            candidates: 3,
            bytes: 4096,
            lenient: false,
        };
        read(request, &accepts)
    }

    #[test]
    fn lists_and_nulls_keep_their_rows() {
        let history = ints("history", &[4, 5], Some(&[2]), &[]);
        let item = ints("item", &[1, 0, 3], None, &[1]);
        let request = read_request(vec![history], vec![item]).unwrap();
        assert_eq!(request.context.n_rows, 1);
        assert_eq!(request.context.columns[0].offsets, Some(vec![0, 2]));
        assert_eq!(request.candidates.n_rows, 3);
        assert_eq!(request.candidates.columns[0].nulls, [false, true, false]);
    }

    #[test]
    fn columns_of_different_lengths_are_refused() {
        let check = |context: Vec<ColumnProto>, candidates: Vec<ColumnProto>, expected: &str| {
            let refusal = read_request(context, candidates).unwrap_err();
            assert!(refusal.message.contains(expected), "{refusal}");
        };
        let one = |name: &str, n: usize| ints(name, &[1, 2, 3, 4][..n], None, &[]);
        check(vec![one("a", 2)], vec![], "the context is one row");
        check(vec![one("a", 0)], vec![], "the context is one row");
        check(vec![], vec![one("a", 4)], "more than 3 candidates");
        check(
            vec![],
            vec![one("a", 2), one("b", 3)],
            "column \"b\" has 3 rows",
        );
        check(vec![], vec![one("a", 2), one("a", 2)], "comes twice");
        check(
            vec![],
            vec![ints("a", &[1], None, &[1])],
            "null_rows names row 1 of 1",
        );
        check(
            vec![],
            vec![ints("a", &[1], Some(&[u32::MAX, 2]), &[])],
            "lengths add up to",
        );
        let empty = ColumnProto {
            name: "a".into(),
            ..ColumnProto::default()
        };
        check(vec![], vec![empty], "it has no values");
    }
}
