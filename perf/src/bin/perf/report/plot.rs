//! Pictures of results: panels below each other, with one legend, as SVG or PNG.

use anyhow::anyhow;
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, DrawingBackend, IntoDrawingArea, SVGBackend},
    style::{
        Color, RGBColor, TextStyle, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{
    font,
    head::Head,
    panel::{self, Panel},
    raster,
    summary::Group,
};

/// Part of a picture, in pixels.
pub type Area<B> = DrawingArea<B, Shift>;

/// Of every picture, in pixels.
pub const WIDTH: u32 = 960;
/// Of every panel, in pixels.
pub const PANEL_HEIGHT: u32 = 340;

/// Colours that people of all kinds of colour vision can tell apart (Okabe and Ito), darkest first.
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(180, 170, 30),
];

/// Colour of the group at `index`; after the eighth they come again.
pub fn color(index: usize) -> RGBColor {
    COLORS[index % COLORS.len()]
}

/// A failure of plotters as text: its error types name the backend.
pub fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the picture: {error}")
}

/// Text of the given size and colour.
pub fn text_style(size: f64, color: RGBColor, h_pos: HPos, v_pos: VPos) -> TextStyle<'static> {
    let mut style = TextStyle::from((font::FAMILY, size)).pos(Pos::new(h_pos, v_pos));
    style.color = color.to_backend_color();
    style
}

/// A picture of panels, one below the other.
#[derive(Debug)]
pub struct Picture<'a> {
    /// Stands on top; empty for none.
    pub title: &'a str,
    pub groups: &'a [Group<'a>],
    pub panels: Vec<Panel>,
}

impl Picture<'_> {
    /// The picture as text of an SVG file.
    ///
    /// # Errors
    /// A histogram in the results is damaged.
    pub fn svg(&self) -> anyhow::Result<String> {
        font::register()?;
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, self.size()).into_drawing_area();
            self.draw(&area)?;
            area.present().map_err(failed)?;
        }
        Ok(text)
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// A histogram in the results is damaged.
    pub fn png(&self) -> anyhow::Result<Vec<u8>> {
        font::register()?;
        raster::png(self.size(), |area| self.draw(area))
    }

    fn size(&self) -> (u32, u32) {
        let panels = u32::try_from(self.panels.len()).unwrap_or(u32::MAX);
        (WIDTH, self.head().height().unsigned_abs() + PANEL_HEIGHT.saturating_mul(panels))
    }

    fn head(&self) -> Head<'_> {
        let labels = self.groups.iter().map(|group| group.label.as_str()).collect();
        Head { title: self.title, labels }
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> anyhow::Result<()> {
        area.fill(&WHITE).map_err(failed)?;
        let head = self.head();
        let (top, body) = area.split_vertically(head.height());
        head.draw(&top)?;
        for (panel, part) in self.panels.iter().zip(body.split_evenly((self.panels.len(), 1))) {
            panel::draw(*panel, self.groups, &part)?;
        }
        Ok(())
    }
}

/// The text, or what fits of it into `longest` letters.
pub fn shorten(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
