//! Connections to stores, and what is asked of them.

use super::url::{Scheme, Url, redacted};
use super::{Listed, ObjectFacts};
use crate::source::ReadError;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Repetitions of a request, with pauses of up to a tenth of a second at first and three seconds at last.
const RETRIES: usize = 6;

/// No request is repeated after this time.
const RETRY_TIME: Duration = Duration::from_secs(60);

/// A request of one range must not take longer.
const TIMEOUT: Duration = Duration::from_secs(120);

type Store = Arc<dyn ObjectStore>;

/// Returns the runtime on which requests run; two threads, since most of the time is waiting.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        // Where a program uses another provider of its own, that one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let builder = builder.worker_threads(2).thread_name("object store");
        builder
            .enable_all()
            .build()
            .expect("threads for object stores can be made")
    });
    &RUNTIME
}

/// Runs a request on the runtime and waits for it, on whatever thread this is.
pub(super) fn wait<T: Send + 'static>(
    request: impl Future<Output = Result<T, object_store::Error>> + Send + 'static,
) -> Result<T, object_store::Error> {
    let (send, receive) = mpsc::channel();
    runtime().spawn(async move {
        // Nobody waits any more if the thread panicked.
        let _ = send.send(request.await);
    });
    receive.recv().unwrap_or_else(|_| Err(unanswered()))
}

/// Returns the error of a request whose thread ended.
pub(super) fn unanswered() -> object_store::Error {
    object_store::Error::Generic {
        store: "object",
        source: "the request ended without an answer".into(),
    }
}

/// Returns the connection to the store of a URL.
pub(super) fn connect(url: &Url) -> Result<Store, ReadError> {
    static STORES: LazyLock<Mutex<HashMap<String, Store>>> = LazyLock::new(Mutex::default);
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = stores.get(&url.store) {
        return Ok(store.clone());
    }
    // Also sets the provider of TLS.
    runtime();
    let store = build(url).map_err(|error| refusal(&url.path_of(&url.key), &error))?;
    stores.insert(url.store.clone(), store.clone());
    Ok(store)
}

fn build(url: &Url) -> Result<Store, object_store::Error> {
    let retry = RetryConfig {
        max_retries: RETRIES,
        retry_timeout: RETRY_TIME,
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(3),
            base: 2.0,
        },
    };
    Ok(match url.scheme {
        Scheme::S3 => {
            let builder = AmazonS3Builder::from_env().with_bucket_name(&url.bucket);
            Arc::new(builder.with_retry(retry).build()?)
        }
        Scheme::Gcs => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&url.bucket);
            Arc::new(builder.with_retry(retry).build()?)
        }
        Scheme::Azure => {
            let builder = MicrosoftAzureBuilder::from_env().with_container_name(&url.bucket);
            Arc::new(builder.with_retry(retry).build()?)
        }
        Scheme::Http => {
            let options = ClientOptions::new()
                .with_allow_http(true)
                .with_timeout(TIMEOUT);
            let builder = HttpBuilder::new().with_url(&url.store);
            Arc::new(
                builder
                    .with_client_options(options)
                    .with_retry(retry)
                    .build()?,
            )
        }
    })
}

/// Returns the name of an object in its store.
pub(super) fn key(url: &Url, path: &Path) -> Result<Key, ReadError> {
    let key = match url.scheme {
        Scheme::Http => Key::from_url_path(&url.key),
        _ => Key::parse(&url.key),
    };
    key.map_err(|error| refusal(path, &object_store::Error::from(error)))
}

/// Asks for the attributes of an object.
pub(super) fn facts(store: &Store, key: &Key, path: &Path) -> Result<ObjectFacts, ReadError> {
    let (store, key) = (store.clone(), key.clone());
    let meta = wait(async move { store.head(&key).await });
    let meta = meta.map_err(|error| refusal(path, &error))?;
    let changed = meta.last_modified;
    Ok(ObjectFacts {
        n_bytes: meta.size,
        modified: (changed.timestamp(), changed.timestamp_subsec_nanos()),
        e_tag: meta.e_tag,
    })
}

/// Lists the objects of a store whose key begins with the folder `prefix`, by key.
///
/// # Errors
/// The store refuses, or has no lists, as over HTTP.
pub(crate) fn list(url: &Url, prefix: &str) -> Result<Vec<Listed>, ReadError> {
    let path = url.path_of(prefix);
    if url.scheme == Scheme::Http {
        let what = "over HTTP, globs and folders are not known; name every file".to_owned();
        return Err(ReadError::Remote { path, what });
    }
    let store = connect(url)?;
    let prefix = Key::parse(prefix).map_err(|error| refusal(&path, &error.into()))?;
    let listed = wait(async move {
        let found = store.list(Some(&prefix)).map_ok(|meta| Listed {
            key: meta.location.to_string(),
            n_bytes: meta.size,
        });
        found.try_collect::<Vec<_>>().await
    });
    let mut listed = listed.map_err(|error| refusal(&path, &error))?;
    listed.sort_by(|a, b| a.key.split('/').cmp(b.key.split('/')));
    Ok(listed)
}

/// Returns a store's error as one of a file, without anything secret.
pub(super) fn refusal(path: &Path, error: &object_store::Error) -> ReadError {
    use object_store::Error;
    let path = path.to_owned();
    let line = first_line(error);
    // Refused lists have no kind of their own.
    let has = |code: &str| line.contains(code);
    let what = match error {
        Error::NotFound { .. } => {
            "there is no such object; check its name and its bucket".to_owned()
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => denied(&line),
        Error::Generic { .. } if has("403 Forbidden") || has("401 Unauthorized") => denied(&line),
        Error::Generic { .. } if has("404 Not Found") => {
            format!("there is no such bucket or container ({line})")
        }
        Error::Precondition { .. } => {
            let what = "the store has another content under this name".to_owned();
            return ReadError::Changed { path, what };
        }
        _ => format!("cannot be read: {line}"),
    };
    ReadError::Remote { path, what }
}

fn denied(line: &str) -> String {
    format!(
        "the store denies access; credentials come from the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
         GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY) and must allow to read \
         and to list ({line})"
    )
}

/// Returns the first line of an error, since stores answer with whole pages.
pub(super) fn first_line(error: &object_store::Error) -> String {
    const LONGEST: usize = 300;
    let text = redacted(&error.to_string());
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(LONGEST).collect()
}
