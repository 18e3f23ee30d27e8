//! What a row means: columns, id spaces and tasks ([`Schema`]), raw rows as they come from a log
//! ([`Block`]), and rows as the network sees them ([`Batch`]). No files, no model.
//!
//! A log line becomes ids along one path only, used by training and by serving alike.

pub mod batch;
pub mod block;
pub mod schema;

pub use batch::{Batch, FieldIds};
pub use block::{Block, Column, Values};
pub use schema::{
    Field, HashFunction, IdSpace, IdSpacePlan, NumericPlan, Objective, Pooling, Population, Schema,
    SchemaPlan, Table, TablePlan, Task,
};
