//! Test of a server with a low limit of open files.

use crate::support::{PATIENCE, Server, Settings, eventually};
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

/// Environment variable set in the server process.
const IS_SERVER: &str = "NCS_TEST_SERVES_WITH_FEW_FILES";

/// Serves until standard input ends, then prints the number of failed accepts.
fn run_server() {
    let server = Server::start(Settings::default());
    println!("address={}", server.address);
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    println!("failed={}", server.counts.n_failed());
}

fn start_with(n_files: usize) -> Child {
    let script = format!("ulimit -n {n_files} && exec \"$0\" \"$@\"");
    let name = "few_files::a_server_out_of_files_waits_and_recovers";
    Command::new("sh")
        .args(["-c", &script])
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(IS_SERVER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[cfg(unix)]
#[test]
fn a_server_out_of_files_waits_and_recovers() {
    if env::var_os(IS_SERVER).is_some() {
        return run_server();
    }
    let mut child = start_with(60);
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut values = output.lines().filter_map(|line| {
        let line = line.unwrap();
        let (_, after) = line.split_once('=')?;
        Some(after.to_owned())
    });
    let address: SocketAddr = values.next().unwrap().parse().unwrap();
    let is_answered = |timeout| -> bool {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(timeout)).unwrap();
        let request = b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        std::io::Write::write_all(&mut &stream, request).unwrap();
        let mut start = [0; 12];
        (&stream).read_exact(&mut start).is_ok() && start == *b"HTTP/1.1 200"
    };
    assert!(is_answered(PATIENCE));
    let many: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    assert!(!is_answered(std::time::Duration::from_secs(1)));
    drop(many);
    eventually(|| is_answered(PATIENCE));
    drop(child.stdin.take());
    let n_failed: u64 = values.next().unwrap().parse().unwrap();
    assert!(n_failed > 0);
    assert!(child.wait().unwrap().success());
}
