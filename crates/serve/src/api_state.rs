//! What both protocols check at the api: which port it is, who may come in, which model is meant.

use crate::api_error::{ApiError, Kind};
use crate::body::BodyLimits;
use crate::budget::{Budget, Share};
use crate::description::ModelDescription;
use crate::guesses::Guesses;
use crate::listen::Peer;
use crate::rank_request::Answer;
use crate::registry::Model;
use crate::repository::{Entry, is_name};
use crate::service::Service;
use crate::version::Version;
use crate::wire::infer::wanted;
use crate::words::shown;
use http::HeaderMap;
use http::request::Parts;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Name of the server in its metadata.
pub const SERVER: &str = "ncs4cvr";

/// What of the protocol beyond its core the server has.
pub const EXTENSIONS: [&str; 5] = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "statistics",
    "rank",
];

/// A model, and one of its versions.
pub type Served = (Arc<Model>, Arc<Version>);

/// A port's view of the service.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// What answers.
    pub service: Arc<Service>,
    /// Of each request.
    pub body: BodyLimits,
    /// Of all requests and answers together.
    pub budget: Arc<Budget>,
    /// Who may look at the folders now, for callers that need no token.
    pub lookers: Arc<Semaphore>,
    /// `Some` on the admin port.
    pub admin: Option<Admin>,
}

/// Indexes that are made at a time, from the folders; others wait, and beyond so many they are refused.
pub const LOOKERS: usize = 4;

/// Who calls, as far as it matters to who may come in.
#[derive(Clone, Debug)]
pub struct Caller {
    authorization: Option<String>,
    address: Option<IpAddr>,
}

impl Caller {
    /// Who sent this head.
    pub fn of(head: &Parts) -> Caller {
        Caller {
            authorization: authorization(&head.headers),
            address: head.extensions.get::<Peer>().map(|peer| peer.address.ip()),
        }
    }
}

fn authorization(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(http::header::AUTHORIZATION)?;
    value.to_str().ok().map(str::to_owned)
}

/// The admin port's rule.
#[derive(Clone)]
pub struct Admin {
    /// Who says it may load and unload. `None`: nobody may.
    pub token: Option<Arc<str>>,
    /// Who said a wrong one.
    pub guesses: Arc<Guesses>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin")
            .field("has_token", &self.token.is_some())
            .finish()
    }
}

impl ApiState {
    /// Lets only those who say the token change what is served, and only on the admin port. Wrong tokens
    /// are slowed.
    ///
    /// # Errors
    /// It is another port, or the token is absent or wrong.
    pub async fn check_admin(&self, caller: &Caller) -> Result<(), ApiError> {
        let Some(admin) = &self.admin else {
            let what = "this port only answers questions; ask this on the admin port";
            return Err(Kind::Forbidden.says(what));
        };
        let Some(token) = &admin.token else {
            return Err(Kind::Forbidden.says(
                "the server was started without a token for such calls; start it with \
                 --admin-token-file, or NCS_ADMIN_TOKEN in its environment",
            ));
        };
        let said = caller.authorization.as_deref().and_then(bearer);
        let is_right = match said {
            None => false,
            Some(said) => {
                let checked = admin.guesses.check(caller.address, || is_same(said, token));
                checked.await?
            }
        };
        match is_right {
            true => Ok(()),
            false => Err(Kind::Unauthenticated.says(
                "this call needs the server's token, in the header Authorization: Bearer TOKEN",
            )),
        }
    }

    /// Room for an answer in memory, as much as it may take as text.
    ///
    /// # Errors
    /// It would be longer than an answer may be, or there is no room now.
    pub fn room_for(&self, answer: &Answer) -> Result<Share, ApiError> {
        let n_bytes = answer.most_bytes();
        let most = self.body.bytes.max(1 << 20);
        if n_bytes > most {
            return Err(Kind::TooLarge.says(format!(
                "the answer could have {n_bytes} bytes, and {most} are the most; ask for fewer candidates, \
                 or start the server with a higher --max-body"
            )));
        }
        self.budget.take(n_bytes)
    }

    /// Every version that is there, loaded or not.
    ///
    /// # Errors
    /// Too many ask at a time.
    pub async fn index_of(&self, ready_only: bool) -> Result<Vec<Entry>, ApiError> {
        let Ok(looks) = self.lookers.clone().try_acquire_owned() else {
            return Err(Kind::Overloaded.says(format!(
                "{LOOKERS} indexes are being made already; ask again in a moment"
            )));
        };
        let index = move |service: &Service| {
            let entries = service.repository.index(ready_only);
            drop(looks);
            Ok(entries)
        };
        self.off_the_network(index).await
    }

    /// The model and its version that a path names.
    ///
    /// # Errors
    /// There is none, or the name is none.
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<Served, ApiError> {
        check_name(name)?;
        let wanted = wanted(name, version)?;
        let registry = self.service.repository.registry();
        let model = registry.model(wanted.name.as_deref())?;
        let (version, _) = model.version(&wanted.version, |_| None)?;
        Ok((model, version))
    }

    /// What a model takes and gives.
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

    /// The versions that a statistics call is about: all of a model, or of all models.
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

    /// Runs what reads files or waits away from the network's threads.
    ///
    /// # Errors
    /// What the work says, or that it failed.
    pub async fn off_the_network<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Service) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let service = self.service.clone();
        let done = tokio::task::spawn_blocking(move || work(&service)).await;
        done.unwrap_or_else(|_| {
            Err(Kind::Internal.says("the call failed; the server's log says how"))
        })
    }
}

/// Refuses what cannot be a model's name.
///
/// # Errors
/// It has other characters than a name.
pub fn check_name(name: &str) -> Result<(), ApiError> {
    match is_name(name) {
        true => Ok(()),
        false => Err(Kind::Invalid
            .says("a model's name has letters, digits, _, . and -, and does not begin with a dot")),
    }
}

/// The token of an `Authorization` header; the scheme may be written in any case (RFC 9110, section 11.1).
fn bearer(said: &str) -> Option<&str> {
    let (scheme, token) = said.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares in a time that does not depend on where they differ.
fn is_same(said: &str, token: &str) -> bool {
    let (said, token) = (said.as_bytes(), token.as_bytes());
    let differs = said.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b));
    said.len() == token.len() && differs == 0
}

/// The time that gRPC's header `grpc-timeout` gives: up to eight digits and a unit.
///
/// # Errors
/// It is none.
pub fn grpc_timeout(text: &str) -> Result<Duration, ApiError> {
    let wrong = || Kind::Invalid.says(format!("grpc-timeout \"{}\" is no time", shown(text)));
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
    fn a_token_follows_its_scheme() {
        let check = |said: &str, expected: Option<&str>| assert_eq!(bearer(said), expected);
        check("Bearer secret", Some("secret"));
        check("bEARER  secret ", Some("secret"));
        check("Basic secret", None);
        check("Bearersecret", None);
        check("secret", None);
        check("", None);
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_same("secret", "secret"));
        assert!(!is_same("secre", "secret"));
        assert!(!is_same("", "secret"));
        assert!(!is_same("secreT", "secret"));
    }
}
