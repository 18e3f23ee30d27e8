//! Error responses that are sent without the router, with JSON bodies like the router's.

use crate::api_error::ErrorKind;
use bytes::Bytes;

/// Returns the response to a connection over the limit. It is HTTP/1; a peer that uses HTTP/2 sees its
/// connection fail.
pub(super) fn over_the_limit(connections: usize) -> Vec<u8> {
    let refusal = ErrorKind::Overloaded.error(format!(
        "{connections} connections are open, the limit of this server; close idle ones, or try again \
         later or elsewhere"
    ));
    let body = refusal.body();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n{}",
        content_headers(&body)
    );
    [head.as_bytes(), b"\r\n", &body].concat()
}

/// Adds a body to an error response of hyper, which has none; `None` if these bytes are not one.
pub(super) fn with_body(refusal: &[u8], header_bytes: usize) -> Option<Bytes> {
    let text = std::str::from_utf8(refusal).ok()?;
    let status = text.strip_prefix("HTTP/1.")?.get(2..5)?;
    let what = what(status, header_bytes)?;
    let (before, after) = text.split_once("content-length: 0\r\n")?;
    if !after.ends_with("\r\n\r\n") && after != "\r\n" {
        return None;
    }
    let body = ErrorKind::Invalid.error(what).body();
    let head = format!("{before}{}{after}", content_headers(&body));
    Some([head.as_bytes(), &body].concat().into())
}

fn content_headers(body: &[u8]) -> String {
    let n_bytes = body.len();
    format!("content-type: application/json\r\ncontent-length: {n_bytes}\r\n")
}

/// Describes the error of a head that hyper refuses with this status.
fn what(status: &str, header_bytes: usize) -> Option<String> {
    Some(match status {
        "400" => "the request is not HTTP: its first line or a header is malformed, or headers contradict \
                  each other on the body's length; send HTTP 1.1 (RFC 9112) or HTTP/2"
            .to_owned(),
        "414" => "the request's path is too long; send data in the body".to_owned(),
        "431" => format!(
            "the request's head has more than {header_bytes} bytes or more than {} headers; send fewer, \
             and data in the body",
            super::MAX_HEADERS
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_error_responses_of_hyper_get_a_body() {
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
