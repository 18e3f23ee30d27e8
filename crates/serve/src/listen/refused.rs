//! Refusals that are said without the router: JSON bodies like its own.

use crate::api_error::Kind;
use bytes::Bytes;

/// What a connection over the limit is told. Valid for a peer that speaks HTTP/1; one that speaks HTTP/2
/// sees its connection fail.
pub(super) fn over_the_limit(connections: usize) -> Vec<u8> {
    let refusal = Kind::Overloaded.says(format!(
        "{connections} connections are open, as many as this server takes; close idle ones, or try again \
         later or elsewhere"
    ));
    let body = refusal.body();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n{}",
        content_headers(&body)
    );
    [head.as_bytes(), b"\r\n", &body].concat()
}

/// A refusal by hyper itself, which has no body, with one; `None` if these bytes are none.
pub(super) fn with_body(refusal: &[u8], header_bytes: usize) -> Option<Bytes> {
    let text = std::str::from_utf8(refusal).ok()?;
    let status = text.strip_prefix("HTTP/1.")?.get(2..5)?;
    let what = what(status, header_bytes)?;
    let (before, after) = text.split_once("content-length: 0\r\n")?;
    if !after.ends_with("\r\n\r\n") && after != "\r\n" {
        return None;
    }
    let body = Kind::Invalid.says(what).body();
    let head = format!("{before}{}{after}", content_headers(&body));
    Some([head.as_bytes(), &body].concat().into())
}

fn content_headers(body: &[u8]) -> String {
    let n_bytes = body.len();
    format!("content-type: application/json\r\ncontent-length: {n_bytes}\r\n")
}

/// What is wrong with a head that hyper refuses with this status.
fn what(status: &str, header_bytes: usize) -> Option<String> {
    Some(match status {
        "400" => "the request is not HTTP: its first line or a header is malformed, or headers contradict \
                  each other on the body's length; send HTTP/1.1, as RFC 9112 has it, or HTTP/2"
            .to_owned(),
        "414" => "the request's path is too long; send data in the body".to_owned(),
        "431" => format!(
            "the request's head has more than {header_bytes} bytes or more than {} headers; send fewer, \
             and data in the body",
            super::MOST_HEADERS
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_hypers_gets_a_body() {
        let check = |refusal: &str, expected: Option<&str>| {
            let found = with_body(refusal.as_bytes(), 100);
            let found = found.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
            assert_eq!(found.as_deref(), expected);
        };
        let what = what("414", 100).unwrap();
        let body = format!("{{\"error\":\"{what}\"}}");
        let head = "HTTP/1.1 414 URI Too Long\r\nconnection: close\r\n";
        check(
            &format!("{head}content-length: 0\r\ndate: now\r\n\r\n"),
            Some(&format!(
                "{head}content-type: application/json\r\ncontent-length: {}\r\ndate: now\r\n\r\n{body}",
                body.len()
            )),
        );
        check("HTTP/1.1 100 Continue\r\n\r\n", None);
        check("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", None);
        check("HTTP/1.1 400 Bad Request\r\n\r\n", None);
        check("HTTP", None);
    }
}
