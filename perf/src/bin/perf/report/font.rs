//! The font of all pictures: a part of `DejaVu` Sans that comes with the program, so that pictures
//! look the same on a host without fonts.

use ab_glyph::FontRef;
use anyhow::{Context, anyhow};
use plotters::style::{FontStyle, register_font};

/// What an SVG asks for; the first is the one that PNGs are drawn with.
pub const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// Latin, Greek, Cyrillic, and the signs that reports use; see `assets/DejaVuSans-subset.LICENSE`.
static FILE: &[u8] = include_bytes!("../../../../assets/DejaVuSans-subset.ttf");

/// The font, for drawing.
///
/// # Errors
/// The file in the program is damaged.
pub fn font() -> anyhow::Result<FontRef<'static>> {
    FontRef::try_from_slice(FILE).context("the built-in font is damaged")
}

/// Makes the font known to plotters, which measures text with it.
///
/// # Errors
/// The file in the program is damaged.
pub fn register() -> anyhow::Result<()> {
    register_font(FAMILY, FontStyle::Normal, FILE)
        .map_err(|_| anyhow!("the built-in font is damaged"))
}

/// Size of an em in pixels for a size in plotters' terms, as its SVG backend has it.
pub fn em(size: f64) -> f32 {
    (size / 1.24) as f32
}
