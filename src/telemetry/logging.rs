//! The router's own log: tracing to stderr, as JSON or for people.

use std::io::{self, IsTerminal as _};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, util::SubscriberInitExt as _};

use super::LogFormat;

/// The environment variable with the filter, as in `modelway=debug,warn`.
pub const FILTER_VARIABLE: &str = "MODELWAY_LOG";
/// Without a line for each failed try of the API server from the client's own code: whoever called
/// says what failed, and says it less often the longer it lasts.
const FILTER_DEFAULT: &str = "info,kube_client=off";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter does not parse.
    #[error(
        "log filter {filter:?} is not valid ({cause}); write a level or target=level pairs, as in modelway=debug,warn"
    )]
    Filter {
        /// The filter as written.
        filter: String,
        /// What the parser said.
        cause: tracing_subscriber::filter::ParseError,
    },
    /// Something in this process logs already.
    #[error("logging is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends the log of this process to stderr. The filter is `filter`, else [`FILTER_VARIABLE`], else
/// `info` without what the Kubernetes client says itself. Colours only on a terminal and without `NO_COLOR`.
pub fn init(format: LogFormat, filter: Option<&str>) -> Result<(), LoggingError> {
    let terminal = io::stderr().is_terminal();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let filter = filter
        .map(ToOwned::to_owned)
        .or_else(|| std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.trim().is_empty()))
        .unwrap_or_else(|| FILTER_DEFAULT.to_owned());
    let colours = terminal && !no_color;
    subscriber(format.resolved(terminal), &filter, colours, io::stderr)?.try_init()?;
    Ok(())
}

fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LoggingError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter)
        .map_err(|cause| LoggingError::Filter { filter: filter.to_owned(), cause })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours && format != LogFormat::Json)
        .with_writer(writer);
    Ok(match format {
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
        LogFormat::Text | LogFormat::Auto => Box::new(builder.finish()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = subscriber(format, filter, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("small talk");
            tracing::warn!(endpoint = "demo\u{1b}[31m", "queue is full");
        });
        String::from_utf8(page.0.lock().clone()).unwrap()
    }

    #[test]
    fn a_json_line_holds_the_fields_of_the_event() {
        let text = logged(LogFormat::Json, "info");
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "queue is full");
        assert_eq!(line["endpoint"], "demo\u{1b}[31m");
    }

    #[test]
    fn a_text_line_holds_no_control_character_of_a_field() {
        let text = logged(LogFormat::Text, "info");
        assert!(text.contains("queue is full"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn the_filter_decides_what_is_logged_and_a_bad_one_is_refused() {
        assert!(logged(LogFormat::Text, "debug").contains("small talk"));
        assert!(!logged(LogFormat::Text, "info").contains("small talk"));
        let refused = subscriber(LogFormat::Text, "modelway=loud", false, io::sink);
        let message = refused.err().expect("a bad filter").to_string();
        assert!(message.contains("modelway=loud"), "{message}");
    }
}
