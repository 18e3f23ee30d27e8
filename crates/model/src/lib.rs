//! The numbers: tables, interaction, masked networks, artifacts, the scorer.
//!
//! A [`Model`] is one or more [`Tower`]s: tables, layers and heads that are trained together. A
//! forward [`Pass`] turns a batch into logits and keeps what the backward pass needs; the result of
//! that is a [`Gradient`], which only an optimizer turns into a change of the model. A trained model is written as an
//! [`artifact`] and read back as a [`Scorer`].
//!
//! ```
//! use ncs_features::{Batch, FieldIds};
//! use ncs_model::{Draw, FieldSpec, Gram, Heads, Model, NetworkKind, NetworkPlan, Pass, Spec, TableSpec};
//!
//! let spec = Spec {
//!     fields: vec![FieldSpec { table: 0, pooling: None, pieces: None }; 2],
//!     tables: vec![TableSpec { name: "word".into(), rows: 10, unknown: None }],
//!     tasks: vec!["ctr".into(), "cvr".into()],
//!     plan: NetworkPlan {
//!         kind: NetworkKind::SharedBottom,
//!         dim: 4,
//!         hidden: vec![8],
//!         gram: Gram::Full,
//!         dropout: 0.0,
//!         table_deviation: None,
//!         heads: Heads::default(),
//!     },
//! };
//! let model: Model = Model::new(spec, Draw::new(1, "weights"));
//! let ids = |ids: &[u32]| FieldIds { ids: ids.into(), ..FieldIds::default() };
//! let batch = Batch { n_rows: 2, fields: vec![ids(&[1, 2]), ids(&[3, 3])], ..Batch::default() };
//! let mut pass = Pass::new(1);
//! let subnets = model.subnets(0, &[0, 1]);
//! model.tower(0).forward(&batch, &subnets, &mut pass);
//! assert_eq!(pass.logits(0).len(), 2);
//! ```

mod agreement;
pub mod artifact;
mod calibrator;
mod connections;
mod dense_size;
mod draw;
mod graph;
pub mod interaction;
pub mod kernels;
mod located;
pub mod masks;
mod model;
mod networks;
mod number;
mod numbers;
mod pass;
pub mod plan;
mod scorer;
mod self_test;
pub mod size;
mod spec;
mod subnet;
pub mod table_slopes;
mod tables;
mod taken;
pub mod tensor_file;
mod tower;
mod units;

pub use agreement::Agreement;
pub use calibrator::{Calibrator, logit};
pub use connections::{Connections, Keepers};
pub use dense_size::{DenseSize, MOST_NUMBERS};
pub use draw::Draw;
pub use interaction::Interaction;
pub use located::Located;
pub use masks::{Mask, Masks, TaskMask};
pub use model::{Model, Weights};
pub use number::Real;
pub use pass::{CoupledSlopes, Dropout, Gradient, HeadRows, Pass, SlopesOf};
pub use plan::{Gram, Heads, NetworkKind, NetworkPlan};
pub use scorer::{RankBuffers, Ranker, Scorer, sigmoid};
pub use self_test::SelfTest;
pub use size::{Kept, NetworkSize};
pub use spec::{FieldSpec, LayerUse, Spec, TableSpec};
pub use subnet::Subnet;
pub use table_slopes::TableGradient;
pub use tables::{SlotRows, SlotRowsPart, SparseRows, Table};
pub use taken::TakenLogit;
pub use tensor_file::{Entry, PickedRows, TensorFile, TensorFileError, Values};
pub use tower::{DenseLayout, LayerLayout, Tower};
pub use units::UnitOwners;
