//! The variants: columns, tasks and networks in addition to, or in place of, those of `base`.

/// Columns of every variant: eight ids, half of them of the context.
const IDS: [&str; 8] = [
    "user", "device", "city", "group", "item", "category", "brand", "seller",
];

/// A model to time.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    columns: &'static str,
    tasks: &'static str,
    network: &'static str,
}

impl Variant {
    /// Returns the run file.
    pub(crate) fn settings(&self) -> String {
        let ids: String = IDS
            .iter()
            .map(|name| format!("{name} = {{ kind = \"categorical\", buckets = 50000 }}\n"))
            .collect();
        let has_masks = self.network.contains("sparse_sharing");
        let search = if has_masks {
            "[search]\nkind = \"random\"\ndensity = 0.2\n"
        } else {
            ""
        };
        format!(
            "threads = 1\n\
             [data]\ntrain = \"log.parquet\"\ncache = \"cache\"\n\
             split = {{ by = \"row\", valid = 0.05, test = 0.05 }}\n\
             [columns]\n{ids}{}\n\
             [tasks.ctr]\nlabel = \"click\"\n[tasks.cvr]\nlabel = \"buy\"\nwhere = \"ctr\"\n{}\n\
             [network]\ndim = 16\n{}\n\
             {search}\
             [features]\nrates = \"none\"\n\
             [training]\nbatch = 1024\nepochs = 1\nkeep = \"last\"\n\
             [calibration]\nkind = \"none\"\n[evaluation]\nbootstrap = 0\n",
            self.columns, self.tasks, self.network
        )
    }
}

const MASKED: &str = "kind = \"sparse_sharing\"\nhidden = [256, 128]";

macro_rules! sequence {
    ($pooling:literal) => {
        concat!(
            "events = { kind = \"sequence\", pooling = \"",
            $pooling,
            "\", attributes = { item = { column = \"event_item\", table = \"item\" }, ",
            "category = { column = \"event_category\", table = \"category\" } } }"
        )
    };
}

/// Returns all variants, `base` first.
pub(crate) fn variants() -> Vec<Variant> {
    let column = |name, about, columns| Variant {
        name,
        about,
        columns,
        tasks: "",
        network: MASKED,
    };
    let network = |name, about, network| Variant {
        name,
        about,
        columns: "",
        tasks: "",
        network,
    };
    let task = |name, about, tasks| Variant {
        name,
        about,
        columns: "",
        tasks,
        network: MASKED,
    };
    vec![
        column("base", "eight ids", ""),
        column(
            "id",
            "a ninth id",
            "shop = { kind = \"categorical\", buckets = 50000 }",
        ),
        column(
            "list",
            "a list of 20 ids",
            "event_item = { kind = \"list\", table = \"item\" }",
        ),
        column(
            "mean",
            "20 events of item and category, mean",
            sequence!("mean"),
        ),
        column("din", "the same, `din`", sequence!("din")),
        column("mha", "the same, `mha`", sequence!("mha")),
        column(
            "cross",
            "a cross of two ids",
            "pair = { kind = \"cross\", of = [\"group\", \"category\"], buckets = 50000 }",
        ),
        column(
            "number",
            "a number, piecewise",
            "price = { kind = \"numeric\" }",
        ),
        column(
            "boundaries",
            "a number, four boundaries",
            "price = { kind = \"numeric\", boundaries = [5, 20, 22, 60] }",
        ),
        column(
            "time_parts",
            "hour and weekday of a time",
            "hour = { kind = \"time\", column = \"now\", part = \"hour\" }\n\
             weekday = { kind = \"time\", column = \"now\", part = \"weekday\" }",
        ),
        column(
            "age",
            "hours between two times",
            "age = { kind = \"numeric\", column = \"now\", since = \"published\" }",
        ),
        column(
            "tags",
            "a list of 5 ids",
            "tags = { kind = \"list\", buckets = 5000 }",
        ),
        column(
            "weighted",
            "the same with weights",
            "tags = { kind = \"list\", buckets = 5000, weights = \"tag_weights\" }",
        ),
        column(
            "vector",
            "a vector of 64 numbers",
            "embedding = { kind = \"vector\", length = 64 }",
        ),
        column(
            "projected",
            "the same, projected",
            "embedding = { kind = \"vector\", length = 64, projected = true }",
        ),
        task(
            "squared",
            "a third task, `squared`",
            "[tasks.spend]\nlabel = \"spend\"\nloss = \"squared\"",
        ),
        task(
            "ziln",
            "a third task, `ziln`",
            "[tasks.spend]\nlabel = \"spend\"\nloss = \"ziln\"",
        ),
        network(
            "task_tables",
            "`task_tables`",
            "kind = \"sparse_sharing\"\nhidden = [256, 128]\ntask_tables = true",
        ),
        network(
            "shared_bottom",
            "`shared_bottom`",
            "kind = \"shared_bottom\"\nhidden = [256, 128]",
        ),
        network(
            "stem",
            "`stem`, 2 experts",
            "kind = \"stem\"\nexperts = 2\nhidden = [256, 128]",
        ),
        network(
            "home",
            "`home`, 2 experts",
            "kind = \"home\"\nexperts = 2\nhidden = [256, 256, 128]",
        ),
    ]
}
