//! Line charts as inline SVG.
//!
//! Drawn without a crate: the SVG of the plotters crate takes sizes and colours of text from code, not from the style
//! sheet of the page, has no tooltips, and the percentile axis and the gaps in lines would be our code there, too.
//!
//! Depends on `escape`.

use crate::escape::escaped;

/// The size of a chart, in SVG units: CSS pixels on a wide screen.
const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 260.0;
/// The margins, with the axes and their labels.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// About how many ticks a linear axis has.
const TICKS: f64 = 5.0;
/// Colours for any colour vision (Okabe and Ito), without the palest.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#333333"];

/// A line with its points, `x` from 0 to 1; a point without a value interrupts it.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

/// The scale of the vertical axis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// From zero.
    Linear,
    /// Powers of ten, from the one below the least value.
    Logarithmic,
}

pub(crate) struct Chart {
    pub(crate) title: &'static str,
    /// The quantity on the vertical axis, with its unit.
    pub(crate) y_label: &'static str,
    /// The quantity on the horizontal axis, with its unit.
    pub(crate) x_label: &'static str,
    /// The labels of the horizontal axis, at places from 0 to 1.
    pub(crate) marks: Vec<(f64, String)>,
    pub(crate) scale: Scale,
    pub(crate) lines: Vec<Line>,
}

/// The vertical axis; on a logarithmic one the ends are exponents.
struct Axis {
    least: f64,
    most: f64,
    scale: Scale,
    ticks: Vec<f64>,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, scale: Scale) -> Self {
        let most = values.clone().fold(0.0, f64::max);
        match scale {
            Scale::Linear => {
                let rough = (most / TICKS).max(f64::MIN_POSITIVE);
                let power = 10_f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
                let step = if most > 0.0 { step.unwrap_or(power) } else { 1.0 };
                let count = (most / step).ceil().max(1.0);
                let ticks = std::iter::successors(Some(0.0), |tick| Some(tick + 1.0)).take_while(|tick| *tick <= count);
                Self { least: 0.0, most: count * step, scale, ticks: ticks.map(|tick| tick * step).collect() }
            }
            Scale::Logarithmic => {
                let least = values.filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min).min(most.max(1.0));
                let (low, high) = (least.log10().floor(), most.max(least).log10().ceil());
                let high = if high > low { high } else { low + 1.0 };
                let powers = std::iter::successors(Some(low), |power| Some(power + 1.0));
                let ticks = powers.take_while(|power| *power <= high).map(|power| 10_f64.powf(power)).collect();
                Self { least: low, most: high, scale, ticks }
            }
        }
    }

    fn y(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(10_f64.powf(self.least)).log10(),
        };
        let share = (value - self.least) / (self.most - self.least);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

fn x(share: f64) -> f64 {
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

/// A number as a short label.
fn short(value: f64) -> String {
    if value >= 1_000_000.0 {
        format!("{}M", value / 1e6)
    } else if value >= 10_000.0 {
        format!("{}k", value / 1e3)
    } else {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl Chart {
    /// The chart with its title and its legend, as HTML.
    pub(crate) fn draw(&self) -> String {
        let values = self.lines.iter().flat_map(|line| &line.points).filter_map(|(_, value)| *value);
        let axis = Axis::over(values, self.scale);
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let title = escaped(self.title);
        let mut html = format!("<figure><figcaption>{title}</figcaption>\n<p class=\"legend\">");
        for (number, line) in self.lines.iter().enumerate() {
            let (colour, dashed) = style(number);
            html += &format!(
                "<span><svg width=\"26\" height=\"10\" aria-hidden=\"true\"><path d=\"M0 5H26\" stroke=\"{colour}\"{dashed}/></svg>{}</span> ",
                escaped(&line.name)
            );
        }
        html += &format!("</p>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n");
        for tick in &axis.ticks {
            let (y, label) = (axis.y(*tick), short(*tick));
            html += &format!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
                LEFT - 6.0,
                y + 4.0
            );
        }
        for (share, label) in &self.marks {
            let at = x(*share);
            html += &format!(
                "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                bottom + 15.0,
                escaped(label)
            );
        }
        for (number, line) in self.lines.iter().enumerate() {
            let (colour, dashed) = style(number);
            // The first point is repeated, so that a single point is drawn by the round ends of the line.
            for piece in line.points.split(|(_, value)| value.is_none()).filter(|piece| !piece.is_empty()) {
                let points = piece.iter().filter_map(|(share, value)| Some((x(*share), axis.y((*value)?))));
                let points = points.map(|(x, y)| format!("{x:.1},{y:.1} ")).collect::<String>();
                let (name, first) = (escaped(&line.name), points.split(' ').next().unwrap_or_default());
                html += &format!(
                    "<polyline points=\"{first} {points}\" stroke=\"{colour}\"{dashed}><title>{name}</title></polyline>\n"
                );
            }
        }
        let (middle, height) = (LEFT + (right - LEFT) / 2.0, TOP + (bottom - TOP) / 2.0);
        html += &format!(
            "<text class=\"axis\" x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            HEIGHT - 6.0,
            escaped(self.x_label)
        );
        html += &format!(
            "<text class=\"axis\" transform=\"translate(14 {height}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
            escaped(self.y_label)
        );
        html + "</svg></figure>\n"
    }
}

/// The colour of a line, and dashes after all colours have been used.
fn style(number: usize) -> (&'static str, &'static str) {
    let dashed = if number < COLOURS.len() { "" } else { " stroke-dasharray=\"6 3\"" };
    (COLOURS[number % COLOURS.len()], dashed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_ticks_are_round_and_cover_all_values() {
        let axis = |values: &[f64], scale| Axis::over(values.iter().copied(), scale);
        assert_eq!(axis(&[3.0, 43.0], Scale::Linear).ticks, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(axis(&[0.0], Scale::Linear).ticks, [0.0, 1.0]);
        assert_eq!(axis(&[], Scale::Linear).ticks, [0.0, 1.0]);
        assert_eq!(axis(&[0.3, 25.0], Scale::Logarithmic).ticks, [0.1, 1.0, 10.0, 100.0]);
        assert_eq!(axis(&[0.0], Scale::Logarithmic).ticks.len(), 2);
        let axis = axis(&[0.3, 25.0], Scale::Logarithmic);
        assert!(axis.y(100.0) < axis.y(25.0) && axis.y(25.0) < axis.y(0.3));
        assert!((axis.y(100.0) - TOP).abs() < 1e-9);
    }

    #[test]
    fn labels_of_numbers_are_short() {
        let shown: Vec<_> = [0.0, 0.001, 0.5, 20.0, 9_999.0, 15_000.0, 2e6].into_iter().map(short).collect();
        assert_eq!(shown, ["0", "0.001", "0.5", "20", "9999", "15k", "2M"]);
    }
}
