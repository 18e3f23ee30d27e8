//! Ranks candidates over HTTP and over gRPC, by the messages of `crates/serve/proto/ranking.proto`.
//!
//! ```text
//! cargo run -p ncs-serve --example rank -- 127.0.0.1:8000 127.0.0.1:8001 examples/clients/request.json
//! ```

use std::error::Error;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use ncs_serve::proto::ranking::column::Values;
use ncs_serve::proto::ranking::ranking_client::RankingClient;
use ncs_serve::proto::ranking::{Column, Floats, Ints, Lengths, RankRequest};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [http, grpc, file] = arguments.as_slice() else {
        return Err("usage: rank HTTP_ADDRESS GRPC_ADDRESS REQUEST.json".into());
    };
    let request: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    by_http(http, &request).await?;
    by_grpc(grpc, &request).await
}

/// Sends the rank call in JSON. A program with many requests keeps its connections open.
async fn by_http(address: &str, request: &Value) -> Result<(), Box<dyn Error>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = http::Request::post("/v2/rank")
        .header("host", address)
        .header("x-request-timeout-ms", "500")
        .body(Full::<bytes::Bytes>::from(request.to_string()))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let response: Value = serde_json::from_slice(&body)?;
    if !status.is_success() {
        return Err(format!("{status}: {}", response["error"]).into());
    }
    println!("http ctcvr {}", response["scores"]["ctcvr"]);
    Ok(())
}

/// Sends the rank call in protobuf. A channel is one connection for many concurrent requests; it can be
/// cloned.
async fn by_grpc(address: &str, request: &Value) -> Result<(), Box<dyn Error>> {
    let channel = tonic::transport::Channel::from_shared(format!("http://{address}"))?;
    let mut client = RankingClient::new(channel.connect().await?);
    let of_context = |(name, value): (&String, &Value)| column(name, std::slice::from_ref(value));
    let of_candidates = |(name, values): (&String, &Value)| {
        let values = values.as_array().ok_or("a column is a list")?;
        column(name, values)
    };
    let columns = |part: &str| request[part].as_object().into_iter().flatten();
    let mut call = tonic::Request::new(RankRequest {
        id: "example-3".to_owned(),
        context: columns("context")
            .map(of_context)
            .collect::<Result<_, _>>()?,
        candidates: columns("candidates")
            .map(of_candidates)
            .collect::<Result<_, _>>()?,
        ..RankRequest::default()
    });
    // The server stops working on a request whose timeout is exceeded.
    call.set_timeout(Duration::from_millis(500));
    let answer = client.rank(call).await?.into_inner();
    println!("grpc {} version {}", answer.model, answer.version);
    for scores in answer.scores {
        println!("grpc {} {:?}", scores.output, scores.values);
    }
    Ok(())
}

/// Builds a column of values, or of lists of values; a null is a row without a value.
fn column(name: &str, rows: &[Value]) -> Result<Column, Box<dyn Error>> {
    let has_lists = rows.iter().any(Value::is_array);
    let list = |row: &Value| match row {
        Value::Array(list) => list.clone(),
        Value::Null if has_lists => vec![],
        one => vec![one.clone()],
    };
    let lists: Vec<Vec<Value>> = rows.iter().map(list).collect();
    let lengths = lists.iter().map(|list| list.len() as u32).collect();
    let nulls = rows.iter().zip(0..).filter(|(row, _)| row.is_null());
    Ok(Column {
        name: name.to_owned(),
        values: Some(values(&lists.concat())?),
        lengths: has_lists.then_some(Lengths { values: lengths }),
        null_rows: nulls.map(|(_, row)| row).collect(),
    })
}

fn values(values: &[Value]) -> Result<Values, Box<dyn Error>> {
    let known = || values.iter().filter(|value| !value.is_null());
    // A null takes a place among the values, with an arbitrary value.
    Ok(if known().all(Value::is_i64) {
        let numbers = values.iter().map(|value| value.as_i64().unwrap_or(0));
        Values::Ints(Ints {
            values: numbers.collect(),
        })
    } else if known().all(Value::is_number) {
        let numbers = values.iter().map(|value| value.as_f64().unwrap_or(0.0));
        Values::Floats(Floats {
            values: numbers.collect(),
        })
    } else if known().all(Value::is_string) {
        let texts = values
            .iter()
            .map(|value| value.as_str().unwrap_or("").to_owned());
        Values::Texts(texts.collect())
    } else {
        return Err("a column holds numbers or strings, not both".into());
    })
}
