//! A minimal HTTP/1.1 client for a persistent connection, which uses little of the CPU that the server
//! needs.

use crate::load::Connection;
use bytes::Bytes;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 1 << 20;

/// A persistent connection.
pub(crate) struct Http {
    to: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Http {
    pub(crate) fn new(to: SocketAddr) -> Http {
        Http {
            to,
            stream: None,
            buffer: vec![0; LARGEST_ANSWER],
        }
    }

    fn try_call(&mut self, request: &Bytes) -> io::Result<u16> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(connect(self.to)?),
        };
        stream.write_all(request)?;
        let mut filled = 0;
        loop {
            let more = stream.read(&mut self.buffer[filled..])?;
            if more == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            filled += more;
            if let Some((status, length)) = head(&self.buffer[..filled])? {
                stream.read_exact(&mut self.buffer[filled..length.max(filled)])?;
                return Ok(status);
            }
        }
    }
}

impl Connection for Http {
    fn call(&mut self, request: &Bytes) -> Result<(), String> {
        match self.try_call(request) {
            Ok(200) => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(error) => {
                self.stream = None;
                Err(error.kind().to_string())
            }
        }
    }
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Returns the status and the length of the whole response, once its head has arrived.
fn head(answer: &[u8]) -> io::Result<Option<(u16, usize)>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(end) = answer.windows(END.len()).position(|four| four == END) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&answer[..end]);
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let mut lengths = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let length = lengths.next().map(|length| end + END.len() + length);
    match status.zip(length.filter(|&length| length <= LARGEST_ANSWER)) {
        Some(found) => Ok(Some(found)),
        None => Err(ErrorKind::InvalidData.into()),
    }
}
