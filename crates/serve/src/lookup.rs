//! Features that the server looks up by an id, so that requests carry ids and what is of the moment only.

use crate::api_error::{ApiError, ErrorKind};
use crate::rank_request::RankQuery;
use crate::telemetry::Telemetry;
use crate::words::shown;
pub use ncs_features::lookup::{FeatureTable, Found, TableError, Wanted};
use ncs_features::{Block, Column};
use std::sync::Arc;

/// A source of features by id: a table in memory, or a store that is asked for each request.
pub trait FeatureSource: Send + Sync + std::fmt::Debug {
    /// Returns the column of a request whose values are looked up.
    fn key(&self) -> &str;

    /// Returns the rows of these ids, in their order: null in every column where an id is unknown. `wanted` are the
    /// columns that a model reads and the request does not have; others may be left out.
    ///
    /// # Errors
    /// The source cannot be asked: a text for the caller.
    fn rows(&self, ids: &Column, n_rows: usize, wanted: &Wanted<'_>) -> Result<Found, String>;

    /// Looks for newer features, called every `--watch` seconds outside of requests. Returns what changed, if anything did.
    ///
    /// # Errors
    /// They cannot be read: a text for the log. The features in service stay.
    fn refresh(&self) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// The sources of a server, asked in their order.
#[derive(Clone, Debug, Default)]
pub struct Lookups(Vec<Arc<dyn FeatureSource>>);

impl Lookups {
    /// Creates lookups from these sources.
    pub fn new(sources: Vec<Arc<dyn FeatureSource>>) -> Lookups {
        Lookups(sources)
    }

    /// Returns true if features are looked up by this column.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|source| source.key() == key)
    }

    /// Adds the columns that a model reads and the request does not have, by the ids of the request. Sources whose id the
    /// request does not have add nothing. An id is taken out of the request afterwards unless it `stays`: a model refuses
    /// columns that are not its own.
    ///
    /// # Errors
    /// An id is a list, or a source cannot be asked.
    pub fn fill(
        &self,
        query: &mut RankQuery,
        reads: impl Fn(&str) -> bool,
        stays: impl Fn(&str) -> bool,
        telemetry: &Telemetry,
    ) -> Result<(), ApiError> {
        for source in &self.0 {
            let key = source.key();
            let has = |name: &str| {
                query.context.column(name).is_some() || query.candidates.column(name).is_some()
            };
            let wanted = |name: &str| name != key && reads(name) && !has(name);
            let context = rows_of(&**source, &query.context, &wanted)?;
            let candidates = rows_of(&**source, &query.candidates, &wanted)?;
            for (found, block) in [
                (context, &mut query.context),
                (candidates, &mut query.candidates),
            ] {
                let Some(found) = found else { continue };
                telemetry.looked_up(key, found.ids - found.unknown, found.unknown);
                block.columns.extend(found.columns);
                if !stays(key) {
                    block.columns.retain(|column| column.name != key);
                }
            }
        }
        Ok(())
    }

    /// Looks for newer features of all sources, and logs what changed.
    pub fn refresh(&self) {
        for source in &self.0 {
            match source.refresh() {
                Ok(None) => {}
                Ok(Some(what)) => tracing::info!(key = source.key(), "features by id: {what}"),
                Err(what) => tracing::warn!(
                    key = source.key(),
                    "features by id stay as they are: {what}"
                ),
            }
        }
    }
}

/// Returns the rows of a block's ids; `None` if the block has none.
fn rows_of(
    source: &dyn FeatureSource,
    block: &Block,
    wanted: &Wanted<'_>,
) -> Result<Option<Found>, ApiError> {
    let Some(ids) = block.column(source.key()) else {
        return Ok(None);
    };
    if ids.offsets.is_some() {
        return Err(ErrorKind::Invalid.error(format!(
            "column \"{}\": features are looked up by it, which takes one id a row, not a list",
            shown(&ids.name)
        )));
    }
    let found = source.rows(ids, block.n_rows, wanted);
    let found = found.map_err(|what| ErrorKind::Unavailable.error(what))?;
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::Values;
    use ncs_features::time::Timestamp;

    #[derive(Debug)]
    struct Table(FeatureTable);

    impl FeatureSource for Table {
        fn key(&self) -> &str {
            "user"
        }

        fn rows(&self, ids: &Column, n_rows: usize, wanted: &Wanted<'_>) -> Result<Found, String> {
            Ok(self.0.rows(ids, n_rows, Timestamp::EPOCH, wanted))
        }
    }

    fn block(columns: [(&str, i64); 2]) -> Block {
        let column = |(name, value): (&str, i64)| Column {
            name: name.into(),
            values: Values::Int(vec![value]),
            ..Column::default()
        };
        Block {
            n_rows: 1,
            columns: columns.map(column).into(),
        }
    }

    /// The column that groups rows names the user of a request and of the score log, though no feature reads it.
    #[test]
    fn an_id_stays_only_if_something_else_needs_it() {
        let table = FeatureTable::new("user", [block([("user", 7), ("age", 40)])]).unwrap();
        let lookups = Lookups::new(vec![Arc::new(Table(table))]);
        let telemetry = Telemetry::new(None);
        let check = |stays: bool, expected: &[&str]| {
            let mut query = RankQuery {
                context: block([("user", 7), ("hour", 8)]),
                ..RankQuery::default()
            };
            let reads = |name: &str| ["hour", "age"].contains(&name);
            lookups
                .fill(&mut query, reads, |_| stays, &telemetry)
                .unwrap();
            let names = query.context.columns.iter().map(|column| &*column.name);
            assert_eq!(names.collect::<Vec<_>>(), expected);
        };
        check(true, &["user", "hour", "age"]);
        check(false, &["hour", "age"]);
    }
}
