use super::*;
use crate::{
    report::{fixtures, summary},
    result::RunResult,
};

fn results() -> Vec<RunResult> {
    let mut results = vec![
        fixtures::run("holdfast over memif, replicated", 6),
        fixtures::run("kernel <epoll> & friends", 31),
    ];
    results[1].marks.clear();
    results[1].stalls = None;
    results
}

fn picture<'a>(groups: &'a [Group<'a>]) -> Picture<'a> {
    Picture { title: "64 B requests, 64 connections", groups, panels: Panel::of(groups) }
}

#[test]
fn svg_names_every_run_once_and_marks_the_takeover() {
    let results = results();
    let groups = summary::groups(&results);
    let svg = picture(&groups).svg().unwrap();
    for text in ["holdfast over memif, replicated", "kernel &lt;epoll&gt; &amp; friends"] {
        assert_eq!(svg.matches(text).count(), 1, "{text}");
    }
    for text in ["takeover", "99.99 %", "99.9 %", "90 %", "seconds", "longest stall"] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(!svg.contains("<image") && !svg.contains("href"), "refers to something outside");
}

#[test]
fn png_has_twice_the_size_and_more_than_one_colour() {
    let results = results();
    let groups = summary::groups(&results);
    let picture = picture(&groups);
    let file = picture.png().unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (picture.size().0 * 2, picture.size().1 * 2));
    let has = |color: RGBColor| pixels.chunks(3).any(|p| p == [color.0, color.1, color.2]);
    assert!(has(color(0)) && has(color(1)) && has(RGBColor(255, 255, 255)));
}

#[test]
fn panels_show_only_what_was_measured() {
    let mut run = fixtures::run("down", 10);
    run.command = "bulk".into();
    run.latency_ns = None;
    run.stalls = None;
    run.timeline.iter_mut().for_each(|step| step.p99_ns = None);
    let runs = [run];
    assert_eq!(Panel::of(&summary::groups(&runs)), [Panel::Throughput]);
}

#[test]
fn a_run_in_which_nothing_happened_can_be_drawn() {
    let mut run = fixtures::run("", 10);
    run.timeline.iter_mut().for_each(|step| *step = crate::result::Interval::default());
    run.stalls = Some(crate::result::StallSummary::default());
    let runs = [run];
    let groups = summary::groups(&runs);
    assert!(picture(&groups).svg().unwrap().contains("rpc over memif"));
}
