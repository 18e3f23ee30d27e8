//! Models: embedding tables, feature interaction, masked networks, artifacts and scoring.
//!
//! A [`Model`] consists of one or more [`Network`]s: tables, layers and heads that are trained together. A
//! pass with a [`Workspace`] computes the logits of a batch, and in training their [`Gradient`], by which an optimizer
//! updates the model. A trained model is written as an [`artifact`] and read back as a [`Scorer`].
//!
//! ```
//! use ncs_features::{Batch, FieldIds};
//! use ncs_model::{CounterRng, FieldSpec, Gram, Heads, Model, NetworkKind, NetworkPlan, Workspace, Spec, TableSpec};
//!
//! let spec = Spec {
//!     fields: vec![FieldSpec { table: 0, pooling: None, pieces: None, vector: None }; 2],
//!     tables: vec![TableSpec { name: "word".into(), rows: 10, unknown: None }],
//!     tasks: vec!["ctr".into(), "cvr".into()],
//!     links: Vec::new(),
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
//! let model: Model = Model::new(spec, CounterRng::new(1, "weights"));
//! let ids = |ids: &[u32]| FieldIds { ids: ids.into(), ..FieldIds::default() };
//! let batch = Batch { n_rows: 2, fields: vec![ids(&[1, 2]), ids(&[3, 3])], ..Batch::default() };
//! let mut workspace = Workspace::new(1);
//! let subnets = model.subnets(0, &[0, 1]);
//! model.network(0).forward(&batch, &subnets, &mut workspace);
//! assert_eq!(workspace.logits(0).len(), 2);
//! ```

mod agreement;
mod aligned;
pub mod artifact;
mod attention;
mod calibrator;
mod counter_rng;
pub mod embedding_gradients;
pub mod graph;
pub mod interaction;
pub mod kernels;
mod layer_layout;
mod logit_transfer;
pub mod masks;
mod model;
mod network;
mod networks;
mod number;
mod numbers;
mod parameter_index;
pub mod plan;
mod resolved_ids;
mod row_requests;
mod scorer;
mod self_test;
pub mod size;
mod sparse_layouts;
mod spec;
mod storage;
mod subnet;
mod tables;
pub mod tensor_file;
mod units;
mod weights;
mod workspace;

pub use agreement::Agreement;
pub use aligned::Aligned;
pub use attention::{AttentionLayout, EventGradients};
pub use calibrator::{Calibrator, logit};
pub use counter_rng::CounterRng;
pub use embedding_gradients::TableGradient;
pub use interaction::Interaction;
pub use layer_layout::LayerLayout;
pub use logit_transfer::TakenLogit;
pub use masks::{Mask, Masks, TaskMask};
pub use model::Model;
pub use ncs_features::objective::sigmoid;
pub use network::{DenseLayout, Network};
pub use networks::{DenseSize, MOST_NUMBERS};
pub use number::Real;
pub use parameter_index::{ParameterGroup, ParameterIndex};
pub use plan::{Gram, Heads, NetworkKind, NetworkPlan};
pub use resolved_ids::ResolvedIds;
pub use row_requests::{Purpose, RowRequests};
pub use scorer::{
    FrozenNetwork, HALF_TOLERANCE, HalfError, Precision, PreparedContext, RankBuffers, Ranker,
    Scorer, Updated,
};
pub use self_test::SelfTest;
pub use size::{Kept, NetworkSize};
pub use spec::{FieldSpec, LayerUse, Spec, TableSpec};
pub use storage::{RowValues, RowWriter, StorageError, TableStorage};
pub use subnet::Subnet;
pub use tables::{InitialRows, SlotRows, SlotRowsPart, SparseRows, Table, TableShare, fetch_rows};
pub use tensor_file::{Entry, FirstRows, TensorFile, TensorFileError, Values};
pub use units::UnitOwners;
pub use weights::Weights;
pub use workspace::{
    CoupledLogitGradients, Dropout, Gradient, HeadRows, LogitGradient, Share, Workspace,
};
