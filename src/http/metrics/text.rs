//! Metrics in the text format of Prometheus, version 0.0.4, from OpenMetrics, for scrapers that do not ask for the
//! latter: there a counter is described under its whole name, and there are no units and no mark at the end.
//!
//! Depends on `std`.

/// Translates OpenMetrics.
pub(super) fn of_open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(comment) = line.strip_prefix("# ") else {
            out.extend([line, "\n"]);
            continue;
        };
        // The type follows the help.
        let kind = [Some(line), lines.peek().copied()].into_iter().flatten().find_map(kind_of);
        let mut parts = comment.splitn(3, ' ');
        let (Some(what), Some(name), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (suffix, kind) = match kind {
            Some("counter") => ("_total", "counter"),
            Some("info") => ("_info", "gauge"),
            Some("unknown") => ("", "untyped"),
            Some(kind) => ("", kind),
            None => continue,
        };
        match what {
            "HELP" => out.extend(["# HELP ", name, suffix, " ", rest, "\n"]),
            "TYPE" => out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]),
            _ => {}
        }
    }
    out
}

/// The type that a line says.
fn kind_of(line: &str) -> Option<&str> {
    line.strip_prefix("# TYPE ")?.split_once(' ').map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_under_their_whole_names() {
        let open_metrics = "# HELP a Of a.\n# TYPE a counter\na_total{x=\"# TYPE b gauge\"} 1\n# HELP b Of b.\n\
                            # TYPE b gauge\n# UNIT b seconds\nb 2\n# HELP c Of c.\n# TYPE c info\nc_info{v=\"1\"} 1\n# EOF\n";
        let text = "# HELP a_total Of a.\n# TYPE a_total counter\na_total{x=\"# TYPE b gauge\"} 1\n# HELP b Of b.\n\
                    # TYPE b gauge\nb 2\n# HELP c_info Of c.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n";
        assert_eq!(of_open_metrics(open_metrics), text);
    }
}
