use controlplane::{NodeId, NodeName};
use replication::Incarnation;

use super::*;

fn node(name: &str) -> NodeId {
    NodeId { name: NodeName::new(name).unwrap(), incarnation: Incarnation(1) }
}

fn text(view: &View) -> Option<Vec<u8>> {
    Some(view.to_json().into_bytes())
}

fn follows(view: &View, primary: &str) -> Change {
    Change { expected: view.epoch, next: view.next(node(primary), &[]) }
}

/// A scribe that has read `view`.
fn scribe_at(view: &View) -> Scribe {
    let mut scribe = Scribe::default();
    assert_eq!(scribe.next(), Some(Ask::Read));
    scribe.learn(&Ask::Read, Answer::Holds(text(view)));
    assert_eq!((scribe.next(), scribe.view()), (None, view));
    scribe
}

#[test]
fn change_is_asked_for_until_it_is_made() {
    let old = View::default();
    let mut scribe = scribe_at(&old);
    let change = follows(&old, "a");
    scribe.want(change.clone());
    let ask = Ask::Swap { held: text(&old).unwrap(), next: change.next.clone() };
    for _unanswered in 0..3 {
        assert_eq!(scribe.next(), Some(ask.clone()));
        assert_eq!(*scribe.view(), old, "nothing is decided before etcd says so");
    }
    scribe.learn(&ask, Answer::Made);
    assert_eq!((scribe.next(), scribe.view()), (None, &change.next));
    assert!(!scribe.is_pressed());
}

#[test]
fn lost_answer_is_found_out_by_asking_again() {
    let old = View::default();
    let (mut scribe, change) = (scribe_at(&old), follows(&old, "a"));
    scribe.want(change.clone());
    let ask = scribe.next().unwrap();
    scribe.learn(&ask, Answer::Holds(text(&change.next)));
    assert_eq!((scribe.next(), scribe.view()), (None, &change.next));
}

#[test]
fn conflict_brings_the_view_that_stands() {
    let old = View::default();
    let mut scribe = scribe_at(&old);
    scribe.want(follows(&old, "a"));
    let ask = scribe.next().unwrap();
    let theirs = old.next(node("b"), &[]);
    scribe.learn(&ask, Answer::Holds(text(&theirs)));
    assert_eq!((scribe.next(), scribe.view()), (None, &theirs));
    assert!(!scribe.is_pressed(), "it has an outcome");
}

#[test]
fn change_of_a_view_that_is_not_known_yet_waits_for_a_read() {
    let old = View::default().next(node("a"), &[]);
    let mut scribe = Scribe::default();
    let change = follows(&old, "b");
    scribe.want(change.clone());
    assert_eq!(scribe.next(), Some(Ask::Read));
    scribe.learn(&Ask::Read, Answer::Holds(text(&old)));
    let swap = Ask::Swap { held: text(&old).unwrap(), next: change.next };
    assert_eq!(scribe.next(), Some(swap));
}

#[test]
fn compares_the_bytes_that_were_read() {
    let old = View::default();
    let by_hand = old.to_json().replace(',', ", ").into_bytes();
    let mut scribe = Scribe::default();
    scribe.learn(&Ask::Read, Answer::Holds(Some(by_hand.clone())));
    scribe.want(follows(&old, "a"));
    assert!(matches!(scribe.next(), Some(Ask::Swap { held, .. }) if held == by_hand));
}

#[test]
fn key_that_is_missing_or_deleted_is_never_made_again() {
    let mut scribe = Scribe::default();
    scribe.want(follows(&View::default(), "a"));
    scribe.learn(&Ask::Read, Answer::Holds(None));
    assert!(matches!(scribe.trouble(), Some(Trouble::Missing)));
    assert_eq!(scribe.next(), None, "a change is no reason to make it");
    let view = View::default().next(node("a"), &[]);
    let mut scribe = scribe_at(&view);
    scribe.look();
    scribe.learn(&Ask::Read, Answer::Holds(None));
    assert!(matches!(scribe.trouble(), Some(Trouble::Deleted(Epoch(1)))));
    scribe.want(follows(&view, "a"));
    assert_eq!(scribe.next(), Some(Ask::Read));
    scribe.learn(&Ask::Read, Answer::Holds(text(&view)));
    assert!(scribe.trouble().is_none() && matches!(scribe.next(), Some(Ask::Swap { .. })));
}

#[test]
fn older_rewritten_and_foreign_values_change_nothing() {
    let first = View::default().next(node("a"), &[]);
    let second = first.next(node("a"), &[node("b")]);
    let mut scribe = scribe_at(&second);
    let mut says = |value: Option<Vec<u8>>| {
        scribe.look();
        scribe.learn(&Ask::Read, Answer::Holds(value));
        scribe.want(follows(&second, "a"));
        assert_eq!((scribe.next(), scribe.view()), (Some(Ask::Read), &second));
        scribe.trouble().unwrap().to_string()
    };
    assert!(says(text(&first)).contains("epoch 1, and 2 was decided"));
    assert!(says(text(&first.next(node("b"), &[]))).contains("another view of epoch 2"));
    assert!(says(Some(b"hello".to_vec())).contains("no view"));
}

#[test]
fn value_older_than_what_the_node_builds_on_is_no_base() {
    let first = View::default().next(node("a"), &[]);
    let second = first.next(node("a"), &[node("b")]);
    let mut scribe = Scribe::default();
    scribe.want(follows(&second, "b"));
    scribe.learn(&Ask::Read, Answer::Holds(text(&first)));
    assert!(scribe.trouble().is_none(), "the question may be older than the change");
    assert_eq!(scribe.next(), Some(Ask::Read));
    scribe.learn(&Ask::Read, Answer::Holds(text(&first)));
    assert!(matches!(scribe.trouble(), Some(Trouble::WentBack { .. })));
    assert_eq!(scribe.next(), None);
}
