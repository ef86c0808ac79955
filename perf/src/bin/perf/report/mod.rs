//! Renders results: a table on the terminal, `.hlog` files, plots, the HTML report.
//!
//! Start at `command`; `columns` draws any table; `plot` and `panel` draw, `html` writes the report, `summary` takes runs of
//! one label together.

mod chart;
mod columns;
mod command;
mod compare;
#[cfg(test)]
pub mod fixtures;
mod font;
mod head;
mod hlog;
mod html;
mod panel;
mod plot;
mod raster;
mod summary;
mod table;
pub mod unit;

pub use columns::{DrawArgs, run as draw};
pub use command::{Outputs, ReportArgs, plot_path, run, write, write_hlog};
pub use hlog::Entry;
