//! Tests of TLS.

use crate::http2;
use crate::support::{SHORT, Server, Settings, eventually};
use ncs_serve::listen::{ListenError, Port, tls};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

fn certified_key() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
}

/// Writes a certificate and its key to files.
fn files(certified_key: &CertifiedKey<KeyPair>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cert.pem"), certified_key.cert.pem()).unwrap();
    let key = certified_key.signing_key.serialize_pem();
    fs::write(folder.path().join("key.pem"), key).unwrap();
    folder
}

fn secure(certified_key: &CertifiedKey<KeyPair>) -> Settings {
    let folder = files(certified_key);
    let config = tls(
        &folder.path().join("cert.pem"),
        &folder.path().join("key.pem"),
    );
    Settings {
        tls: Some(config.unwrap()),
        ..Settings::default()
    }
}

/// Connects a client that trusts one certificate and offers these protocols.
async fn connect(
    server: &Server,
    certified_key: &CertifiedKey<KeyPair>,
    protocols: &[&str],
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certified_key.cert.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().into())
        .collect();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn http1_works_over_tls() {
    let certified_key = certified_key();
    let server = Server::start(secure(&certified_key));
    for protocols in [["http/1.1"].as_slice(), &[]] {
        let mut stream = connect(&server, &certified_key, protocols).await;
        let agreed = stream.get_ref().1.alpn_protocol();
        assert_eq!(agreed, protocols.first().map(|name| name.as_bytes()));
        let request = b"POST /length HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
            content-length: 3\r\n\r\nabc";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\n3"), "{answer}");
    }
}

#[tokio::test]
async fn http2_is_preferred_over_tls() {
    let certified_key = certified_key();
    let server = Server::start(secure(&certified_key));
    let stream = connect(&server, &certified_key, &["http/1.1", "h2"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut sender, _ended) = http2::connect(stream).await;
    let answer = http2::send(&mut sender, "/length", b"abc").await;
    assert_eq!(http2::text(answer).await, "3");
}

#[test]
fn a_handshake_that_stops_is_closed() {
    let mut settings = secure(&certified_key());
    settings.connections.header_time = SHORT;
    let server = Server::start(settings);
    let mut silent = server.connect();
    let mut half = server.connect();
    half.send(b"\x16\x03\x01\x02\0\x01\0");
    silent.bytes_until_closed();
    half.bytes_until_closed();
    eventually(|| server.counts.n_slow() == 2);
}

#[test]
fn http_without_tls_is_closed() {
    let server = Server::start(secure(&certified_key()));
    let mut client = server.connect();
    client.send(b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n");
    client.bytes_until_closed();
}

#[tokio::test]
async fn a_connection_over_the_limit_is_closed_without_a_response() {
    let certified_key = certified_key();
    let mut settings = secure(&certified_key);
    settings.connections.connections = 1;
    let server = Server::start(settings);
    let connected = connect(&server, &certified_key, &[]).await;
    assert_eq!(server.connect().until_closed(), "");
    assert_eq!(server.counts.n_refused(), 1);
    drop(connected);
}

#[test]
fn errors_name_unusable_files_and_what_to_do() {
    let certified_key = certified_key();
    let folder = files(&certified_key);
    let path = |name: &str| folder.path().join(name);
    let check = |certificate: &str, key: &str, parts: &[&str]| {
        let error = tls(&path(certificate), &path(key)).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
    };
    let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
    let pem = certified_key.cert.pem();
    write("empty.pem", "");
    write("half.pem", &pem[..pem.len() / 2]);
    write(
        "noise.pem",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    );
    write(
        "text.pem",
        "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n",
    );
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    write("other.pem", &other);
    write(
        "locked.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nYWJj\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    assert!(tls(&path("cert.pem"), &path("key.pem")).is_ok());
    check(
        "gone.pem",
        "key.pem",
        &["gone.pem", "No such file", "name one"],
    );
    check("cert.pem", "gone.pem", &["gone.pem", "No such file"]);
    check(
        "key.pem",
        "key.pem",
        &["key.pem", "BEGIN CERTIFICATE", "has none"],
    );
    check("empty.pem", "key.pem", &["empty.pem", "has none"]);
    check(
        "half.pem",
        "key.pem",
        &["half.pem", "ends before its END line"],
    );
    check("noise.pem", "key.pem", &["noise.pem", "not base64"]);
    check(
        "text.pem",
        "key.pem",
        &["text.pem", "key.pem", "cannot be served"],
    );
    check(
        "cert.pem",
        "cert.pem",
        &["cert.pem", "BEGIN PRIVATE KEY", "has none"],
    );
    check(
        "cert.pem",
        "locked.pem",
        &["locked.pem", "passphrase", "openssl pkey"],
    );
    check(
        "cert.pem",
        "other.pem",
        &["cert.pem", "other.pem", "do not belong together"],
    );
}

#[tokio::test]
async fn an_address_in_use_is_reported() {
    let any = "127.0.0.1:0".parse().unwrap();
    let port = Port::bind(any, None).await.unwrap();
    let error = Port::bind(port.address(), None).await.unwrap_err();
    assert!(matches!(error, ListenError::Address { .. }));
    let expected = format!("cannot listen on {}", port.address());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(
        error
            .to_string()
            .contains("something listens there already")
    );
    let elsewhere = "192.0.2.1:0".parse().unwrap();
    let error = Port::bind(elsewhere, None).await.unwrap_err().to_string();
    assert!(error.contains("0.0.0.0"), "{error}");
}
