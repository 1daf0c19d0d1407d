//! `docs/metrics.md`, written from the declarations so that it cannot disagree with them.

use std::fmt::Write as _;

use super::{
    Metrics,
    metrics::{ALL, Kind, Series, label_values},
};

/// The contents of `docs/metrics.md`.
pub fn metrics_markdown() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Generated from `src/telemetry/metrics.rs`; `UPDATE_EXPECT=1 cargo test metrics_page` \
         writes it anew.\n\n\
         Served at `/metrics` of the admin port (9001) in the Prometheus text format. No series \
         carries the name of a pod or a path. The series of an endpoint or version begin when it \
         enters the catalog and end when it leaves; a version that comes back starts from zero.\n\n\
         | series | type | unit | labels | meaning |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for series in ALL {
        row(&mut page, series);
    }
    page.push_str(
        "\n## Series of the process\n\n| series | type | meaning |\n| --- | --- | --- |\n",
    );
    for (name, kind, help) in Metrics::new().process_series() {
        line(&mut page, format_args!("| `{name}` | {kind} | {help} |"));
    }
    page.push_str("\n## Label values\n\n| label | values |\n| --- | --- |\n");
    for label in [
        "code",
        "reason",
        "state",
        "direction",
        "cause",
        "protocol",
        "result",
        "outcome",
        "refusal",
    ] {
        let values: Vec<_> = label_values(label).iter().map(|value| format!("`{value}`")).collect();
        let values = match label {
            "code" => "the status code; `other` where it is not one of 100–599 from the model, \
                       or not one the router itself answers with"
                .to_owned(),
            _ => values.join(" "),
        };
        line(&mut page, format_args!("| `{label}` | {values} |"));
    }
    page.push_str(
        "\n`endpoint` and `version` are names from the catalog; `endpoint` is empty for requests \
         that found none. `name` is the first host of a certificate in force. \
         `issuer` is an issuer of `auth.token.issuers`, at most 256 of them. `version` of `modelway_build_info` is the version of Modelway.\n\n\
         ## Buckets\n\n| series | upper bounds in seconds |\n| --- | --- |\n",
    );
    for series in ALL {
        if let Kind::Histogram(bounds) = series.kind {
            let bounds: Vec<_> = bounds.iter().map(ToString::to_string).collect();
            line(&mut page, format_args!("| `{}` | {} |", series.name, bounds.join(", ")));
        }
    }
    page
}

fn row(page: &mut String, series: &Series) {
    let kind = match series.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let labels: Vec<_> = series.labels.iter().map(|label| format!("`{label}`")).collect();
    let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(" ") };
    let Series { name, unit, help, .. } = series;
    line(page, format_args!("| `{name}` | {kind} | {unit} | {labels} | {help} |"));
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_page_in_docs_is_current() {
        expect_test::expect_file!["../../docs/metrics.md"].assert_eq(&metrics_markdown());
    }

    #[test]
    fn every_label_has_documented_values() {
        for series in ALL {
            for label in series.labels {
                assert!(!label_values(label).is_empty(), "{label} of {}", series.name);
            }
        }
    }
}
