//! A server of its own for each test, and the little of HTTP that the tests speak to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
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
    log: Arc<Mutex<Vec<u8>>>,
    /// Where nobody reads it.
    _unread: Option<ChildStderr>,
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
        command.arg("serve");
        Server::start_as(command, folder, arguments, http_port, true)
    }

    /// Starts it with a pipe for its log that nobody reads.
    #[track_caller]
    pub(crate) fn start_unread(folder: &Path, arguments: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ncs"));
        command.arg("serve");
        Server::start_as(command, folder, arguments, "0", false)
    }

    /// Starts it after these commands of the shell, such as `ulimit -v 1048576`.
    #[track_caller]
    pub(crate) fn start_within(folder: &Path, arguments: &[&str], limits: &str) -> Server {
        let script = format!("{limits} && exec \"$0\" serve \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_ncs")]);
        Server::start_as(command, folder, arguments, "0", true)
    }

    #[track_caller]
    fn start_as(
        mut command: Command,
        folder: &Path,
        arguments: &[&str],
        http_port: &str,
        is_read: bool,
    ) -> Server {
        command
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
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut unread = child.stderr.take();
        if let Some(mut stderr) = unread.take_if(|_| is_read) {
            let into = log.clone();
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(n_bytes @ 1..) = stderr.read(&mut piece) {
                    into.lock().unwrap().extend_from_slice(&piece[..n_bytes]);
                }
            });
        }
        let address = |name: &str| -> SocketAddr {
            let words = line.split_whitespace();
            let mut found = words.filter_map(|word| word.strip_prefix(&format!("{name}=")));
            found.next().unwrap().parse().unwrap()
        };
        Server {
            http: address("http"),
            grpc: address("grpc"),
            admin: address("admin"),
            log,
            _unread: unread,
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

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    /// Bytes of memory that the process holds now.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most bytes of memory that the process has held since [`Server::forget_peak`].
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Measures the most memory anew.
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// A value of a metric, by its name with labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let reply = Connection::open(self.admin).ask("GET", "/metrics", &[], b"");
        let text = String::from_utf8(reply.body).unwrap();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {name}: {text}"));
        value.parse().unwrap()
    }

    fn status(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
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

    /// Reads the head of a reply.
    pub(crate) fn head(&mut self) -> std::io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(head)
    }

    /// Reads one reply; an error where the connection ends before it.
    pub(crate) fn reply(&mut self) -> std::io::Result<Reply> {
        let head = self.head()?;
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
