use super::*;
use crate::report::fixtures;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn save(&self, name: &str, results: &[RunResult]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, serde_json::to_vec(results).unwrap()).unwrap();
        path
    }
}

fn args(results: Vec<PathBuf>) -> ReportArgs {
    ReportArgs { results, html: None, plot: None, hlog: None, compare: false, force: false }
}

#[test]
fn writes_every_file_asked_for() {
    let folder = Folder::new();
    let one = folder.save("one.json", &[fixtures::run("solo", 10)]);
    let two = folder.save("two.json", &[fixtures::run("pair", 12)]);
    let (html, svg, png, log) =
        (folder.path("r.html"), folder.path("p.svg"), folder.path("p.png"), folder.path("l.hlog"));
    let mut args = args(vec![one, two]);
    (args.html, args.plot, args.hlog) = (Some(html.clone()), Some(svg.clone()), Some(log.clone()));
    run(&args).unwrap();
    args.plot = Some(png.clone());
    run(&args).unwrap();
    let starts = |path: &Path, bytes: &[u8]| fs::read(path).unwrap().starts_with(bytes);
    assert!(starts(&html, b"<!DOCTYPE html>") && starts(&svg, b"<svg"));
    assert!(starts(&png, b"\x89PNG") && starts(&log, b"#[Logged"));
}

#[test]
fn refuses_results_of_different_machines_unless_forced() {
    let folder = Folder::new();
    let mut other = fixtures::run("pair", 12);
    other.machine.cores += 1;
    other.machine.fingerprint = "another".into();
    let mut args = args(vec![
        folder.save("one.json", &[fixtures::run("solo", 10)]),
        folder.save("two.json", &[other]),
    ]);
    let error = run(&args).unwrap_err().to_string();
    assert!(error.contains("different machines") && error.contains("cores"), "{error}");
    args.force = true;
    args.html = Some(folder.path("r.html"));
    run(&args).unwrap();
    assert!(fs::read_to_string(folder.path("r.html")).unwrap().contains("class=\"warning\""));
}

#[test]
fn comparing_takes_two_files_that_have_something_in_common() {
    let folder = Folder::new();
    let base = folder.save("a.json", &[fixtures::run("solo", 10), fixtures::run("pair", 10)]);
    let mut args = args(vec![base.clone()]);
    args.compare = true;
    assert!(run(&args).unwrap_err().to_string().contains("second file"));
    args.results.push(folder.save("b.json", &[fixtures::run("other", 10)]));
    assert!(run(&args).unwrap_err().to_string().contains("nothing to compare"));
    args.results[1] = base;
    run(&args).unwrap();
}

#[test]
fn a_picture_needs_a_known_ending() {
    assert!(plot_path("a.svg").is_ok() && plot_path("b.c.png").is_ok());
    for wrong in ["a", "a.jpg", ".png", "svg"] {
        assert!(plot_path(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_unwritable_file_is_named() {
    let folder = Folder::new();
    let path = folder.path("no/such/folder.html");
    let outputs = Outputs { html: Some(&path), plot: None };
    let error = write(&[fixtures::run("solo", 10)], &[], &outputs).unwrap_err();
    assert!(error.to_string().contains("no/such/folder.html"), "{error}");
}
