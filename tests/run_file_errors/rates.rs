//! Counts and rates of the past: of which features and tasks they can be.

use ncs_features::{RatePlan, RatesPlan};

use super::{RUN, parse};

fn rates(sets: &[&str]) -> RatesPlan {
    parse(RUN, sets).unwrap().plan.schema.rates
}

#[test]
fn rates_are_of_categories_and_of_all_tasks_unless_some_are_named() {
    assert_eq!(rates(&["features.rates=\"none\""]), RatesPlan::None);
    assert_eq!(rates(&["features.rates=\"auto\""]), RatesPlan::Auto);
    assert_eq!(rates(&["features.rates=[]"]), RatesPlan::None);
    let plan = |of: &[usize], tasks: &[usize]| RatePlan {
        of: of.into(),
        tasks: tasks.into(),
    };
    let sets = "features.rates=[{ of = [\"user_id\"] }, { of = [\"user_id\", \"article_id\"], tasks = [\"cvr\"] }]";
    let expected = vec![plan(&[0], &[0, 1]), plan(&[0, 1], &[1])];
    assert_eq!(rates(&[sets]), RatesPlan::These(expected));
    let table = "[[features.rates]]\nof = [\"article_id\"]\n";
    let found = parse(&format!("{RUN}\n{table}"), &[]).unwrap();
    let expected = RatesPlan::These(vec![plan(&[1], &[0, 1])]);
    assert_eq!(found.plan.schema.rates, expected);
}

#[test]
fn rates_of_anything_else_are_refused_with_the_place() {
    let check = |rate: &str, expected: &str| {
        let text = format!("{RUN}\n[[features.rates]]\n{rate}\n");
        let found = parse(&text, &[]).unwrap_err();
        let line = text.lines().count();
        let expected = format!("run.toml:{line}: features.rates: {expected}");
        assert!(found.starts_with(&expected), "{rate}: {found}");
    };
    check(
        "of = [\"user\"]",
        "\"user\" is not a feature; known: user_id, article_id, history, age",
    );
    check(
        "of = [\"age\"]",
        "\"age\" is a number; a rate is of categories",
    );
    check(
        "of = [\"history\"]",
        "\"history\" is a list; a rate is of categories",
    );
    check(
        "of = [\"user_id\", \"user_id\"]",
        "\"user_id\" is named twice",
    );
    check(
        "of = [\"user_id\"]\ntasks = [\"ctrr\"]",
        "\"ctrr\" is not a task",
    );
    let text = format!("{RUN}\n[[features.rates]]\nof = [\"user_id\"]\ntasks = [\"watch\"]\n");
    let text = text.replace(
        "[network]",
        "[tasks.watch]\nlabel = \"seen_at\"\nloss = \"ratio\"\n\n[network]",
    );
    let found = parse(&text, &[]).unwrap_err();
    assert!(
        found.contains("the label of task \"watch\" is a number"),
        "{found}"
    );
    let twice = "features.rates=[{ of = [\"user_id\"] }, { of = [\"user_id\"] }]";
    let found = parse(RUN, &[twice]).unwrap_err();
    assert!(
        found.contains("features.rates names user_id twice"),
        "{found}"
    );
}
