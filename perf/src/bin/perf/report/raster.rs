//! A plotters backend that draws smooth lines and text into a PNG, with no font of the system.
//!
//! Everything is drawn [`DRAWN`] times as large by the bitmap backend and averaged down to
//! [`SHOWN`] times the size; text is drawn here, for the bitmap backend ignores the side bearing of
//! letters.

use std::convert::Infallible;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use anyhow::Context;
use plotters::{
    backend::{BitMapBackend, DrawingBackend},
    prelude::IntoDrawingArea,
};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind,
    text_anchor::{HPos, VPos},
};

use super::font;

const DRAWN: u32 = 4;
const SHOWN: u32 = 2;
const CHANNELS: usize = 3;

/// Calls `draw` with an area of `size` and returns the picture as PNG, [`SHOWN`] times as large.
///
/// # Errors
/// `draw` failed, or the picture can't be encoded.
pub fn png(
    size: (u32, u32),
    draw: impl FnOnce(&super::plot::Area<Raster<'_>>) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<u8>> {
    let (width, height) = (size.0 * DRAWN, size.1 * DRAWN);
    let mut pixels = vec![u8::MAX; width as usize * height as usize * CHANNELS];
    {
        let inner = BitMapBackend::with_buffer(&mut pixels, (width, height));
        let area = Raster { inner, size, font: font::font()? }.into_drawing_area();
        draw(&area)?;
        area.present().map_err(|error| anyhow::anyhow!("cannot finish the picture: {error}"))?;
    }
    let shown = shrink(&pixels, width as usize);
    encode(&shown, size.0 * SHOWN, size.1 * SHOWN)
}

/// Averages blocks of pixels.
fn shrink(pixels: &[u8], width: usize) -> Vec<u8> {
    let block = (DRAWN / SHOWN) as usize;
    let line = width * CHANNELS;
    let mut shown = Vec::with_capacity(pixels.len() / (block * block));
    for rows in pixels.chunks_exact(line * block) {
        for left in (0..line).step_by(block * CHANNELS) {
            for channel in 0..CHANNELS {
                let sum: usize = (0..block * block)
                    .map(|at| at / block * line + left + at % block * CHANNELS + channel)
                    .map(|at| usize::from(rows[at]))
                    .sum();
                // An average of bytes is a byte.
                shown.push((sum / (block * block)) as u8);
            }
        }
    }
    shown
}

fn encode(pixels: &[u8], width: u32, height: u32) -> anyhow::Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().context("cannot begin the PNG")?;
    writer.write_image_data(pixels).context("cannot encode the PNG")?;
    writer.finish().context("cannot finish the PNG")?;
    Ok(file)
}

/// The backend; coordinates are those of the unscaled picture.
pub struct Raster<'a> {
    inner: BitMapBackend<'a>,
    size: (u32, u32),
    font: FontRef<'static>,
}

/// A style with lines [`DRAWN`] times as wide.
struct Wide {
    color: BackendColor,
    width: u32,
}

impl Wide {
    fn of(style: &impl BackendStyle) -> Self {
        Self { color: style.color(), width: style.stroke_width() * DRAWN }
    }
}

impl BackendStyle for Wide {
    fn color(&self) -> BackendColor {
        self.color
    }

    fn stroke_width(&self) -> u32 {
        self.width
    }
}

fn scaled((x, y): BackendCoord) -> BackendCoord {
    (x * DRAWN as i32, y * DRAWN as i32)
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// The buffer of a picture in memory can't fail.
fn sure<E: std::error::Error + Send + Sync>(result: Result<(), DrawingErrorKind<E>>) -> Drawn {
    match result {
        Ok(()) | Err(DrawingErrorKind::DrawingError(_)) => Ok(()),
        Err(DrawingErrorKind::FontError(error)) => Err(DrawingErrorKind::FontError(error)),
    }
}

impl DrawingBackend for Raster<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        sure(self.inner.ensure_prepared())
    }

    fn present(&mut self) -> Drawn {
        sure(self.inner.present())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn {
        self.draw_rect(point, point, &color, true)
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        sure(self.inner.draw_line(scaled(from), scaled(to), &Wide::of(style)))
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        upper_left: BackendCoord,
        bottom_right: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let (from, to) = (scaled(upper_left), scaled(bottom_right));
        sure(self.inner.draw_rect(from, to, &Wide::of(style), fill))
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        sure(self.inner.draw_path(path.into_iter().map(scaled), &Wide::of(style)))
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Drawn {
        sure(self.inner.fill_polygon(corners.into_iter().map(scaled), &Wide::of(style)))
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        position: BackendCoord,
    ) -> Drawn {
        let font = self.font.clone();
        let em = font::em(style.size()) * DRAWN as f32;
        let units = font.units_per_em().unwrap_or(1.0);
        let font = font.as_scaled(PxScale::from(em * font.height_unscaled() / units));
        let width: f32 = text.chars().map(|letter| font.h_advance(font.glyph_id(letter))).sum();
        let mut x = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => -width / 2.0,
            HPos::Right => -width,
        };
        // The distances to the baseline that the SVG backend uses.
        let baseline = match style.anchor().v_pos {
            VPos::Top => 0.76 * em,
            VPos::Center => 0.27 * em,
            VPos::Bottom => -0.27 * em,
        };
        let origin = scaled(position);
        let mut drawn = Ok(());
        for letter in text.chars() {
            let mut glyph = font.scaled_glyph(letter);
            glyph.position = point(x, baseline);
            x += font.h_advance(glyph.id);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|right, down, coverage| {
                let at = (corner.x as i32 + right as i32, corner.y as i32 + down as i32);
                let (dx, dy) = style.transform().transform(at.0, at.1);
                let color = style.color().mix(f64::from(coverage.min(1.0)));
                let pixel = (origin.0 + dx, origin.1 + dy);
                if let Err(error) = sure(self.inner.draw_pixel(pixel, color)) {
                    drawn = Err(error);
                }
            });
        }
        drawn
    }
}
