//! How results relate to others of the same measurement.

use super::{
    summary::{Group, METRICS},
    table::Table,
};

/// Ratios of every figure that both groups have; above 1 means `new` has more. A verdict is given
/// where both were measured more than once.
pub fn ratios(base: &Group<'_>, new: &Group<'_>) -> Table {
    let mut table = Table::new([
        "figure".to_owned(),
        base.label.clone(),
        new.label.clone(),
        "ratio".to_owned(),
        String::from("verdict"),
    ]);
    for metric in &METRICS {
        let (Some(before), Some(after)) = (base.spread(metric), new.spread(metric)) else {
            continue;
        };
        let ratio = after.median / before.median;
        let apart = after.min > before.max || after.max < before.min;
        let better = (after.median > before.median) == metric.more_is_better;
        let verdict = match (apart, better) {
            // One run tells nothing of how much the next would differ.
            _ if before.runs < 2 || after.runs < 2 => "",
            (false, _) => "within the spread",
            (true, true) => "better",
            (true, false) => "worse",
        };
        table.rows.push(vec![
            metric.name.to_owned(),
            before.format(metric.unit),
            after.format(metric.unit),
            if ratio.is_finite() { format!("{ratio:.3}") } else { "-".to_owned() },
            verdict.to_owned(),
        ]);
    }
    table.without_empty_columns()
}

/// Groups that measure the same thing: of the same command and label; a single group on either
/// side goes with a single group on the other whatever their labels.
pub fn pairs<'a, 'b>(
    base: &'a [Group<'b>],
    new: &'a [Group<'b>],
) -> Vec<(&'a Group<'b>, &'a Group<'b>)> {
    if let ([base], [new]) = (base, new)
        && base.runs[0].command == new.runs[0].command
    {
        return vec![(base, new)];
    }
    let same = |old: &&Group<'_>, new: &Group<'_>| {
        old.label == new.label && old.runs[0].command == new.runs[0].command
    };
    new.iter().filter_map(|new| Some((base.iter().find(|old| same(old, new))?, new))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::{fixtures, summary::groups},
        result::RunResult,
    };

    fn row(table: &Table, name: &str) -> Vec<String> {
        table.rows.iter().find(|row| row[0] == name).unwrap().clone()
    }

    fn runs(label: &str, rates: &[f64]) -> Vec<RunResult> {
        let run = |rate: &f64| {
            let mut run = fixtures::run(label, 10);
            run.requests_per_second = *rate;
            run
        };
        rates.iter().map(run).collect()
    }

    #[test]
    fn verdict_needs_ranges_that_do_not_overlap() {
        let (base, faster, same) =
            (runs("a", &[100.0, 110.0]), runs("b", &[150.0, 160.0]), runs("c", &[90.0, 105.0]));
        let (base, faster, same) = (groups(&base), groups(&faster), groups(&same));
        let better = row(&ratios(&base[0], &faster[0]), "requests");
        assert_eq!(better[3..], ["1.476", "better"]);
        let equal = row(&ratios(&base[0], &same[0]), "requests");
        assert_eq!(equal[4], "within the spread");
        let worse = row(&ratios(&faster[0], &base[0]), "requests");
        assert_eq!(worse[4], "worse");
    }

    #[test]
    fn lower_latency_is_better_and_nothing_is_divided_by_zero() {
        let (slow, fast) = ([40, 41], [4, 5]);
        let (slow, fast) =
            (slow.map(|p50| fixtures::run("a", p50)), fast.map(|p50| fixtures::run("a", p50)));
        let (slow, fast) = (groups(&slow), groups(&fast));
        assert_eq!(row(&ratios(&slow[0], &fast[0]), "p50")[4], "better");
        let dead = runs("dead", &[0.0]);
        assert_eq!(row(&ratios(&groups(&dead)[0], &fast[0]), "requests")[3..], ["-"]);
    }

    #[test]
    fn groups_pair_by_label_unless_there_is_one_of_each() {
        let (old, new) = (runs("before", &[1.0]), runs("after", &[1.0]));
        assert_eq!(pairs(&groups(&old), &groups(&new)).len(), 1);
        let (mut old, mut new) = (old, new);
        old.extend(runs("both", &[1.0]));
        new.extend(runs("both", &[2.0]));
        let (old, new) = (groups(&old), groups(&new));
        let labels: Vec<_> = pairs(&old, &new).iter().map(|pair| pair.1.label.clone()).collect();
        assert_eq!(labels, ["both"]);
    }
}
