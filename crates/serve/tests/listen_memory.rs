//! Tests of the memory of bodies. In a separate process, one test at a time.

mod support;

use flate2::{Compress, Compression, FlushCompress};
use std::sync::{Mutex, MutexGuard, PoisonError};
use support::{Server, Settings, check_refused};

const MB: usize = 1 << 20;

/// Maximum memory in MB that these bodies may add to the process: far below the memory if they were kept in
/// pieces or decoded completely.
const MAX_MB: usize = 40;

fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` and checks that it takes little memory (Linux only).
#[track_caller]
fn check_cheap(work: impl FnOnce()) {
    // Resets the peak memory of this process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = peak_mb();
    work();
    if let (Some(before), Some(after)) = (before, peak_mb()) {
        assert!(after - before < MAX_MB, "{before} MB became {after} MB");
    }
}

/// Returns the peak memory of this process in MB.
fn peak_mb() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let (_, after) = status.split_once("VmHWM:")?;
    let kb: usize = after.split_whitespace().next()?.parse().ok()?;
    Some(kb / 1024)
}

#[test]
fn six_hundred_thousand_chunks_of_a_byte_take_one_buffer() {
    let _one = one_at_a_time();
    let head = "POST /length HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
        transfer-encoding: chunked\r\n\r\n";
    let request = format!("{head}{}0\r\n\r\n", "1\r\na\r\n".repeat(600_000));
    let server = Server::start(Settings::default());
    server.check_answers();
    check_cheap(|| {
        let answer = server.exchange(request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\n600000"), "{answer}");
    });
}

/// Returns a gigabyte of zeros, compressed.
fn bomb(mut stream: Compress) -> Vec<u8> {
    let zeros = vec![0; MB];
    let mut packed = Vec::with_capacity(8 * MB);
    for _ in 0..1024 {
        let until = stream.total_in() + MB as u64;
        while stream.total_in() < until {
            let rest = &zeros[..(until - stream.total_in()) as usize];
            stream
                .compress_vec(rest, &mut packed, FlushCompress::None)
                .unwrap();
        }
    }
    stream
        .compress_vec(&[], &mut packed, FlushCompress::Finish)
        .unwrap();
    packed
}

fn check_bomb(encoding: &str, stream: Compress) {
    let _one = one_at_a_time();
    let body = bomb(stream);
    let mut settings = Settings::default();
    settings.bodies.bytes = 8 * MB;
    assert!(body.len() < settings.bodies.bytes);
    let head = format!(
        "POST /length HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
        content-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), &body].concat();
    let server = Server::start(settings);
    server.check_answers();
    check_cheap(|| {
        let answer = server.exchange(&request);
        check_refused(&answer, 413, "more bytes, once decoded, than the 8388608");
    });
}

#[test]
fn a_gzip_bomb_is_refused_at_the_limit() {
    check_bomb("gzip", Compress::new_gzip(Compression::best(), 15));
}

#[test]
fn a_deflate_bomb_is_refused_at_the_limit() {
    check_bomb("deflate", Compress::new(Compression::best(), true));
}

#[test]
fn a_declared_length_takes_no_memory() {
    let _one = one_at_a_time();
    let mut settings = Settings::default();
    settings.bodies.bytes = 1 << 40;
    let server = Server::start(settings);
    server.check_answers();
    check_cheap(|| {
        let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
        let head = b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\nabc";
        for client in &mut clients {
            client.send(head);
        }
        server.check_answers();
    });
}
