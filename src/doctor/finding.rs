//! What the doctor writes down.

use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Looked at and right.
    Ok,
    /// Good to know; nothing to do, or it could not be looked at from here.
    Note,
    /// A node runs, but slower or less safely than it could.
    Warning,
    /// A node does not run, or does not serve.
    Error,
}

impl Severity {
    /// The word at the start of a line.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// What it is about, e.g. `hugepages`.
    pub area: &'static str,
    pub message: String,
    /// Commands that mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// All findings, in the order in which they were made.
#[derive(Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings matter this much.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Looked at and right.
    pub fn ok(&mut self, area: &'static str, message: impl Into<String>) {
        self.add(Severity::Ok, area, message.into(), None);
    }

    /// Good to know.
    pub fn note(&mut self, area: &'static str, message: impl Into<String>) {
        self.add(Severity::Note, area, message.into(), None);
    }

    /// Works, but could be better; `fix` is a command.
    pub fn warn(&mut self, area: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Warning, area, message.into(), Some(fix.into()));
    }

    /// Does not work; `fix` is a command.
    pub fn error(
        &mut self,
        area: &'static str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(Severity::Error, area, message.into(), Some(fix.into()));
    }

    fn add(
        &mut self,
        severity: Severity,
        area: &'static str,
        message: String,
        fix: Option<String>,
    ) {
        self.findings.push(Finding { severity, area, message, fix });
    }
}
