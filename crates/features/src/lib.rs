//! Definition of rows: columns, id spaces and tasks ([`Schema`]), raw rows of a log ([`Block`]), and encoded
//! rows for the network ([`Batch`]). This crate reads no files and holds no model.
//!
//! Training and serving turn a log line into ids by the same code: [`Fit`] turns the plan into a schema, and
//! [`Encoder`] turns rows into batches.
//!
//! ```
//! use ncs_features::*;
//! use std::sync::Arc;
//!
//! let plan = SchemaPlan {
//!     fields: vec![Field {
//!         name: "user".into(),
//!         column: "user".into(),
//!         table: 0,
//!         pooling: None,
//!         separator: None,
//!         max_values: None,
//!         beside: Default::default(),
//!         missing: vec!["-1".into()],
//!     }],
//!     tables: vec![TablePlan {
//!         name: "user".into(),
//!         ids: IdSpacePlan::Vocabulary { min_count: 1, max_size: None },
//!     }],
//!     tasks: vec![],
//!     group: None,
//!     rates: RatesPlan::None,
//! };
//! let rows = Block {
//!     n_rows: 4,
//!     columns: vec![Column {
//!         name: "user".into(),
//!         values: Values::Int(vec![8, 5, -1, 5]),
//!         ..Column::default()
//!     }],
//! };
//! let mut fit = Fit::new(plan);
//! fit.observe(&rows)?;
//! let encoder = Encoder::new(Arc::new(fit.finish()?));
//! assert_eq!(encoder.encode(&rows)?.fields[0].ids, [3, 2, 0, 2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod batch;
pub mod beside;
pub mod block;
pub mod canonical;
pub mod columns;
pub mod continued;
pub mod coverage;
pub mod cross;
mod cross_ids;
mod delays;
pub mod distribution;
pub mod encode;
pub mod erase;
pub mod error;
mod event_decay;
mod farm;
pub mod fit;
pub mod hash;
mod inputs;
pub mod json;
pub mod labels;
pub mod late;
pub mod list_text;
pub mod lookup;
mod murmur;
pub mod objective;
pub mod piecewise;
mod products;
mod range;
pub mod rates;
pub mod record_bytes;
mod row_rules;
mod row_terms;
mod sample;
pub mod schema;
mod schema_sequences;
pub mod sequence;
pub mod shown;
pub mod system;
pub mod time;
pub mod time_part;
mod time_reader;
pub mod value;
mod value_scales;
pub mod vector;
pub mod vector_reader;
pub mod zero_inflated;

pub use batch::{Batch, FieldIds, NO_GROUP, Pick, RowTerms};
pub use beside::{Beside, EventAges};
pub use block::{Block, Column, Texts, Values};
pub use canonical::ValueRule;
pub use coverage::{ColumnCoverage, Coverage, SeenIds};
pub use cross::Cross;
pub use encode::Encoder;
pub use erase::{EraseError, ErasedValues, SchemaTraces};
pub use error::{EncodeError, FitError, RowTerm};
pub use fit::Fit;
pub use inputs::{FieldInput, InputValues};
pub use labels::{LabelCounts, TaskCounts};
pub use late::{DelaySample, Delays, LateMethod, LateRules, Samples};
pub use lookup::{FeatureTable, LookedUp, LookupTime};
pub use objective::{LabelKind, Link, ValueLoss, ValueObjective};
pub use piecewise::Piecewise;
pub use rates::{Histories, PastRates, Rate, RateNote, RatePlan, RatesPlan};
pub use row_rules::RowRules;
pub use schema::{
    Field, HashFunction, IdSpace, IdSpacePlan, NumericPlan, Objective, Pooling, Population,
    Product, Schema, SchemaPlan, Table, TablePlan, Task,
};
pub use schema_sequences::sequences;
pub use sequence::{
    Attention, EventAttribute, EventDecay, MultiHead, Newest, Sequence, SequencePooling,
};
pub use time_part::{Part, TimePart};
pub use time_reader::moment;
pub use vector::{Vector, VectorPlan};
