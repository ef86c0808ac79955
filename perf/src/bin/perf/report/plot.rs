//! Pictures of results: panels below each other, with one legend, as SVG or PNG.

use anyhow::anyhow;
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, DrawingBackend, IntoDrawingArea, Rectangle, SVGBackend, Text},
    style::{
        Color, RGBColor, TextStyle, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{
    font,
    panel::{self, Panel},
    raster,
    summary::Group,
};

/// Part of a picture, in pixels.
pub type Area<B> = DrawingArea<B, Shift>;

const WIDTH: u32 = 960;
const PANEL_HEIGHT: u32 = 340;
const MARGIN: i32 = 16;
const TITLE_HEIGHT: i32 = 34;
const LEGEND_LINE: i32 = 22;
const SWATCH: i32 = 12;
const TEXT_SIZE: f64 = 17.0;
/// In letters; as many fit a line of the legend.
const LONGEST_LABEL: usize = 90;

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
        (WIDTH, self.head_height().unsigned_abs() + PANEL_HEIGHT.saturating_mul(panels))
    }

    fn title_height(&self) -> i32 {
        if self.title.is_empty() { MARGIN / 2 } else { TITLE_HEIGHT }
    }

    fn head_height(&self) -> i32 {
        let lines = self.legend().last().map_or(0, |(_, _, line)| line + 1);
        self.title_height() + lines * LEGEND_LINE
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> anyhow::Result<()> {
        area.fill(&WHITE).map_err(failed)?;
        let (head, body) = area.split_vertically(self.head_height());
        self.draw_head(&head)?;
        for (panel, part) in self.panels.iter().zip(body.split_evenly((self.panels.len(), 1))) {
            panel::draw(*panel, self.groups, &part)?;
        }
        Ok(())
    }

    fn draw_head<B: DrawingBackend>(&self, head: &Area<B>) -> anyhow::Result<()> {
        let black = RGBColor(0, 0, 0);
        let style = text_style(22.0, black, HPos::Left, VPos::Top);
        head.draw(&Text::new(self.title, (MARGIN, 8), style)).map_err(failed)?;
        let style = text_style(TEXT_SIZE, black, HPos::Left, VPos::Center);
        for (index, x, line) in self.legend() {
            let y = self.title_height() + line * LEGEND_LINE + LEGEND_LINE / 2;
            let half = SWATCH / 2;
            let swatch = [(x, y - half), (x + SWATCH, y + half)];
            head.draw(&Rectangle::new(swatch, color(index).filled())).map_err(failed)?;
            let label = shorten(&self.groups[index].label, LONGEST_LABEL);
            head.draw(&Text::new(label, (x + SWATCH + 6, y), style.clone())).map_err(failed)?;
        }
        Ok(())
    }

    /// Place of each group's entry: its index, x in pixels, and line.
    fn legend(&self) -> Vec<(usize, i32, i32)> {
        let style = text_style(TEXT_SIZE, RGBColor(0, 0, 0), HPos::Left, VPos::Center);
        let (mut x, mut line) = (MARGIN, 0);
        let mut places = Vec::new();
        for (index, group) in self.groups.iter().enumerate() {
            let text = style.font.layout_box(&shorten(&group.label, LONGEST_LABEL));
            let width = SWATCH + 6 + text.map_or(WIDTH as i32, |(from, to)| to.0 - from.0);
            if x > MARGIN && x + width > WIDTH as i32 - MARGIN {
                (x, line) = (MARGIN, line + 1);
            }
            places.push((index, x, line));
            x += width + 2 * MARGIN;
        }
        places
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
