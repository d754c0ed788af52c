//! One figure, drawn twice by the same code: as SVG, and as PNG with a font that comes along.
//!
//! The PNG is drawn three times as large and averaged down, which smooths what the bitmap back end
//! draws without smoothing. No font is looked up on the machine.

use std::sync::OnceLock;

use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::element::{Circle, PathElement};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color as _, FontStyle, FontTransform, IntoFont as _, RGBColor, ShapeStyle, TextStyle, WHITE,
    register_font,
};

const WIDTH: u32 = 900;
const HEIGHT: u32 = 560;
/// Pixels drawn per pixel of the PNG, along each side.
const SUPERSAMPLING: u32 = 3;

/// The palette of Okabe and Ito, which most colour-blind readers can tell apart.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(224, 224, 224);

/// What is drawn, in the coordinates of its axes.
pub(crate) struct Figure<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: Axis<'a>,
    pub(crate) y: Axis<'a>,
    pub(crate) curves: Vec<Curve<'a>>,
}

/// One axis: a range with `low < high`, and ticks with what they say.
pub(crate) struct Axis<'a> {
    pub(crate) label: &'a str,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) ticks: Vec<(f64, String)>,
}

/// One line.
pub(crate) struct Curve<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
    /// Lower and upper bound of each point; empty for a line without bounds.
    pub(crate) whiskers: Vec<(f64, f64)>,
    /// Whether every point is a dot.
    pub(crate) is_marked: bool,
}

type Area<DB> = DrawingArea<DB, Shift>;
type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

impl Figure<'_> {
    /// The figure as the text of an SVG file.
    pub(crate) fn svg(&self) -> Result<String, String> {
        register()?;
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area();
        self.draw(&area, 1).map_err(|error| error.to_string())?;
        drop(area);
        Ok(text)
    }

    /// The figure as the bytes of a PNG file.
    pub(crate) fn png(&self) -> Result<Vec<u8>, String> {
        register()?;
        let size = (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING);
        let mut large = vec![0; size.0 as usize * size.1 as usize * 3];
        let area = BitMapBackend::with_buffer(&mut large, size).into_drawing_area();
        self.draw(&area, SUPERSAMPLING as i32)
            .map_err(|error| error.to_string())?;
        drop(area);
        encode(&average(&large)).map_err(|error| error.to_string())
    }

    /// Draws the figure with every length times `scale`.
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, scale: i32) -> Drawn<DB> {
        area.fill(&WHITE)?;
        let title = text(21, scale, HPos::Center);
        let centre = (WIDTH as i32 / 2 * scale, 24 * scale);
        area.draw_text(&printable(self.title), &title, centre)?;
        let frame = Frame {
            left: 88 * scale,
            right: (WIDTH as i32 - 28) * scale,
            top: self.draw_legend(area, scale)?,
            bottom: (HEIGHT as i32 - 66) * scale,
        };
        self.draw_axes(area, scale, &frame)?;
        for idx in 0..self.curves.len() {
            self.draw_curve(area, scale, idx, &frame)?;
        }
        if self.curves.iter().all(|curve| curve.points.is_empty()) {
            let middle = (
                (frame.left + frame.right) / 2,
                (frame.top + frame.bottom) / 2,
            );
            area.draw_text(
                "nothing was measured",
                &text(17, scale, HPos::Center),
                middle,
            )?;
        }
        area.present()
    }

    /// Draws the grid, the axes and what they say.
    fn draw_axes<DB: DrawingBackend>(
        &self,
        area: &Area<DB>,
        scale: i32,
        frame: &Frame,
    ) -> Drawn<DB> {
        let thin = |colour: RGBColor| colour.stroke_width(scale as u32);
        let Frame {
            left,
            right,
            top,
            bottom,
        } = *frame;
        for (at, label) in &self.x.ticks {
            let x = self.x.place(*at, left, right);
            area.draw(&PathElement::new(vec![(x, top), (x, bottom)], thin(GRID)))?;
            let below = (x, bottom + 16 * scale);
            area.draw_text(label, &text(15, scale, HPos::Center), below)?;
        }
        for (at, label) in &self.y.ticks {
            let y = self.y.place(*at, bottom, top);
            area.draw(&PathElement::new(vec![(left, y), (right, y)], thin(GRID)))?;
            let beside = (left - 10 * scale, y);
            area.draw_text(label, &text(15, scale, HPos::Right), beside)?;
        }
        let axes = vec![(left, top), (left, bottom), (right, bottom)];
        area.draw(&PathElement::new(axes, thin(INK)))?;
        let below = ((left + right) / 2, bottom + 46 * scale);
        let style = text(17, scale, HPos::Center);
        area.draw_text(&printable(self.x.label), &style, below)?;
        let beside = (20 * scale, (top + bottom) / 2);
        let upward = style.transform(FontTransform::Rotate270);
        area.draw_text(&printable(self.y.label), &upward, beside)
    }

    /// Draws names and colours in rows below the title; returns where the rows end.
    fn draw_legend<DB: DrawingBackend>(
        &self,
        area: &Area<DB>,
        scale: i32,
    ) -> Result<i32, DrawingAreaErrorKind<DB::ErrorType>> {
        let style = text(15, scale, HPos::Left);
        let (left, right) = (88 * scale, (WIDTH as i32 - 28) * scale);
        let (mut x, mut y) = (left, 52 * scale);
        for (idx, curve) in self.curves.iter().enumerate() {
            let name = printable(curve.name);
            let (width, _) = area.estimate_text_size(&name, &style)?;
            // An SVG's reader may have a wider font than ours.
            let width = 34 * scale + width as i32 * 6 / 5 + 24 * scale;
            if left < x && right < x + width {
                (x, y) = (left, y + 22 * scale);
            }
            let line = vec![(x, y), (x + 26 * scale, y)];
            area.draw(&PathElement::new(line, stroke(idx, scale)))?;
            if curve.is_marked {
                area.draw(&Circle::new((x + 13 * scale, y), 4 * scale, filled(idx)))?;
            }
            area.draw_text(&name, &style, (x + 34 * scale, y))?;
            x += width;
        }
        let is_empty = self.curves.is_empty();
        Ok(if is_empty { 48 * scale } else { y + 18 * scale })
    }

    /// Draws one line.
    fn draw_curve<DB: DrawingBackend>(
        &self,
        area: &Area<DB>,
        scale: i32,
        idx: usize,
        frame: &Frame,
    ) -> Drawn<DB> {
        let curve = &self.curves[idx];
        // Lines with whiskers stand side by side, so that equal ones do not hide each other.
        let aside = if curve.whiskers.is_empty() {
            0
        } else {
            (2 * idx as i32 + 1 - self.curves.len() as i32) * 4 * scale
        };
        let place = |x, y| {
            let x = self.x.place(x, frame.left, frame.right);
            (x + aside, self.y.place(y, frame.bottom, frame.top))
        };
        let points: Vec<(i32, i32)> = curve.points.iter().map(|(x, y)| place(*x, *y)).collect();
        for ((x, _), (low, high)) in curve.points.iter().zip(&curve.whiskers) {
            let (foot, head) = (place(*x, *low), place(*x, *high));
            let thin = COLOURS[idx % COLOURS.len()].stroke_width(3 * scale as u32 / 2);
            for (from, to) in [
                (foot, head),
                ((foot.0 - 5 * scale, foot.1), (foot.0 + 5 * scale, foot.1)),
                ((head.0 - 5 * scale, head.1), (head.0 + 5 * scale, head.1)),
            ] {
                area.draw(&PathElement::new(vec![from, to], thin))?;
            }
        }
        if 2 <= points.len() {
            area.draw(&PathElement::new(points.clone(), stroke(idx, scale)))?;
        }
        if curve.is_marked {
            for point in points {
                area.draw(&Circle::new(point, 4 * scale, filled(idx)))?;
            }
        }
        Ok(())
    }
}

/// Where the axes are, in the area's own pixels.
struct Frame {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl Axis<'_> {
    /// Where a value lies between the pixels of the axis' two ends.
    fn place(&self, value: f64, start: i32, end: i32) -> i32 {
        // Halved, so that the widest range there is stays finite.
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        start + (share * f64::from(end - start)).round() as i32
    }
}

fn stroke(idx: usize, scale: i32) -> ShapeStyle {
    COLOURS[idx % COLOURS.len()].stroke_width(2 * scale as u32)
}

fn filled(idx: usize) -> ShapeStyle {
    COLOURS[idx % COLOURS.len()].filled()
}

/// Text that is centred vertically on its place.
fn text(size: i32, scale: i32, side: HPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size * scale).into_font())
        .color(&INK)
        .pos(Pos::new(side, VPos::Center))
}

/// Control characters have no place in an SVG.
fn printable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Gives the drawing library the font that it measures and, in the PNG, draws with.
fn register() -> Result<(), String> {
    static IS_FONT: OnceLock<bool> = OnceLock::new();
    let is_font = IS_FONT.get_or_init(|| {
        register_font(
            "sans-serif",
            FontStyle::Normal,
            epaint_default_fonts::UBUNTU_LIGHT,
        )
        .is_ok()
    });
    is_font
        .then_some(())
        .ok_or_else(|| "the embedded font cannot be read".to_owned())
}

/// `[height, width, rgb]` from the large picture: the mean of every square of pixels.
fn average(large: &[u8]) -> Vec<u8> {
    let n = SUPERSAMPLING as usize;
    let row = WIDTH as usize * n * 3;
    let mut small = Vec::with_capacity(WIDTH as usize * HEIGHT as usize * 3);
    for rows in large.chunks_exact(row * n) {
        for x in 0..WIDTH as usize {
            for channel in 0..3 {
                let sum: u32 = (0..n * n)
                    .map(|idx| u32::from(rows[idx / n * row + (x * n + idx % n) * 3 + channel]))
                    .sum();
                small.push((sum / (n * n) as u32) as u8);
            }
        }
    }
    small
}

fn encode(pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}
