use super::*;

fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).unwrap();
    values.into_iter().for_each(|value| histogram.record(value).unwrap());
    histogram
}

fn json(schema: u32) -> Value {
    let mut result = crate::report::fixtures::run("solo", 30);
    result.schema = schema;
    serde_json::to_value(result).unwrap()
}

#[test]
fn latency_survives_the_way_through_json() {
    let recorded = histogram((1..=10_000).map(|n| n * 37));
    let summary = LatencySummary::of(&recorded).unwrap().unwrap();
    let text = serde_json::to_string(&summary).unwrap();
    let read: LatencySummary = serde_json::from_str(&text).unwrap();
    assert_eq!(read, summary);
    assert_eq!(read.histogram().unwrap(), recorded);
    assert_eq!(LatencySummary::of(&histogram([])).unwrap(), None);
}

#[test]
fn damaged_histograms_are_told_and_do_not_panic() {
    let mut summary = LatencySummary::of(&histogram([1, 2, 3])).unwrap().unwrap();
    for hdr in ["", "AAAA", "no base64!", "HISTFAAAAA=="] {
        summary.hdr = hdr.into();
        assert!(summary.histogram().is_err(), "{hdr}");
    }
}

#[test]
fn stalls_fall_into_doubling_buckets() {
    let stalls = StallSummary::of(&histogram([10, 900, 1_500, 3_000, 3_500, 60_000])).unwrap();
    let buckets: Vec<_> = stalls.buckets.iter().map(|b| (b.up_to_us, b.count)).collect();
    assert_eq!(buckets, [(1_000, 2), (2_000, 1), (4_000, 2), (64_000, 1)]);
    assert_eq!(stalls.count, 6);
}

#[test]
fn reads_one_result_and_a_list() {
    let one = json(SCHEMA);
    assert_eq!(RunResult::read(one.to_string().as_bytes()).unwrap().len(), 1);
    let list = Value::Array(vec![one.clone(), one]);
    assert_eq!(RunResult::read(list.to_string().as_bytes()).unwrap().len(), 2);
}

#[test]
fn says_why_a_file_is_no_result() {
    let cases = [
        (json(SCHEMA + 1).to_string(), "schema 2"),
        ("{}".to_owned(), "no member `schema`"),
        ("[]".to_owned(), "empty list"),
        ("3 apples".to_owned(), "not JSON"),
        (r#"{"schema": 1}"#.to_owned(), "missing"),
    ];
    for (text, why) in cases {
        let error = format!("{:#}", RunResult::read(text.as_bytes()).unwrap_err());
        assert!(error.contains(why), "{text}: {error}");
    }
}
