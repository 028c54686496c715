//! A report as one self-contained HTML file: it loads no scripts, fonts or pictures.
//!
//! Depends on `chart`, `conditions`, `escape`, `report` and `rows`.

use serde_json::Value;

use crate::{
    chart::{Chart, Line, Scale},
    conditions::Conditions,
    escape::escaped,
    report::Report,
    rows::{Row, Second},
};

/// The most points of a line over time; in a longer run, several seconds become one point.
const POINTS_MAX: usize = 600;
/// About how many labels the time axis has.
const TIME_MARKS: usize = 8;
/// The labels of the percentile axis.
const PERCENTILES: [(f64, &str); 6] =
    [(0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")];
/// The end of the percentile axis: five nines.
const QUANTILE_MAX: f64 = 0.99999;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#1c1c1c;background:#fff;max-width:920px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.4rem 0}
.verdict{padding:.6rem .9rem;border-left:5px solid #009e73;background:#eef8f4}.verdict.bad{border-color:#d55e00;background:#fdf1e9}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid #e3e3e3;white-space:nowrap}th{font-weight:600}
th:first-child,td:first-child{text-align:left}table.words td{text-align:left;white-space:normal;overflow-wrap:anywhere}table.words td:first-child{white-space:nowrap;color:#555}
.words th{text-align:left}td.failed{color:#b34700;font-weight:600}figure{margin:1rem 0 1.6rem}figcaption{font-weight:600}
.legend{font-size:13px;color:#444;margin:.2rem 0}.legend span{margin-right:.9rem;white-space:nowrap}.legend svg{vertical-align:middle;margin-right:.3rem}
figure>svg{width:100%;height:auto;display:block}path,polyline{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.grid{stroke:#e6e6e6;stroke-width:1}svg text{font-size:12px;fill:#555}svg text.axis{fill:#333}
pre{background:#f6f6f6;padding:.7rem;overflow-x:auto;font-size:12.5px}";

impl Report {
    /// The report as one self-contained HTML file.
    #[must_use]
    pub fn to_html(&self) -> String {
        let scenario = self.plan.scenario.name();
        let class = if self.is_clean() { "verdict" } else { "verdict bad" };
        let word = if self.is_clean() { "Clean" } else { "Not clean" };
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>souk load: {scenario}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>souk load: {scenario}</h1>\n\
             <p>{}</p>\n<p class=\"{class}\"><strong>{word}.</strong> {} failed requests. {}</p>\n",
            escaped(&self.settings()),
            self.failures(),
            escaped(&self.verdict.to_string()),
        );
        for remark in self.remarks() {
            html += &format!("<p>{}</p>\n", escaped(&remark));
        }
        html += &self.table();
        html += &self.problems_table();
        html += "<h2>Over time</h2>\n";
        html += &over_time(&self.series).into_iter().map(|chart| chart.draw()).collect::<String>();
        html += "<h2>How latencies are distributed</h2>\n";
        html += &distribution(&self.rows).draw();
        html += &conditions(&self.conditions);
        let plan = serde_json::to_string_pretty(&self.plan).unwrap_or_default();
        html +=
            &format!("<details><summary>The plan</summary><pre>{}</pre></details>\n</body></html>\n", escaped(&plan));
        html
    }

    fn problems_table(&self) -> String {
        if self.problems.is_empty() && self.unanswered.is_empty() {
            return String::new();
        }
        let row = |kind: &str, status: &str, reason: &str, count: u64| {
            format!("<tr><td>{kind}</td><td>{status}</td><td>{}</td><td>{count}</td></tr>\n", escaped(reason))
        };
        let problems = self.problems.iter();
        let problems = problems.map(|one| row(one.kind.name(), &one.status.to_string(), &one.code, one.count));
        let unanswered = self.unanswered.iter();
        let unanswered = unanswered.map(|one| row(one.kind.name(), "none", one.reason.name(), one.count));
        format!(
            "<h2>Problems and missing answers</h2>\n<p>A 4xx such as “sold out” is an answer; a 5xx is a failure.</p>\n<div class=\"wide\">\
             <table class=\"words\"><tr><th>request</th><th>status</th><th>code or reason</th><th>count</th></tr>\n{}</table></div>\n",
            problems.chain(unanswered).collect::<String>()
        )
    }
}

impl Report {
    fn table(&self) -> String {
        let heading = self.request_heading();
        let rows = self.rows.iter().map(|row| {
            let class = |count: u64| if count > 0 { " class=\"failed\"" } else { "" };
            let latencies = [row.p50_ms, row.p90_ms, row.p99_ms, row.p999_ms, row.max_ms];
            let latencies = latencies.iter().map(|ms| format!("<td>{ms:.2}</td>")).collect::<String>();
            format!(
                "<tr><td>{}</td><td>{:.0}</td>{latencies}<td>{}</td><td>{}</td><td{}>{}</td><td{}>{}</td></tr>\n",
                row.kind.name(),
                row.per_second,
                row.done,
                row.refused,
                class(row.failed),
                row.failed,
                class(row.unanswered),
                row.unanswered
            )
        });
        format!(
            "<h2>By request</h2>\n<div class=\"wide\"><table><tr><th>{heading}</th><th>answers/s</th><th>p50 ms</th><th>p90</th><th>p99</th>\
         <th>p99.9</th><th>max</th><th>2xx, 3xx</th><th>4xx</th><th>5xx</th><th>unanswered</th></tr>\n{}</table></div>\n\
         <p>A journey, and its first request, is timed from the moment it was due; the later requests of a journey from when they were\
         \n sent. Latencies are those of answers and of requests that timed out; what failed at once has none.</p>\n",
            rows.collect::<String>()
        )
    }
}

/// Merges each `step` seconds into one: mean counts, and the worst latencies.
fn coarser(seconds: &[Second], step: usize) -> Vec<Second> {
    let chunks = seconds.chunks(step.max(1)).map(|chunk| {
        let length = chunk.len() as u64;
        let mean = |count: fn(&Second) -> u64| chunk.iter().map(count).sum::<u64>() / length;
        // Failures are summed: their mean could round to zero.
        let sum = |count: fn(&Second) -> u64| chunk.iter().map(count).sum::<u64>();
        let worst = |ms: fn(&Second) -> f64| chunk.iter().map(ms).fold(0.0, f64::max);
        Second {
            done: mean(|second| second.done),
            refused: mean(|second| second.refused),
            failed: sum(|second| second.failed),
            unanswered: sum(|second| second.unanswered),
            p50_ms: worst(|second| second.p50_ms),
            p99_ms: worst(|second| second.p99_ms),
            max_ms: worst(|second| second.max_ms),
        }
    });
    chunks.collect()
}

fn over_time(seconds: &[Second]) -> Vec<Chart> {
    let step = seconds.len().div_ceil(POINTS_MAX).max(1);
    let points = coarser(seconds, step);
    let share = |index: usize| index as f64 / points.len().saturating_sub(1).max(1) as f64;
    let line = |name: &str, value: &dyn Fn(&Second) -> Option<f64>| Line {
        name: name.to_owned(),
        points: points.iter().enumerate().map(|(index, second)| (share(index), value(second))).collect(),
    };
    let between = points.len().div_ceil(TIME_MARKS).max(1);
    let marks: Vec<(f64, String)> =
        (0..points.len()).step_by(between).map(|index| (share(index), (index * step).to_string())).collect();
    let chart = |title, y_label, scale, lines| Chart {
        title,
        y_label,
        x_label: "seconds since the start",
        marks: marks.clone(),
        scale,
        lines,
    };
    let answers = vec![
        line("2xx, 3xx", &|second| Some(second.done as f64)),
        line("4xx (an answer, too)", &|second| Some(second.refused as f64)),
    ];
    // A second without an answer has no latency.
    let known = |ms: f64| Some(ms).filter(|ms| *ms > 0.0);
    let latencies = vec![
        line("p50", &|second| known(second.p50_ms)),
        line("p99", &|second| known(second.p99_ms)),
        line("max", &|second| known(second.max_ms)),
    ];
    let failures = vec![
        line("5xx", &|second| Some(second.failed as f64)),
        line("unanswered", &|second| Some(second.unanswered as f64)),
    ];
    let mut charts = vec![
        chart("Answers", "answers/s", Scale::Linear, answers),
        chart("Latency of all requests", "milliseconds", Scale::Logarithmic, latencies),
    ];
    if seconds.iter().any(|second| second.failed + second.unanswered > 0) {
        charts.push(chart("Failures", "requests", Scale::Linear, failures));
    }
    charts
}

/// The place of a quantile on the percentile axis, from 0 to 1: each nine takes the same width.
fn nines(quantile: f64) -> f64 {
    let width = (1.0 - QUANTILE_MAX).log10();
    (1.0 - quantile.min(QUANTILE_MAX)).log10() / width
}

fn distribution(rows: &[Row]) -> Chart {
    let lines = rows.iter().map(|row| {
        // Quantiles beyond the last request do not exist.
        let count = (row.done + row.refused + row.unanswered) as f64;
        let known = |quantile: f64| quantile <= 1.0 - 1.0 / count;
        let points = row.curve.iter().filter(|(quantile, _)| known(*quantile));
        Line {
            name: row.kind.name().to_owned(),
            points: points.map(|(quantile, ms)| (nines(*quantile), Some(*ms))).collect(),
        }
    });
    Chart {
        title: "Latency by percentile",
        y_label: "milliseconds",
        x_label: "percentile",
        marks: PERCENTILES.iter().map(|(quantile, label)| (nines(*quantile), (*label).to_owned())).collect(),
        scale: Scale::Logarithmic,
        lines: lines.collect(),
    }
}

fn conditions(conditions: &Conditions) -> String {
    let rows = [
        ("started", conditions.started.clone()),
        ("durability", conditions.durability().to_owned()),
        ("shop", conditions.shop()),
        ("generator", conditions.generator.clone()),
        ("generator's machine", format!("{}; the shop shares it where both run on one", conditions.machine())),
    ];
    let rows = rows.iter().map(|(name, value)| format!("<tr><td>{name}</td><td>{}</td></tr>\n", escaped(value)));
    let pretty = |value: &Value| escaped(&serde_json::to_string_pretty(value).unwrap_or_default());
    let (state, settings) = (pretty(&conditions.readiness), pretty(&conditions.settings["settings"]));
    format!(
        "<h2>Conditions</h2>\n<table class=\"words\">{}</table>\n<details><summary>The shop’s state at the start</summary>\
         <pre>{state}</pre></details>\n<details><summary>The shop’s settings</summary><pre>{settings}</pre></details>\n",
        rows.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_failures_and_its_worst_seconds() {
        let mut seconds = vec![Second { done: 10, p99_ms: 1.0, ..Second::default() }; 5];
        seconds[3] = Second { done: 2, failed: 3, p99_ms: 70.0, ..Second::default() };
        let coarse = coarser(&seconds, 2);
        assert_eq!(coarse.len(), 3);
        assert_eq!((coarse[1].done, coarse[1].failed), (6, 3));
        assert!((coarse[1].p99_ms - 70.0).abs() < 1e-9);
    }

    #[test]
    fn each_nine_has_the_same_width() {
        let steps = [0.0, 0.9, 0.99, 0.999, 0.9999, 0.99999].map(nines);
        for pair in steps.windows(2) {
            assert!((pair[1] - pair[0] - 0.2).abs() < 1e-9, "{steps:?}");
        }
        assert!(nines(1.0) <= 1.0);
    }
}
