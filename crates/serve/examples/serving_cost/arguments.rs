//! Command line: `--flag value ...`.

use std::collections::BTreeMap;
use std::str::FromStr;

const FLAGS: [&str; 14] = [
    "out",
    "density",
    "model",
    "values",
    "threads",
    "seconds",
    "pause-us",
    "to",
    "wire",
    "connections",
    "candidates",
    "rate",
    "arrivals",
    "server",
];

/// Values of the flags.
pub(crate) struct Flags(BTreeMap<String, String>);

impl Flags {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Flags, String> {
        let mut flags = BTreeMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").filter(|name| FLAGS.contains(name));
            let name = name.ok_or_else(|| format!("unexpected argument `{word}`"))?;
            let value = words.next().ok_or_else(|| format!("{word} has no value"))?;
            flags.insert(name.to_owned(), value);
        }
        Ok(Flags(flags))
    }

    /// Returns the value of a flag; `None` if it is absent.
    pub(crate) fn maybe<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.0.get(name) else {
            return Ok(None);
        };
        let value = text.parse();
        let value = value.map_err(|_| format!("--{name}: invalid value `{text}`"))?;
        Ok(Some(value))
    }

    pub(crate) fn or<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        Ok(self.maybe(name)?.unwrap_or(default))
    }

    pub(crate) fn required<T: FromStr>(&self, name: &str) -> Result<T, String> {
        self.maybe(name)?
            .ok_or_else(|| format!("--{name} is required"))
    }
}
