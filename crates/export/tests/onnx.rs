//! Structure of exported models, files and refusals. That the scores are those of the model is tested with ONNX Runtime
//! in `bindings/python/tests/test_onnx.py`.

use ncs_export::proto::{EXTERNAL, GraphProto, ModelProto, TensorProto, element};
use ncs_export::{EXTERNAL_OVER, ExportError, Exported, Source, onnx};
use ncs_features::{
    Batch, Field, FieldIds, HashFunction, IdSpace, Objective, Piecewise, Pooling, Population,
    Schema, Table, Task, ValueRule, Vector,
};
use ncs_model::artifact::{Artifact, WeightSet};
use ncs_model::{
    CounterRng, Gram, Heads, Mask, Masks, Model, NetworkKind, NetworkPlan, Scorer, Spec,
};
use prost::Message;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

const BUCKETS: u32 = 500;
const DIM: usize = 3;

/// Ids of table rows that training has seen, beside the row for unknown ids.
const SEEN: [u32; 3] = [7, 40, 499];

fn field(name: &str, table: usize, pooling: Option<Pooling>) -> Field {
    Field {
        name: name.into(),
        column: name.into(),
        table,
        pooling,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec!["-1".into()],
    }
}

/// A user, the words of one table with it, and a number; click and conversion.
fn schema(pooling: Pooling) -> Schema {
    let task = |name: &str, population| Task {
        name: name.into(),
        label: name.into(),
        population,
        objective: Objective::CrossEntropy,
        weight: 1.0,
        truth: None,
        row_rules: Default::default(),
    };
    let table = |name: &str, ids| Table {
        name: name.into(),
        ids,
        range: None,
    };
    let scale = Piecewise {
        knots: vec![0.0, 1.0, 5.0],
        mean: 1.0,
        deviation: 2.0,
        log_mean: 0.5,
        log_deviation: 1.0,
    };
    Schema {
        value_rule: ValueRule::CURRENT,
        fields: vec![
            field("user", 0, None),
            field("words", 0, Some(pooling)),
            field("price", 1, None),
        ],
        tables: vec![
            table(
                "user",
                IdSpace::Hash {
                    buckets: BUCKETS,
                    function: HashFunction::Xxh3,
                    unknown: true,
                },
            ),
            table("price", IdSpace::Piecewise(scale)),
        ],
        tasks: vec![
            task("ctr", Population::All),
            task("cvr", Population::Where(0)),
        ],
        group: None,
    }
}

fn scorer(schema: Schema, kind: NetworkKind) -> Scorer {
    let plan = NetworkPlan {
        kind,
        dim: DIM,
        hidden: if kind.has_hidden_layers() {
            vec![6, 4]
        } else {
            Vec::new()
        },
        gram: Gram::Full,
        dropout: 0.0,
        table_deviation: Some(0.5),
        heads: Heads::default(),
    };
    let spec = Spec::of(&schema, &plan);
    let mut model: Model = Model::new(spec.clone(), CounterRng::new(1, "weights"));
    let mut ids = SEEN.to_vec();
    ids.push(BUCKETS + 1);
    let mut batch = Batch::default();
    batch.fields.resize_with(3, FieldIds::default);
    batch.fields[0].ids = ids;
    for network in 0..model.networks().len() {
        model.network_mut(network).init_rows_of(&batch);
    }
    let member = |network| WeightSet {
        network,
        weights: Arc::new(model.network(network).weights()),
    };
    let has_masks = kind == NetworkKind::SparseSharing;
    let artifact = Artifact {
        masks: has_masks.then(|| Arc::new(masks(&spec))),
        ..Artifact::new(
            Arc::new(schema),
            spec,
            (0..2).map(|task| model.network_of(task)).collect(),
            (0..model.networks().len()).map(member).collect(),
        )
    };
    Scorer::new(&artifact).unwrap()
}

/// The first task keeps every second connection, the second every third.
fn masks(spec: &Spec) -> Masks {
    let of_task = |step: usize| {
        let shapes = spec.layer_shapes().into_iter();
        let mask = |(inputs, outputs)| Mask::from_fn(inputs, outputs, |p| p.is_multiple_of(step));
        shapes.map(mask).collect()
    };
    Masks {
        tasks: vec![of_task(2), of_task(3)],
        owners: None,
    }
}

fn export(scorer: &Scorer, path: &Path, external_over: u64) -> Result<Exported, ExportError> {
    let source = Source {
        scorer,
        self_test: None,
        hash: "a hash".into(),
    };
    onnx(&source, path, external_over)
}

fn read(path: &Path) -> ModelProto {
    ModelProto::decode(fs::read(path).unwrap().as_slice()).unwrap()
}

fn constant<'a>(graph: &'a GraphProto, name: &str) -> &'a TensorProto {
    let found = graph.initializer.iter().find(|tensor| tensor.name == name);
    found.unwrap_or_else(|| {
        let names: Vec<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        panic!("{name}: {names:?}")
    })
}

fn numbers<const N: usize, T>(tensor: &TensorProto, of: fn([u8; N]) -> T) -> Vec<T> {
    let bytes = tensor.raw_data.as_ref().unwrap();
    bytes
        .chunks_exact(N)
        .map(|bytes| of(bytes.try_into().unwrap()))
        .collect()
}

const KINDS: [NetworkKind; 9] = [
    NetworkKind::SparseSharing,
    NetworkKind::SingleTask,
    NetworkKind::SharedBottom,
    NetworkKind::CrossStitch,
    NetworkKind::Mmoe { experts: 2 },
    NetworkKind::Stem {
        experts: 1,
        shared: 2,
    },
    NetworkKind::Ple {
        levels: 1,
        experts: 1,
        shared: 1,
    },
    NetworkKind::Aitm,
    NetworkKind::Linear,
];

#[test]
fn every_operation_reads_what_is_there_and_names_are_unique() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let path = folder.path().join("model.onnx");
        export(&scorer(schema(Pooling::Mean), kind), &path, EXTERNAL_OVER).unwrap();
        let model = read(&path);
        assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
        assert_eq!(model.metadata_props[0].value, "a hash");
        let graph = model.graph.unwrap();
        let inputs = graph.input.iter().map(|input| input.name.clone());
        let constants = graph.initializer.iter().map(|tensor| tensor.name.clone());
        let mut known = HashSet::new();
        inputs
            .chain(constants)
            .for_each(|name| assert!(known.insert(name)));
        for node in &graph.node {
            assert!(
                node.input.iter().all(|name| known.contains(name)),
                "{kind:?}: {node:?}"
            );
            node.output
                .iter()
                .for_each(|name| assert!(known.insert(name.clone())));
        }
        let outputs: Vec<&str> = graph
            .output
            .iter()
            .map(|output| output.name.as_str())
            .collect();
        assert_eq!(outputs, ["p_ctr", "p_cvr", "p_ctcvr"]);
        assert!(outputs.iter().all(|name| known.contains(*name)));
        let inputs: Vec<&str> = graph
            .input
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        assert_eq!(inputs, ["user", "words", "words.lengths", "price"]);
    }
}

/// Texts of the user and of the words, which share a table, are hashed in the graph.
#[test]
fn texts_go_in_where_onnx_runtime_has_the_hash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let mut schema = schema(Pooling::Mean);
    schema.tables[0].ids = IdSpace::Hash {
        buckets: BUCKETS,
        function: HashFunction::Murmur3,
        unknown: true,
    };
    export(
        &scorer(schema, NetworkKind::SharedBottom),
        &path,
        EXTERNAL_OVER,
    )
    .unwrap();
    let model = read(&path);
    let sets: Vec<(&str, i64)> = model
        .opset_import
        .iter()
        .map(|set| (set.domain.as_str(), set.version))
        .collect();
    assert_eq!(sets, [("", 17), ("ai.onnx.ml", 3), ("com.microsoft", 1)]);
    let graph = model.graph.unwrap();
    let inputs = graph.input.iter().map(|input| {
        let tensor = input.r#type.as_ref().unwrap().tensor_type.as_ref();
        (input.name.as_str(), tensor.unwrap().elem_type)
    });
    assert_eq!(
        inputs.collect::<Vec<_>>(),
        [
            ("user", element::STRING),
            ("words", element::STRING),
            ("words.lengths", element::INT64),
            ("price", element::DOUBLE),
        ]
    );
    let lookups = graph.node.iter();
    let lookups = lookups.filter(|node| node.op_type == "LabelEncoder");
    let missing = lookups.map(|node| {
        let mut attributes = node.attribute.iter();
        let keys = attributes.find(|attribute| attribute.name == "keys_strings");
        keys.unwrap().strings.clone()
    });
    let expected = vec![b"".to_vec(), b"-1".to_vec()];
    assert_eq!(missing.collect::<Vec<_>>(), [expected.clone(), expected]);
}

#[test]
fn vectors_go_in_by_their_length_and_may_be_projected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for projected in [false, true] {
        let mut schema = schema(Pooling::Mean);
        schema.tables[1].ids = IdSpace::Vector(Vector {
            length: 7,
            projected,
            scale: vec![],
        });
        let scorer = scorer(schema, NetworkKind::SharedBottom);
        export(&scorer, &path, EXTERNAL_OVER).unwrap();
        let graph = read(&path).graph.unwrap();
        let input = graph.input.iter().find(|input| input.name == "price");
        let tensor = input.unwrap().r#type.as_ref().unwrap().tensor_type.as_ref();
        let tensor = tensor.unwrap();
        assert_eq!(tensor.elem_type, element::DOUBLE);
        let dims = &tensor.shape.as_ref().unwrap().dim;
        let dims = dims
            .iter()
            .map(|dim| (dim.dim_param.as_str(), dim.dim_value));
        assert_eq!(dims.collect::<Vec<_>>(), [("batch", 0), ("", 7)]);
        let products = graph.node.iter();
        let products = products.filter(|node| node.name.ends_with("projected"));
        assert_eq!(products.count(), usize::from(projected));
    }
}

#[test]
fn only_rows_that_training_has_seen_are_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let scorer = scorer(schema(Pooling::Mean), NetworkKind::SharedBottom);
    export(&scorer, &path, EXTERNAL_OVER).unwrap();
    let graph = read(&path).graph.unwrap();
    let rows = constant(&graph, "user/rows");
    // Zeros for padding, the seen rows, and the row for unknown ids.
    assert_eq!(rows.dims, [SEEN.len() as i64 + 2, DIM as i64]);
    let values = numbers(rows, f32::from_le_bytes);
    assert_eq!(values[..DIM], [0.0; DIM]);
    let table = &scorer.networks()[0].network.tables[0];
    assert_eq!(values[DIM..2 * DIM], *table.row(SEEN[0]));
    let places = numbers(constant(&graph, "user/places"), i32::from_le_bytes);
    assert_eq!(places.len(), BUCKETS as usize + 2);
    let place = |id: u32| places[id as usize];
    assert_eq!(SEEN.map(place), [1, 2, 3]);
    assert_eq!([0, 8, BUCKETS + 1].map(place), [4; 3]);
}

#[test]
fn pruned_connections_are_zero_and_mirrored_ones_are_added() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let scorer = scorer(schema(Pooling::Mean), NetworkKind::SparseSharing);
    export(&scorer, &path, EXTERNAL_OVER).unwrap();
    let graph = read(&path).graph.unwrap();
    let network = &scorer.networks()[0].network;
    let weights = &network.dense[network.layout.layers[0].weights.clone()];
    for (task, step) in [("ctr", 2), ("cvr", 3)] {
        let first = constant(&graph, &format!("{task}/fc_0/weights"));
        // Three products of two fields, two vectors of three, two pieces and three further numbers.
        assert_eq!(first.dims, [3 + 6 + 5, 6]);
        let folded = numbers(first, f32::from_le_bytes);
        let kept = |input: usize, unit: usize| match (input * 6 + unit) % step {
            0 => weights[input * 6 + unit],
            _ => 0.0,
        };
        for unit in 0..6 {
            // The Gram matrix is [0 1; 2 3]: product 1 is read through both of 1 and 2.
            let expected = [
                kept(0, unit),
                kept(1, unit) + kept(2, unit),
                kept(3, unit),
                kept(4, unit),
            ];
            let found: Vec<f32> = (0..4).map(|input| folded[input * 6 + unit]).collect();
            assert_eq!(found, expected, "{task}, unit {unit}");
        }
        let second = numbers(
            constant(&graph, &format!("{task}/fc_1/weights")),
            f32::from_le_bytes,
        );
        let pruned = second.iter().enumerate().filter(|(at, _)| at % step != 0);
        assert!({ pruned }.all(|(_, &weight)| weight == 0.0));
        assert!(second.iter().any(|&weight| weight != 0.0));
    }
}

#[test]
fn constants_beyond_the_limit_lie_aligned_in_a_second_file() {
    let folder = tempfile::tempdir().unwrap();
    let scorer = scorer(schema(Pooling::Sum), NetworkKind::SingleTask);
    let [whole, parted] = ["whole.onnx", "parted.onnx"].map(|name| folder.path().join(name));
    assert_eq!(
        export(&scorer, &whole, EXTERNAL_OVER).unwrap().files.len(),
        2
    );
    let exported = export(&scorer, &parted, 0).unwrap();
    for (path, n_bytes) in &exported.files {
        assert_eq!(
            fs::metadata(path).unwrap().len(),
            *n_bytes,
            "{}",
            path.display()
        );
    }
    let data = fs::read(folder.path().join("parted.onnx.data")).unwrap();
    let (whole, parted) = (read(&whole).graph.unwrap(), read(&parted).graph.unwrap());
    let mut n_external = 0;
    for (inline, external) in whole.initializer.iter().zip(&parted.initializer) {
        assert_eq!(
            (&inline.name, &inline.dims),
            (&external.name, &external.dims)
        );
        let bytes = inline.raw_data.as_ref().unwrap();
        if bytes.len() < 1024 {
            assert_eq!(external, inline);
            continue;
        }
        n_external += 1;
        assert_eq!(
            (external.data_location, &external.raw_data),
            (Some(EXTERNAL), &None)
        );
        let entry = |key: &str| {
            let mut entries = external.external_data.iter();
            &entries.find(|entry| entry.key == key).unwrap().value
        };
        assert_eq!(entry("location"), "parted.onnx.data");
        let [offset, length] = ["offset", "length"].map(|key| entry(key).parse::<usize>().unwrap());
        assert_eq!((offset % 4096, length), (0, bytes.len()));
        assert_eq!(data[offset..offset + length], bytes[..]);
    }
    // The places of both tasks are the same and stored once.
    assert_eq!(n_external, 1);
}

#[test]
fn test_vectors_without_a_self_test_are_a_row_of_missing_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let scorer = scorer(schema(Pooling::Mean), NetworkKind::Aitm);
    export(&scorer, &path, EXTERNAL_OVER).unwrap();
    let text = fs::read_to_string(folder.path().join("model.onnx.vectors.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    let inputs = serde_json::json!({
        "price": {"shape": [1], "type": "float64", "values": [null]},
        "user": {"shape": [1], "type": "int64", "values": [0]},
        "words": {"shape": [1, 1], "type": "int64", "values": [0]},
        "words.lengths": {"shape": [1], "type": "int64", "values": [0]},
    });
    assert_eq!(vectors["inputs"], inputs);
    for output in ["p_ctr", "p_cvr", "p_ctcvr"] {
        let p = vectors["outputs"][output][0].as_f64().unwrap();
        assert!(0.0 < p && p < 1.0, "{output}: {p}");
    }
}

#[test]
fn what_cannot_be_exported_is_refused_by_name_before_a_file_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let check = |schema: Schema, parts: &[&str]| {
        let path = folder.path().join("model.onnx");
        let error = export(&scorer(schema, NetworkKind::Aitm), &path, 0).unwrap_err();
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    check(
        schema(Pooling::PaddedMean),
        &["\"words\"", "padded_mean", "pooling = \"mean\""],
    );
    let mut named = schema(Pooling::Mean);
    named.fields[2].name = "words.lengths".into();
    check(named, &["\"words.lengths\"", "rename"]);
    let mut named = schema(Pooling::Mean);
    named.fields[0].name = "p_ctcvr".into();
    check(named, &["\"p_ctcvr\"", "rename"]);
    let mut fine = schema(Pooling::Mean);
    fine.tables[1].ids = IdSpace::Quantiles {
        boundaries: (0..5000).map(f64::from).collect(),
    };
    check(fine, &["\"price\"", "5000 quantiles", "buckets"]);
}

/// The temporary file of the model is a link to the system's full device.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_previous_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let [first, second] = [NetworkKind::Aitm, NetworkKind::CrossStitch]
        .map(|kind| scorer(schema(Pooling::Mean), kind));
    export(&first, &path, EXTERNAL_OVER).unwrap();
    let files = ["model.onnx", "model.onnx.vectors.json"].map(|name| folder.path().join(name));
    let before = files.clone().map(|file| fs::read(file).unwrap());
    std::os::unix::fs::symlink("/dev/full", folder.path().join("model.onnx.tmp")).unwrap();
    let error = export(&second, &path, EXTERNAL_OVER).unwrap_err();
    assert!(error.to_string().contains("no space left"), "{error}");
    assert_eq!(files.map(|file| fs::read(file).unwrap()), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_folder_in_the_place_of_the_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let scorer = scorer(schema(Pooling::Mean), NetworkKind::SharedBottom);
    let error = export(&scorer, folder.path(), EXTERNAL_OVER).unwrap_err();
    assert!(
        error.to_string().contains("is a folder; name a file"),
        "{error}"
    );
}
