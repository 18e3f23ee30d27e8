//! A server of its own for each test, and the little of HTTP that the tests speak to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The token of the admin port in all tests.
pub(crate) const TOKEN: &str = "token-of-the-tests";

/// A running `ncs serve`; it is killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Server {
    /// Starts it in `folder` and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Server {
        Server::start_on(folder, arguments, "0")
    }

    /// Starts it with HTTP on this port.
    #[track_caller]
    pub(crate) fn start_on(folder: &Path, arguments: &[&str], http_port: &str) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
        command
            .arg("serve")
            .args(arguments)
            .args([
                "--http-port",
                http_port,
                "--grpc-port",
                "0",
                "--admin-port",
                "0",
            ])
            .env("NCS_ADMIN_TOKEN", TOKEN)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        if !line.starts_with("ready ") {
            let output = child.wait_with_output().unwrap();
            panic!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        // What it logs must not fill the pipe.
        let mut stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        let address = |name: &str| -> SocketAddr {
            let words = line.split_whitespace();
            let mut found = words.filter_map(|word| word.strip_prefix(&format!("{name}=")));
            found.next().unwrap().parse().unwrap()
        };
        Server {
            http: address("http"),
            grpc: address("grpc"),
            admin: address("admin"),
            child,
        }
    }

    /// Asks the HTTP port once.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &str) -> Reply {
        let mut connection = Connection::open(self.http);
        connection.ask("POST", path, &[], body.as_bytes())
    }

    /// Asks the HTTP port once.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Reply {
        Connection::open(self.http).ask("GET", path, &[], b"")
    }

    /// Asks the admin port with the token.
    #[track_caller]
    pub(crate) fn admin(&self, method: &str, path: &str, body: &str) -> Reply {
        let token = format!("Bearer {TOKEN}");
        let headers = [("authorization", token.as_str())];
        Connection::open(self.admin).ask(method, path, &headers, body.as_bytes())
    }

    /// Bytes of memory that the process holds now.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().split_whitespace().next().unwrap();
        kib.parse::<u64>().unwrap() << 10
    }

    /// Sends it a signal, such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let mut kill = Command::new("kill");
        let sent = kill.args([&format!("-{signal}"), &self.child.id().to_string()]);
        assert!(sent.status().unwrap().success());
    }

    /// Waits for its end, which must come in time, and returns its exit code.
    #[track_caller]
    pub(crate) fn wait(&mut self, time: Duration) -> Option<i32> {
        let until = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON of a reply that must be 200.
    #[track_caller]
    pub(crate) fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// The text of a refusal.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        let text = json["error"].as_str();
        text.unwrap_or_else(|| panic!("no error: {self:?}"))
            .to_owned()
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Connection {
        Connection::try_open(address).unwrap()
    }

    pub(crate) fn try_open(address: SocketAddr) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Connection {
            stream: BufReader::new(stream),
        })
    }

    /// Asks and waits for the reply.
    #[track_caller]
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        self.try_ask(method, path, headers, body).unwrap()
    }

    pub(crate) fn try_ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Reply> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("content-length: {}\r\n\r\n", body.len());
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes)?;
        self.reply()
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one reply; an error where the connection ends before it.
    pub(crate) fn reply(&mut self) -> std::io::Result<Reply> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse().ok()).flatten()
        });
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body)?;
        Ok(Reply {
            status: status.unwrap_or(0),
            head,
            body,
        })
    }
}
