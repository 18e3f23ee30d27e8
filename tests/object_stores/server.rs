//! A small object store over HTTP, on this machine: ranges, marks of contents, lists as S3 gives them, and faults.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What happens to the next requests for the bytes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// So many are answered that the store is busy.
    Busy(usize),
    /// So many get half of the bytes, then the connection is cut.
    Cut(usize),
    /// After so many, the object is another one.
    ChangedAfter(usize),
    /// Access is denied.
    Denied,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, (Vec<u8>, u64)>,
    faults: BTreeMap<String, Fault>,
    /// The key id that requests must be signed with.
    key_id: Option<String>,
    longest: usize,
    n_requests: usize,
}

/// The store; its objects are named `BUCKET/KEY`, or by the path of a URL.
#[derive(Clone)]
pub(crate) struct Store {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
}

struct Reply {
    code: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes of the body that are sent before the connection is cut.
    sent: Option<usize>,
}

impl Reply {
    fn of(code: &'static str) -> Reply {
        Reply {
            code,
            headers: Vec::new(),
            body: Vec::new(),
            sent: None,
        }
    }
}

impl Store {
    pub(crate) fn start() -> Store {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let store = Store {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let own = store.clone();
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let store = own.clone();
                std::thread::spawn(move || store.serve(stream));
            }
        });
        store
    }

    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        self.state
            .lock()
            .unwrap()
            .objects
            .insert(name.to_owned(), (bytes, 1));
    }

    pub(crate) fn fail(&self, name: &str, fault: Fault) {
        self.state
            .lock()
            .unwrap()
            .faults
            .insert(name.to_owned(), fault);
    }

    /// Accepts only requests that are signed with this key.
    pub(crate) fn lock(&self, key_id: &str) {
        self.state.lock().unwrap().key_id = Some(key_id.to_owned());
    }

    /// Bytes of the longest answer so far, and the number of requests.
    pub(crate) fn seen(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.longest, state.n_requests)
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = read(&mut reader) {
            let reply = self.reply(&request);
            let is_head = request.method == "HEAD";
            let is_cut = reply.sent.is_some();
            if write(&stream, &reply, is_head).is_err() || is_cut {
                return;
            }
        }
    }

    fn reply(&self, request: &Request) -> Reply {
        let mut state = self.state.lock().unwrap();
        state.n_requests += 1;
        let signed = request.headers.get("authorization");
        let is_signed =
            |id: &String| signed.is_some_and(|text| text.contains(&format!("Credential={id}/")));
        if !state.key_id.as_ref().is_none_or(is_signed) {
            return Reply::of("403 Forbidden");
        }
        if request.query.contains("list-type=2") {
            return list(&state, request);
        }
        let name = &request.path;
        let Some((bytes, version)) = state.objects.get(name).cloned() else {
            return Reply::of("404 Not Found");
        };
        let mut version = version;
        let mut cut = false;
        match state.faults.get_mut(name) {
            Some(Fault::Denied) => return Reply::of("403 Forbidden"),
            Some(Fault::Busy(n @ 1..)) => {
                *n -= 1;
                return Reply::of("503 Service Unavailable");
            }
            Some(Fault::Cut(n @ 1..)) if request.method == "GET" => {
                *n -= 1;
                cut = true;
            }
            Some(Fault::ChangedAfter(n)) if request.method == "GET" => match n {
                0 => version += 1,
                _ => *n -= 1,
            },
            Some(Fault::ChangedAfter(0)) => version += 1,
            _ => {}
        }
        let reply = content(request, &bytes, version, cut);
        state.longest = state.longest.max(reply.body.len());
        reply
    }
}

fn content(request: &Request, bytes: &[u8], version: u64, cut: bool) -> Reply {
    let mark = format!("\"{version}-{}\"", bytes.len());
    if request
        .headers
        .get("if-match")
        .is_some_and(|wanted| *wanted != mark)
    {
        return Reply::of("412 Precondition Failed");
    }
    let range = request.headers.get("range").map(|range| {
        let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        let last = last.parse().map_or(bytes.len(), |last: usize| last + 1);
        first..last.min(bytes.len())
    });
    let mut reply = Reply::of(if range.is_some() {
        "206 Partial Content"
    } else {
        "200 OK"
    });
    if let Some(range) = &range {
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, bytes.len());
        reply.headers.push(("content-range", text));
    }
    reply.headers.push(("etag", mark));
    reply
        .headers
        .push(("last-modified", "Sat, 28 Nov 2026 10:00:00 GMT".to_owned()));
    reply.body = bytes[range.unwrap_or(0..bytes.len())].to_vec();
    reply.sent = cut.then_some(reply.body.len() / 2);
    reply
}

/// Lists the keys of a bucket as S3 does.
fn list(state: &State, request: &Request) -> Reply {
    let prefix = request
        .query
        .split('&')
        .find_map(|part| part.strip_prefix("prefix="));
    let prefix = decoded(prefix.unwrap_or_default());
    let bucket = request.path.trim_end_matches('/');
    let mut reply = Reply::of("200 OK");
    let mut body =
        format!("<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>");
    for (name, (bytes, version)) in &state.objects {
        let key = name
            .strip_prefix(bucket)
            .and_then(|key| key.strip_prefix('/'));
        if let Some(key) = key.filter(|key| key.starts_with(&prefix)) {
            body += &format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-28T10:00:00.000Z</LastModified><ETag>\"{version}-{n}\"\
                 </ETag><Size>{n}</Size></Contents>",
                n = bytes.len()
            );
        }
    }
    reply
        .headers
        .push(("content-type", "application/xml".to_owned()));
    reply.body = (body + "</ListBucketResult>").into_bytes();
    reply
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace();
    let method = words.next()?.to_owned();
    let target = words.next()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    Some(Request {
        method,
        path: decoded(path.trim_start_matches('/')),
        query: query.to_owned(),
        headers,
    })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| first == b'%');
        let hex = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(hex.unwrap_or(first));
        rest = &after[if hex.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8(bytes).unwrap()
}

fn write(mut stream: &TcpStream, reply: &Reply, is_head: bool) -> std::io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {}\r\ncontent-length: {}\r\n",
        reply.code,
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    match is_head {
        true => Ok(()),
        false => stream.write_all(&reply.body[..reply.sent.unwrap_or(reply.body.len())]),
    }
}
