//! Who decides which node is primary, as far as that can be asked.

use etcd::keeper::{self, Found};

use super::finding::Report;
use crate::config::{NodeConfig, Register};

const REGISTER: &str = "register";

/// Asks etcd, member by member.
pub fn etcd(config: &NodeConfig, report: &mut Report) {
    let Register::Etcd(etcd) = &config.register else { return };
    match keeper::survey(&etcd.setup()) {
        Ok(answers) => judge(&etcd.key, &answers, report),
        Err(problem) => report.note(REGISTER, format!("etcd was not asked: {problem}")),
    }
}

fn judge(key: &str, answers: &[Found], report: &mut Report) {
    let silent = answers.iter().filter(|found| found.is_there.is_err()).count();
    for Found { endpoint, is_there } in answers {
        let Err(problem) = is_there else { continue };
        let message = format!("etcd at {endpoint}: {problem}");
        let fix = format!("etcdctl --endpoints {endpoint} endpoint health");
        if silent == answers.len() {
            report.error(REGISTER, message, fix);
        } else {
            report.warn(REGISTER, message, fix);
        }
    }
    if answers.iter().any(|found| found.is_there == Ok(true)) {
        report.ok(REGISTER, format!("etcd answers, and has {key}"));
    } else if silent < answers.len() {
        let message = format!("etcd answers, and has no {key} yet: start one node with --init");
        report.note(REGISTER, message);
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    fn severities(answers: &[Result<bool, &str>]) -> Vec<Severity> {
        let found = |is_there: &Result<bool, &str>| Found {
            endpoint: "https://e:2379".parse().unwrap(),
            is_there: is_there.map_err(str::to_owned),
        };
        let answers: Vec<_> = answers.iter().map(found).collect();
        let mut report = Report::default();
        judge("/holdfast/lab/view", &answers, &mut report);
        report.findings.iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn one_member_that_answers_is_enough() {
        assert_eq!(severities(&[Ok(true), Ok(true)]), [Severity::Ok]);
        assert_eq!(severities(&[Err("refused"), Ok(true)]), [Severity::Warning, Severity::Ok]);
        assert_eq!(severities(&[Err("refused"), Err("refused")]), [Severity::Error; 2]);
    }

    #[test]
    fn missing_key_is_no_error_before_the_first_start() {
        assert_eq!(severities(&[Ok(false)]), [Severity::Note]);
    }
}
