//! The message of a rank request in protobuf.

use super::{Target, WORDS, requests};
use crate::mutate::Form;
use ncs_serve::ErrorKind;
use ncs_serve::proto::ranking::column::Values;
use ncs_serve::proto::ranking::rank_request::Which;
use ncs_serve::proto::ranking::{Column, Floats, Ints, Lengths, RankRequest, Texts};
use ncs_serve::wire::rank_proto::{answer, decode, read};
use prost::Message;

pub(super) const TARGET: Target = Target {
    name: "rank_proto",
    run,
    seeds,
    form: Form::Protobuf,
    words: WORDS,
    max_length: 16 << 10,
};

fn run(input: &[u8]) -> Result<String, String> {
    requests::handle(
        |accepts| {
            let request = decode(input.to_vec().into(), accepts)?;
            Ok((read(request, accepts)?, ()))
        },
        |response, ()| {
            let bytes = answer(response.clone()).encode_to_vec();
            (!bytes.is_empty())
                .then_some(())
                .ok_or(ErrorKind::Internal.error("the message is empty"))
        },
    )
}

fn column(name: &str, values: Values, lengths: &[u32], null_rows: &[u32]) -> Column {
    Column {
        name: name.to_owned(),
        values: Some(values),
        lengths: (!lengths.is_empty()).then(|| Lengths {
            values: lengths.to_vec(),
        }),
        null_rows: null_rows.to_vec(),
    }
}

fn texts(name: &str, values: &[&str], lengths: &[u32]) -> Column {
    let mut texts = Texts::default();
    values
        .iter()
        .for_each(|text| texts.values.push(text.as_bytes()));
    column(name, Values::Texts(texts), lengths, &[])
}

fn ints(name: &str, values: &[i64], null_rows: &[u32]) -> Column {
    let values = values.to_vec();
    column(name, Values::Ints(Ints { values }), &[], null_rows)
}

fn floats(name: &str, values: &[f64], lengths: &[u32]) -> Column {
    let values = values.to_vec();
    column(name, Values::Floats(Floats { values }), lengths, &[])
}

fn seeds() -> Vec<Vec<u8>> {
    let whole = RankRequest {
        model: "feed".to_owned(),
        which: Some(Which::Version(3)),
        id: "7f".to_owned(),
        user: "u7".to_owned(),
        context: vec![
            texts("user", &["u7"], &[]),
            ints("hour", &[21], &[]),
            texts("history", &["v1", "v9"], &[2]),
            floats("age", &[33.0], &[]),
        ],
        candidates: vec![
            texts("video", &["v1", "v2"], &[]),
            ints("price", &[4, 0], &[1]),
            texts("tags", &["news|sport", ""], &[]),
            floats("watch", &[1.0, 2.5], &[0, 2]),
        ],
        top_k: 1,
        top_by: "ctr".to_owned(),
    };
    let labelled = RankRequest {
        which: Some(Which::Label("stable".to_owned())),
        candidates: vec![],
        ..whole.clone()
    };
    let short = RankRequest {
        candidates: vec![ints("video", &[1, 2, 3], &[])],
        ..RankRequest::default()
    };
    [whole, labelled, short]
        .map(|request| request.encode_to_vec())
        .to_vec()
}
