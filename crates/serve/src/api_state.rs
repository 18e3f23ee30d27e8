//! State shared by the HTTP and gRPC handlers of a port: admission, admin authorisation, model lookup.

use crate::api_error::{ApiError, ErrorKind};
use crate::api_keys::ApiKeys;
use crate::body::BodyLimits;
use crate::budget::{Budget, Share};
use crate::description::ModelDescription;
use crate::guesses::TokenThrottle;
use crate::listen::Peer;
use crate::rank_request::RankScores;
use crate::registry::Model;
use crate::repository::{Entry, is_name};
use crate::service::Service;
use crate::version::Version;
use crate::wire::infer::model_selector;
use crate::words::shown;
use http::{Extensions, HeaderMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

/// Name of the server in its metadata response.
pub const SERVER: &str = "ncs4cvr";

/// Protocol extensions that the server supports.
pub const EXTENSIONS: [&str; 5] = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "statistics",
    "rank",
];

/// A model and one of its versions.
pub type Served = (Arc<Model>, Arc<Version>);

/// State of the handlers of one port.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// The service that answers requests.
    pub service: Arc<Service>,
    /// Limits of each request body.
    pub body: BodyLimits,
    /// Memory budget of all requests and responses in progress.
    pub budget: Arc<Budget>,
    /// Permits for concurrent index calls, which read the model folders and need no token.
    pub index_permits: Arc<Semaphore>,
    /// Keys of which scoring calls need one; `None`: they need none.
    pub keys: Option<Arc<ApiKeys>>,
    /// Authorisation of the admin port; `None` on other ports.
    pub admin: Option<Admin>,
}

/// Maximum number of concurrent index calls; more are refused.
pub const MAX_INDEX_CALLS: usize = 4;

/// Credentials and address of a caller.
#[derive(Clone, Debug)]
pub struct Caller {
    authorization: Option<String>,
    address: Option<IpAddr>,
}

impl Caller {
    /// Reads the caller's credentials and address from its request.
    pub fn new(headers: &HeaderMap, extensions: &Extensions) -> Caller {
        Caller {
            authorization: authorization(headers),
            address: extensions.get::<Peer>().map(|peer| peer.address.ip()),
        }
    }

    /// Returns the token of the header `Authorization: Bearer TOKEN`, if there is one.
    pub fn bearer(&self) -> Option<&str> {
        self.authorization.as_deref().and_then(bearer)
    }
}

fn authorization(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(http::header::AUTHORIZATION)?;
    value.to_str().ok().map(str::to_owned)
}

/// Authorisation of the admin port.
#[derive(Clone)]
pub struct Admin {
    /// Token required to load, unload and label models. `None`: these calls are refused.
    pub token: Option<Arc<str>>,
    /// Rate limit of wrong tokens.
    pub throttle: Arc<TokenThrottle>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin")
            .field("has_token", &self.token.is_some())
            .finish()
    }
}

impl ApiState {
    /// Checks that this is the admin port and that the caller has its token. Wrong tokens are rate-limited.
    ///
    /// # Errors
    /// This is another port, or the token is missing or wrong.
    pub async fn check_admin(&self, caller: &Caller) -> Result<(), ApiError> {
        let Some(admin) = &self.admin else {
            let what = "admin calls are not allowed on this port; use the admin port";
            return Err(ErrorKind::Forbidden.error(what));
        };
        let Some(token) = &admin.token else {
            return Err(ErrorKind::Forbidden.error(
                "the server was started without a token for such calls; start it with \
                 --admin-token-file, or NCS_ADMIN_TOKEN in its environment",
            ));
        };
        let is_valid = match caller.bearer() {
            None => false,
            Some(given) => {
                let checked = admin
                    .throttle
                    .check(caller.address, || is_equal(given, token));
                checked.await?
            }
        };
        if is_valid {
            Ok(())
        } else {
            Err(ErrorKind::Unauthenticated.error(
                "this call needs the server's token, in the header Authorization: Bearer TOKEN",
            ))
        }
    }

    /// Checks that the caller may score.
    ///
    /// # Errors
    /// The server has API keys, and the caller has none of them.
    pub fn check_key(&self, caller: &Caller) -> Result<(), ApiError> {
        self.keys.as_ref().map_or(Ok(()), |keys| keys.check(caller))
    }

    /// Reserves memory for a response, at its maximum size in any format.
    ///
    /// # Errors
    /// The response would exceed the limit, or the budget is exhausted.
    pub fn reserve(&self, answer: &RankScores) -> Result<Share, ApiError> {
        let n_bytes = answer.max_bytes();
        let most = self.body.bytes.max(1 << 20);
        if n_bytes > most {
            return Err(ErrorKind::TooLarge.error(format!(
                "the response could have {n_bytes} bytes, more than the limit of {most}; send fewer candidates, \
                 or start the server with a higher --max-body"
            )));
        }
        self.budget.take(n_bytes)
    }

    /// Lists all versions in the model folders, loaded or not.
    ///
    /// # Errors
    /// Too many index calls are in progress.
    pub async fn index_of(&self, ready_only: bool) -> Result<Vec<Entry>, ApiError> {
        let Ok(permit) = self.index_permits.clone().try_acquire_owned() else {
            return Err(ErrorKind::Overloaded.error(format!(
                "{MAX_INDEX_CALLS} index calls are in progress; try again in a moment"
            )));
        };
        let index = move |service: &Service| {
            let entries = service.repository.index(ready_only);
            drop(permit);
            Ok(entries)
        };
        self.run_blocking(index).await
    }

    /// Returns the model and the version that a path names.
    ///
    /// # Errors
    /// There is no such model or version, or a name is invalid.
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<Served, ApiError> {
        check_name(name)?;
        let selector = model_selector(name, version)?;
        let registry = self.service.repository.registry();
        let model = registry.model(selector.name.as_deref())?;
        let (version, _) = model.version(&selector.version, |_| None)?;
        Ok((model, version))
    }

    /// Describes the inputs and outputs of a model.
    ///
    /// # Errors
    /// As [`ApiState::find`].
    pub fn describe(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<ModelDescription, ApiError> {
        let (model, version) = self.find(name, version)?;
        Ok(ModelDescription::of(&model, &version))
    }

    /// Returns the versions of a statistics call: one version, all of a model, or all of all models.
    ///
    /// # Errors
    /// As [`ApiState::find`].
    pub fn versions(
        &self,
        name: Option<&str>,
        version: Option<&str>,
    ) -> Result<Vec<Served>, ApiError> {
        let version = version.filter(|version| !version.is_empty());
        if let (Some(name), Some(_)) = (name, version) {
            return Ok(vec![self.find(name, version)?]);
        }
        let models = match name {
            Some(name) => {
                check_name(name)?;
                vec![self.service.repository.registry().model(Some(name))?]
            }
            None => {
                let models = self.service.repository.registry().models();
                models.values().cloned().collect()
            }
        };
        let pairs = models.into_iter().flat_map(|model| {
            let versions: Vec<_> = model.versions.values().cloned().collect();
            versions
                .into_iter()
                .map(move |version| (model.clone(), version))
        });
        Ok(pairs.collect())
    }

    /// Runs blocking work (file access, waiting) outside the async threads.
    ///
    /// # Errors
    /// The error of the work, or an internal error if it panicked.
    pub async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Service) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let service = self.service.clone();
        let done = tokio::task::spawn_blocking(move || work(&service)).await;
        done.unwrap_or_else(|_| {
            Err(ErrorKind::Internal.error("the call failed; see the server's log"))
        })
    }
}

/// Checks that a text is a valid model name.
///
/// # Errors
/// It contains other characters than a name may have.
pub fn check_name(name: &str) -> Result<(), ApiError> {
    if is_name(name) {
        Ok(())
    } else {
        Err(ErrorKind::Invalid
            .error("a model's name has letters, digits, _, . and -, and does not begin with a dot"))
    }
}

/// Returns the token of an `Authorization` header; the scheme is case-insensitive (RFC 9110, section 11.1).
fn bearer(given: &str) -> Option<&str> {
    let (scheme, token) = given.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares two tokens in constant time for equal lengths.
fn is_equal(given: &str, token: &str) -> bool {
    given.as_bytes().ct_eq(token.as_bytes()).into()
}

/// Parses gRPC's header `grpc-timeout`: up to eight digits and a unit.
///
/// # Errors
/// The text is not such a value.
pub fn grpc_timeout(text: &str) -> Result<Duration, ApiError> {
    let wrong = || {
        ErrorKind::Invalid.error(format!(
            "grpc-timeout \"{}\" is not a valid timeout",
            shown(text)
        ))
    };
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let is_number = !number.is_empty() && number.len() <= 8;
    let is_number = is_number && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number
        .parse()
        .ok()
        .filter(|_| is_number)
        .ok_or_else(wrong)?;
    Ok(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(wrong()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_digits_and_a_unit() {
        let check = |text: &str, expected: Option<Duration>| {
            assert_eq!(grpc_timeout(text).ok(), expected, "{text}");
        };
        check("100m", Some(Duration::from_millis(100)));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("1S", Some(Duration::from_secs(1)));
        check("", None);
        check("S", None);
        check("+1S", None);
        check("123456789S", None);
        check("1s", None);
        check("1\u{e9}", None);
    }

    #[test]
    fn a_token_follows_the_bearer_scheme() {
        let check = |given: &str, expected: Option<&str>| assert_eq!(bearer(given), expected);
        check("Bearer secret", Some("secret"));
        check("bEARER  secret ", Some("secret"));
        check("Basic secret", None);
        check("Bearersecret", None);
        check("secret", None);
        check("", None);
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_equal("secret", "secret"));
        assert!(!is_equal("secre", "secret"));
        assert!(!is_equal("", "secret"));
        assert!(!is_equal("secreT", "secret"));
    }
}
