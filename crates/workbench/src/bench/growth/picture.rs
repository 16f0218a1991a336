//! The report as a picture: a panel for each thing that grows, cost upwards from zero, and the band
//! in which a winner's cost counts as flat.

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Circle, Color as _, DashedLineSeries, DrawingArea, IntoDrawingArea as _,
        IntoFont as _, LineSeries, PathElement, RGBColor, Rectangle, SVGBackend, ShapeStyle, Text,
        TriangleMarker, WHITE,
    },
    style::{
        TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{
    plan::Axis,
    report::{FLAT_MAX, Measured, Point, Report},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (1400, 600);
/// Title and legend.
const HEAD: u32 = 92;
/// Where it comes from.
const FOOT: u32 = 40;
const PANELS: [Axis; 3] = [Axis::Holds, Axis::Products, Axis::Edges];
const FONT: &str = "sans-serif";

const INK: RGBColor = RGBColor(38, 38, 46);
const FAINT: RGBColor = RGBColor(108, 108, 120);
const WINNER: RGBColor = RGBColor(22, 98, 178);
const REFUSED: RGBColor = RGBColor(204, 92, 16);
/// How much of the winners' colour the band has.
const BAND: f64 = 0.13;

/// How a line of calls is drawn: winners have dots and refusals triangles, and a load that is
/// shared out is broken.
#[derive(Clone, Copy)]
struct Style {
    color: RGBColor,
    is_winner: bool,
    is_broken: bool,
}

/// The picture as SVG.
pub fn draw(report: &Report) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (head, rest) = root.split_vertically(HEAD);
        let (panels, foot) = rest.split_vertically(SIZE.1 - HEAD - FOOT);
        draw_head(&head, &report.curves)?;
        for (panel, axis) in panels.split_evenly((1, PANELS.len())).iter().zip(PANELS) {
            draw_panel(panel, axis, &report.curves)?;
        }
        let origin = text(14, FAINT, HPos::Left);
        foot.draw_text(&report.signature(), &origin, (24, 18))?;
        root.present()?;
    }
    Ok(svg)
}

fn draw_head(head: &Area<'_>, curves: &[Measured]) -> Result<()> {
    let title = "What a purchase costs while the shop grows";
    head.draw_text(title, &text(24, INK, HPos::Left), (24, 28))?;
    let words = text(14, INK, HPos::Left);
    let shared = curves.iter().find(|curve| !curve.is_goal).map_or("", |curve| &curve.load);
    let line = |color, is_winner, is_broken| Some(Style { color, is_winner, is_broken });
    let entries = [
        (24, line(WINNER, true, false), "winner".to_owned()),
        (144, line(WINNER, true, true), format!("winner, {shared}")),
        (440, line(REFUSED, false, false), "refused".to_owned()),
        (564, line(REFUSED, false, true), format!("refused, {shared}")),
        (868, None, format!("winner, dearest / cheapest at most {FLAT_MAX:.1}: the goal")),
    ];
    for (x, style, name) in entries {
        let y = 68;
        match style {
            None => {
                let band = Rectangle::new([(x, y - 8), (x + 36, y + 8)], WINNER.mix(BAND).filled());
                head.draw(&band)?;
            }
            Some(style) => {
                // Dashes by hand: series belong to charts.
                let dashes: &[(i32, i32)] =
                    if style.is_broken { &[(0, 9), (27, 36)] } else { &[(0, 36)] };
                for (from, to) in dashes {
                    head.draw(&PathElement::new([(x + from, y), (x + to, y)], style.stroke()))?;
                }
                let fill = style.color.filled();
                match style.is_winner {
                    true => head.draw(&Circle::new((x + 18, y), 5, fill))?,
                    false => head.draw(&TriangleMarker::new((x + 18, y), 6, fill))?,
                }
            }
        }
        head.draw(&Text::new(name, (x + 44, y), words.clone()))?;
    }
    Ok(())
}

fn draw_panel(panel: &Area<'_>, axis: Axis, curves: &[Measured]) -> Result<()> {
    let curves: Vec<&Measured> = curves.iter().filter(|curve| curve.axis == axis).collect();
    let goal = curves.iter().find(|curve| curve.is_goal).ok_or_else(|| anyhow!("no {axis}"))?;
    let winners = || curves.iter().flat_map(|curve| &curve.points).map(|point| &point.winner);
    let dearest = winners().map(|winner| winner.cost_us).fold(1.0, f64::max);
    let places: Vec<f64> = goal.points.iter().map(place).collect();
    let margin = 0.12 * (places[places.len() - 1] - places[0]).max(0.1);
    let (left, right) = (places[0] - margin, places[places.len() - 1] + margin);

    let mut chart = ChartBuilder::on(panel)
        .margin(12)
        .margin_right(24)
        .x_label_area_size(52)
        .y_label_area_size(64)
        .caption(goal.load.as_str(), text(15, FAINT, HPos::Left))
        .build_cartesian_2d(left..right, 0.0..dearest * 1.25)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        // The counts are written below, where they are; the ticks here would be anywhere.
        .x_labels(0)
        .y_desc("processor time of one call, µs")
        .axis_desc_style(text(14, INK, HPos::Center))
        .y_label_style((FONT, 13, &INK))
        .y_label_formatter(&|cost| format!("{cost:.0}"))
        .light_line_style(WHITE.mix(0.0))
        .bold_line_style(INK.mix(0.1))
        .axis_style(INK.mix(0.6))
        .draw()?;

    let cheapest = goal.points.iter().map(|point| point.winner.cost_us).fold(f64::MAX, f64::min);
    let band = [(left, cheapest), (right, cheapest * FLAT_MAX)];
    chart.draw_series([Rectangle::new(band, WINNER.mix(BAND).filled())])?;
    for curve in &curves {
        for (color, is_winner) in [(WINNER, true), (REFUSED, false)] {
            let style = Style { color, is_winner, is_broken: !curve.is_goal };
            let cost = |point: &Point| match is_winner {
                true => point.winner.cost_us,
                false => point.refused.cost_us,
            };
            let points: Vec<(f64, f64)> =
                curve.points.iter().map(|point| (place(point), cost(point))).collect();
            match style.is_broken {
                true => {
                    let line = points.iter().copied();
                    chart.draw_series(DashedLineSeries::new(line, 8, 6, style.stroke()))?;
                }
                false => {
                    chart.draw_series(LineSeries::new(points.iter().copied(), style.stroke()))?;
                }
            }
            let fill = color.filled();
            match is_winner {
                true => chart.draw_series(points.iter().map(|at| Circle::new(*at, 5, fill)))?,
                false => {
                    chart.draw_series(points.iter().map(|at| TriangleMarker::new(*at, 6, fill)))?
                }
            };
        }
    }
    let below = |y| -> Result<Vec<(i32, i32)>> {
        let at = |place: &f64| chart.backend_coord(&(*place, 0.0));
        Ok(places.iter().map(at).map(|(x, bottom)| (x, bottom + y)).collect())
    };
    let (corner_x, corner_y) = panel.get_base_pixel();
    for (point, (x, y)) in goal.points.iter().zip(below(16)?) {
        let count = grouped(point.count);
        panel.draw_text(&count, &text(13, INK, HPos::Center), (x - corner_x, y - corner_y))?;
    }
    let (width, height) = panel.dim_in_pixel();
    let middle = (64 + (width as i32 - 64) / 2, height as i32 - 24);
    panel.draw_text(words(axis), &text(14, INK, HPos::Center), middle)?;
    Ok(())
}

impl Style {
    fn stroke(self) -> ShapeStyle {
        self.color.mix(if self.is_broken { 0.75 } else { 1.0 }).stroke_width(2)
    }
}

/// Each tenfold takes as much room as the one before.
fn place(point: &Point) -> f64 {
    f64::from(point.count).log10()
}

fn words(axis: Axis) -> &'static str {
    match axis {
        Axis::Holds => "holds open in one product (log scale)",
        Axis::Products => "products on sale (log scale)",
        Axis::Edges => "edges (log scale)",
    }
}

fn text(size: i32, color: RGBColor, across: HPos) -> TextStyle<'static> {
    TextStyle {
        font: (FONT, size).into_font(),
        color: color.to_backend_color(),
        pos: Pos::new(across, VPos::Center),
    }
}

/// As in `100 000`.
fn grouped(count: u32) -> String {
    match count {
        0..1_000 => count.to_string(),
        _ => format!("{} {:03}", grouped(count / 1_000), count % 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::tests::report, *};

    #[test]
    fn the_picture_names_its_commit_its_units_and_how_to_get_it_again() {
        let svg = draw(&report([100.0, 110.0, 115.0])).unwrap();
        for words in [
            "commit abc1234 with changes · 2026-02-05 · 2 cores · cargo xtask bench growth",
            "processor time of one call, µs",
            "100 000",
            "64 calls in flight for each product",
        ] {
            assert!(svg.contains(words), "{words} in {svg}");
        }
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!([7, 1_000, 100_000].map(grouped), ["7", "1 000", "100 000"]);
        assert_eq!(grouped(1_002_003), "1 002 003");
    }
}
