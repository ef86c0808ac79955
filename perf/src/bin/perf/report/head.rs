//! What stands above the panels of a picture: its title, and whose colour is whose.

use plotters::{
    prelude::{DrawingBackend, Rectangle, Text},
    style::{
        Color, RGBColor, TextStyle,
        text_anchor::{HPos, VPos},
    },
};

use super::plot::{Area, WIDTH, color, failed, shorten, text_style};

const MARGIN: i32 = 16;
const TITLE_HEIGHT: i32 = 34;
const LEGEND_LINE: i32 = 22;
const SWATCH: i32 = 12;
const TEXT_SIZE: f64 = 17.0;
/// In letters; as many fit a line of the legend.
const LONGEST_LABEL: usize = 90;
const BLACK: RGBColor = RGBColor(0, 0, 0);

/// Title and legend.
#[derive(Debug)]
pub struct Head<'a> {
    /// Empty for none.
    pub title: &'a str,
    /// Each has the colour of its place.
    pub labels: Vec<&'a str>,
}

impl Head<'_> {
    /// In pixels.
    pub fn height(&self) -> i32 {
        let lines = self.legend().last().map_or(0, |(_, _, line)| line + 1);
        self.title_height() + lines * LEGEND_LINE
    }

    fn title_height(&self) -> i32 {
        if self.title.is_empty() { MARGIN / 2 } else { TITLE_HEIGHT }
    }

    /// # Errors
    /// The backend fails.
    pub fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> anyhow::Result<()> {
        let style = text_style(22.0, BLACK, HPos::Left, VPos::Top);
        area.draw(&Text::new(self.title, (MARGIN, 8), style)).map_err(failed)?;
        for (index, x, line) in self.legend() {
            let y = self.title_height() + line * LEGEND_LINE + LEGEND_LINE / 2;
            let half = SWATCH / 2;
            let swatch = [(x, y - half), (x + SWATCH, y + half)];
            area.draw(&Rectangle::new(swatch, color(index).filled())).map_err(failed)?;
            let label = shorten(self.labels[index], LONGEST_LABEL);
            area.draw(&Text::new(label, (x + SWATCH + 6, y), label_style())).map_err(failed)?;
        }
        Ok(())
    }

    /// Place of each label: its index, x in pixels, and line.
    fn legend(&self) -> Vec<(usize, i32, i32)> {
        let style = label_style();
        let (mut x, mut line) = (MARGIN, 0);
        let mut places = Vec::new();
        for (index, label) in self.labels.iter().enumerate() {
            let text = style.font.layout_box(&shorten(label, LONGEST_LABEL));
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

fn label_style() -> TextStyle<'static> {
    text_style(TEXT_SIZE, BLACK, HPos::Left, VPos::Center)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_labels_wrap() {
        crate::report::font::register().unwrap();
        let labels = vec!["the label of one of many runs"; 12];
        let head = Head { title: "", labels };
        let legend = head.legend();
        assert!(legend.iter().all(|(_, x, _)| *x < WIDTH as i32));
        assert!(legend.last().unwrap().2 >= 1);
    }
}
