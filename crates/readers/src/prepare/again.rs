//! Columns of the rows of a part, read again: for figures by the values of columns that are no features.

use super::filter::rows_of;
use super::passes::{Passes, resolved, unfitted_encoder};
use super::{PlanFiles, PrepareError, Progress, Stage, columns_of};
use crate::plan::{DataPlan, Split};
use crate::split::Part;
use ncs_features::{Block, SchemaPlan};
use std::ops::ControlFlow;

/// Calls `take` with the rows of a part, block by block, in the order in which [`super::prepare`] puts them into the id
/// cache, and with these columns beside those of the run. Rows that cannot be encoded are left out, as there.
///
/// # Errors
/// A file or a column is absent or unreadable, `take` fails, or `on` breaks.
pub fn rows_of_part(
    plan: &DataPlan,
    schema: &SchemaPlan,
    part: Part,
    columns: &[String],
    on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    take: &mut dyn FnMut(&Block) -> Result<(), PrepareError>,
) -> Result<(), PrepareError> {
    let files = PlanFiles::find(plan)?;
    let (plan, _) = resolved(plan, &files, on)?;
    let mut read = columns_of(&plan, schema);
    let further = columns.iter().filter(|column| !read.contains(column));
    let further: Vec<String> = further.cloned().collect();
    read.extend(further);
    let own = [part];
    let parts = match plan.split {
        Split::Files => &own[..],
        // Rows of every part are in the training files.
        _ => &Part::ALL,
    };
    let mut passes = Passes::over(&plan, read, &files, on);
    passes.pass(Stage::Encode, parts, &unfitted_encoder(schema), |sifted| {
        let rows = rows_of(&sifted.parts, part);
        take(&sifted.block.select(&rows))
    })?;
    Ok(())
}
