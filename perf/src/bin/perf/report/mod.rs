//! Renders results: a table on the terminal, `.hlog` files, plots, the HTML report.

mod command;
#[cfg(test)]
pub mod fixtures;
mod summary;
mod table;
mod unit;

pub use command::{ReportArgs, run};
