//! Losses, balances and masks that do not go with the rest of a run file.

use super::{RUN, check_set, parse};

#[test]
fn smoothed_labels_are_of_a_cross_entropy_of_the_task_alone() {
    let check = |sets: &[&str], expected: &str| {
        let found = parse(RUN, sets).map(|file| file.plan).unwrap_err();
        assert!(found.contains(expected), "{found}");
    };
    let smoothing = "tasks.cvr.label_smoothing=0.1";
    assert!(parse(RUN, &[smoothing]).is_ok());
    check(
        &[smoothing, "tasks.cvr.loss=\"focal\""],
        "task \"cvr\": label_smoothing is of loss = \"cross_entropy\"; leave it out",
    );
    check(
        &[smoothing, "training.loss=\"esmm\""],
        "label_smoothing is of a task's own loss, and training.loss is one loss of both tasks",
    );
    check(
        &[smoothing, "training.click_logit=\"learned\""],
        "label_smoothing would change what click_logit learns",
    );
    check(
        &["tasks.cvr.label_smoothing=1"],
        "tasks.cvr.label_smoothing is 1; it must be at least 0 and below 1",
    );
    check(
        &["training.field_dropout=1"],
        "training.field_dropout is 1; it must be at least 0 and below 1",
    );
}

#[test]
fn embeddings_of_tasks_need_joint_steps_and_no_gram_matrix() {
    let stem = "network.kind=\"stem\"";
    let plan = parse(RUN, &[stem, "network.dim=5"]).unwrap().plan;
    assert_eq!(plan.network.dim, 15);
    assert_eq!(plan.network.gram, ncs_model::Gram::None);
    assert_eq!(plan.train.steps, ncs_train::Steps::Joint);
    let check = |sets: &[&str], expected: &str| {
        let found = parse(RUN, &[&[stem], sets].concat()).map(|file| file.plan);
        let found = found.unwrap_err();
        assert!(found.contains(expected), "{found}");
    };
    check(&["network.gram=\"full\""], "\"stem\" has no Gram matrix");
    assert!(parse(RUN, &[stem, "training.loss=\"dcmt\""]).is_ok());
    check(
        &["training.steps=\"alternating\""],
        "needs the tasks to step together",
    );
}

#[test]
fn automatic_epochs_need_something_that_ends_the_training() {
    let auto = "training.epochs=\"auto\"";
    let plan = |sets: &[&str]| parse(RUN, sets).map(|file| file.plan.train);
    let found = plan(&[auto]).unwrap();
    assert_eq!((found.epochs, found.patience), (30, Some(4)));
    let found = plan(&[auto, "training.patience=2", "training.keep=\"last\""]).unwrap();
    assert_eq!((found.epochs, found.patience), (30, Some(2)));
    let found = plan(&[auto, "training.keep=\"last\""]).unwrap_err();
    assert!(found.contains("compares no validations"), "{found}");
}

#[test]
fn an_average_is_a_decay_a_name_or_a_table() {
    use ncs_train::{Average, AverageStart};
    let average = |set: &str| parse(RUN, &[set]).unwrap().plan.train.average;
    let growing = |decay| {
        Some(Average {
            decay,
            start: AverageStart::Growing,
        })
    };
    assert_eq!(average("seed=1"), growing(0.99));
    assert_eq!(average("training.average=\"ema\""), growing(0.99));
    assert_eq!(average("training.average=0.9"), growing(0.9));
    assert_eq!(average("training.average=0"), None);
    let unbiased = average("training.average={decay=0.5, start=\"unbiased\"}").unwrap();
    assert_eq!(
        (unbiased.decay, unbiased.start),
        (0.5, AverageStart::Unbiased)
    );
    let found = parse(RUN, &["training.average={decay=1}"]).map(|file| file.plan);
    let found = found.unwrap_err();
    assert!(found.contains("training.average.decay is 1"), "{found}");
}

#[test]
fn losses_over_all_impressions_need_a_funnel_of_cross_entropies() {
    let check = |sets: &[&str], expected: &str| {
        let found = parse(RUN, sets).map(|file| file.plan).unwrap_err();
        assert!(found.contains(expected), "{found}");
    };
    let loss = "training.loss=\"esmm\"";
    check(
        &["training.loss=\"esm\""],
        "training.loss is the text \"esm\"; did you mean esmm?",
    );
    check(
        &[loss, "network.kind=\"single_task\""],
        "esmm joins the tasks, and network.kind = \"single_task\" trains them apart",
    );
    check(
        &[loss, "training.steps=\"alternating\""],
        "--set training.steps=\"alternating\": training.loss, training.balance or network.kind needs the tasks to step",
    );
    check(
        &[loss, "training.balance=\"pcgrad\""],
        "pcgrad needs a loss for each task",
    );
    check(
        &[loss, "tasks.cvr.loss=\"ratio\""],
        "esmm is made of cross-entropies; task \"cvr\"",
    );
    check(
        &[
            "training.balance=\"uncertainty\"",
            "network.kind=\"single_task\"",
        ],
        "has nothing to balance",
    );
    check(
        &["training.loss={kind=\"dcmt\", floor=0}"],
        "training.loss.floor is 0; it must be above 0 and at most 1",
    );
    let evidence = "training.embedding_evidence={}";
    check(
        &[loss, evidence],
        "embedding_evidence needs a loss for each task",
    );
    check(
        &["training.balance=\"pcgrad\"", evidence],
        "embedding_evidence and pcgrad both change the sum of gradients",
    );
    assert!(parse(RUN, &[evidence]).is_ok());
    let parallel = RUN.replace("where = \"ctr\"\n", "");
    let found = parse(&parallel, &[loss]).map(|file| file.plan).unwrap_err();
    assert!(
        found.contains("esmm needs a task that counts the rows of another"),
        "{found}"
    );
    let found = parse(&parallel, &[evidence])
        .map(|file| file.plan)
        .unwrap_err();
    assert!(found.contains("no task states where"), "{found}");
    assert!(parse(RUN, &[loss]).is_ok());
}

#[test]
fn masks_of_a_model_need_one() {
    check_set(
        "search.kind=\"model\"",
        "--set search.kind=\"model\": search.kind = \"model\" needs search.model, the folder of a trained \
         model",
    );
    check_set(
        "search.model=\"runs/x\"",
        "--set search.model=\"runs/x\": search.model has no effect without search.kind = \"model\"",
    );
    let sets = ["search.kind=\"model\"", "search.model=\"nowhere\""];
    let found = parse(RUN, &sets).map(|file| file.plan).unwrap_err();
    assert!(found.contains("nowhere: no model here"), "{found}");
    let sets = ["search.kind=\"random\"", "search.seed=3"];
    let found = parse(RUN, &sets).map(|file| file.plan).unwrap_err();
    assert!(
        found.contains("search.seed is of a search that trains"),
        "{found}"
    );
}

#[test]
fn table_rows_move_by_evidence_unless_that_does_not_go_with_the_rest() {
    let rule = |text: &str, sets: &[&str]| parse(text, sets).unwrap().plan.train.evidence;
    let derived = rule(RUN, &[]).expect("it is the default");
    assert_eq!((derived.k, derived.cap), (None, 1.0));
    assert_eq!(
        rule(RUN, &["training.embedding_evidence=\"auto\""]),
        Some(derived)
    );
    let stated = rule(RUN, &["training.embedding_evidence={k=30, cap=0.5}"]).unwrap();
    assert_eq!((stated.k, stated.cap), (Some(30.0), 0.5));
    assert!(!derived.guarded && !stated.guarded);
    let guarded = rule(RUN, &["training.embedding_evidence=\"guarded\""]).unwrap();
    assert_eq!((guarded.k, guarded.cap, guarded.guarded), (None, 1.0, true));
    let guarded = rule(RUN, &["training.embedding_evidence={k=30, guarded=true}"]).unwrap();
    assert_eq!(
        (guarded.k, guarded.cap, guarded.guarded),
        (Some(30.0), 1.0, true)
    );
    let parallel = RUN.replace("where = \"ctr\"\n", "");
    assert_eq!(rule(&parallel, &[]), None);
    for set in [
        "training.embedding_evidence=\"none\"",
        "training.loss=\"esmm\"",
        "training.balance=\"pcgrad\"",
    ] {
        assert_eq!(rule(RUN, &[set]), None, "{set}");
    }
    let wrong = parse(RUN, &["training.embedding_evidence=\"atuo\""]);
    let found = wrong.map(|file| file.plan).unwrap_err();
    assert!(found.contains("did you mean auto?"), "{found}");
}

#[test]
fn shrinkage_is_of_conversions_all_tasks_or_as_validation_says() {
    use ncs_train::Shrinkage;
    let plan = |text: &str, sets: &[&str]| parse(text, sets).unwrap().plan.train;
    let all = "training.shrinkage=\"all\"";
    assert_eq!(plan(RUN, &[]).shrinkage, Shrinkage::Conversions);
    assert_eq!(plan(RUN, &[all]).shrinkage, Shrinkage::All);
    let validated = "training.shrinkage=\"validated\"";
    assert_eq!(plan(RUN, &[validated]).shrinkage, Shrinkage::Validated);
    // Tasks beside each other have nothing but "all".
    let parallel = RUN.replace("where = \"ctr\"\n", "");
    assert!(plan(&parallel, &[]).evidence.is_none());
    assert!(plan(&parallel, &[all]).evidence.is_some());
    let stated = plan(RUN, &[all, "training.embedding_evidence={k=30}"])
        .evidence
        .unwrap();
    assert_eq!(stated.k, Some(30.0));
    let check = |sets: &[&str], expected: &str| {
        let found = parse(RUN, sets).map(|file| file.plan).unwrap_err();
        assert!(found.contains(expected), "{found}");
    };
    check(
        &[all, "training.embedding_evidence=\"none\""],
        "shrinkage says for which tasks embedding_evidence holds, and that is \"none\"",
    );
    check(
        &[all, "training.loss=\"esmm\""],
        "shrinkage needs a loss for each task",
    );
    check(
        &[all, "training.balance=\"pcgrad\""],
        "shrinkage and pcgrad both change the sum of gradients",
    );
    let blind = RUN.replace("valid = \"valid.parquet\"\n", "");
    let sets = [validated, "training.keep=\"last\""];
    let found = parse(&blind, &sets).map(|file| file.plan).unwrap_err();
    assert!(
        found.contains("training.shrinkage = \"validated\" needs validation rows"),
        "{found}"
    );
}

#[test]
fn masks_are_searched_by_gradients_unless_said_otherwise() {
    let silent = RUN.replace("[search]\ndensity = { ctr = 0.4, cvr = 0.3 }\n", "");
    let search = |sets: &[&str]| parse(&silent, sets).map(|file| file.plan.train.search);
    let usual = search(&[]).unwrap();
    assert_eq!(usual.kind, ncs_train::SearchKind::Gradient);
    assert!(usual.density_by_snr && usual.candidates.is_empty());
    assert_eq!(search(&["search.density=\"evidence\""]).unwrap(), usual);
    assert!(!search(&["search.density=0.2"]).unwrap().density_by_snr);
    let magnitude = "search.kind=\"magnitude\"";
    assert_eq!(search(&[magnitude]).unwrap().density, [0.4, 0.4]);
    let auto = "search.density=\"auto\"";
    assert_eq!(search(&[auto]).unwrap().candidates, [0.4, 0.2, 0.1]);
    let found = search(&[auto, magnitude]).unwrap_err();
    assert!(
        found.contains("search.density = \"auto\" is of search.kind = \"gradient\""),
        "{found}"
    );
    let found = search(&["search.density=\"aut\""]).unwrap_err();
    assert!(found.contains("did you mean auto?"), "{found}");
    let blind = RUN.replace("valid = \"valid.parquet\"\n", "");
    let sets = [auto, "training.keep=\"last\""];
    let found = parse(&blind, &sets).map(|file| file.plan).unwrap_err();
    assert!(
        found.contains("search.density = \"auto\" needs validation rows"),
        "{found}"
    );
}

#[test]
fn the_click_logit_is_taken_where_the_tasks_learn_beside_each_other() {
    let heads = |sets: &[&str]| {
        parse(RUN, sets).map(|file| (file.plan.train.kappa, file.plan.network.heads.takes))
    };
    assert_eq!(heads(&[]).unwrap(), (None, None));
    let learned = "training.click_logit=\"learned\"";
    let plan = |permuted| ncs_train::KappaPlan {
        from: 0,
        to: 1,
        permuted,
    };
    assert_eq!(
        heads(&[learned]).unwrap(),
        (Some(plan(false)), Some([0, 1]))
    );
    let permuted = "training.click_logit=\"permuted\"";
    assert_eq!(heads(&[permuted]).unwrap(), (Some(plan(true)), None));
    for (set, expected) in [
        (
            "training.loss=\"esmm\"",
            "click_logit needs a loss for each task",
        ),
        (
            "network.kind=\"single_task\"",
            "click_logit joins the tasks",
        ),
        (
            "tasks.cvr.loss=\"ratio\"",
            "click_logit is learned by a cross-entropy",
        ),
    ] {
        let found = heads(&[learned, set]).unwrap_err();
        assert!(found.contains(expected), "{found}");
    }
    let parallel = RUN.replace("where = \"ctr\"\n", "");
    let found = parse(&parallel, &[learned])
        .map(|file| file.plan)
        .unwrap_err();
    assert!(
        found.contains("click_logit is of a task that counts the rows of another"),
        "{found}"
    );
}

#[test]
fn row_wise_optimizers_are_of_tables() {
    use ncs_train::OptimizerKind;
    let of_tables = |sets: &[&str]| parse(RUN, sets).map(|file| file.plan.train.table_optimizer);
    for name in ["rowwise_adam", "rowwise_adagrad"] {
        let set = format!("training.table_optimizer={name:?}");
        assert_eq!(of_tables(&[&set]).unwrap().kind.name(), name);
        let found = of_tables(&[&format!("training.optimizer={name:?}")]).unwrap_err();
        let expected = format!("set training.table_optimizer = {name:?}");
        assert!(found.contains(&expected), "{found}");
        let found = of_tables(&[&set, "training.parity.stale_momentum=true"]).unwrap_err();
        assert!(found.contains("no row-wise optimizer"), "{found}");
    }
    let stated = "training.table_optimizer={kind=\"rowwise_adam\", beta2=0.99}";
    let kind = of_tables(&[stated]).unwrap().kind;
    assert!(matches!(
        kind,
        OptimizerKind::RowwiseAdam { beta2: 0.99, .. }
    ));
    let found = of_tables(&["training.table_optimizer=\"rowwise\""]).unwrap_err();
    assert!(found.contains("training.table_optimizer"), "{found}");
}

#[test]
fn parity_with_tables_in_shards() {
    let sets = [
        "network.kind=sparse_sharing",
        "search.kind=magnitude",
        "training.parity.stale_momentum=true",
        "distributed.tables=sharded",
    ];
    let found = parse(RUN, &sets).unwrap_err();
    let expected = "--set distributed.tables=sharded: training.parity.stale_momentum moves all rows of all tables in each \
                    step, which tables in shards do not; set distributed.tables = \"replicated\"";
    assert!(found.contains(expected), "{found}");
}
