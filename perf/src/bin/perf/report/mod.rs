//! Renders results: `.hlog` files, plots, the HTML report.

#[cfg(test)]
pub mod fixtures;
