//! Trace: a publish and its delivery as spans of OpenTelemetry, joined by the W3C trace context
//! that goes with the revision through the log.
//!
//! Without an exporter no span is made, and a publisher's own context goes on as it came.

use std::time::{Duration, SystemTime};

use opentelemetry::{
    Context, KeyValue,
    global::{self, BoxedSpan},
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Span as _, SpanKind, Status, Tracer as _},
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::{
    Resource, error::OTelSdkError, propagation::TraceContextPropagator, trace::SdkTracerProvider,
};
use tonic::metadata::MetadataMap;

use crate::article::ArticleId;

/// What all spans are made by.
const TRACER: &str = "barid";
/// Characters of a trace context: version, trace, span and flags in hex (W3C Trace Context,
/// "traceparent Header"). The propagator takes shorter ones, too.
const TEXT_LEN: usize = 55;
/// Variables each of which says where spans go, and thereby that they are wanted.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];

/// Why spans can't be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Another exporter than ours is asked for.
    #[error("OTEL_TRACES_EXPORTER is {0:?}; spans can go to \"otlp\" or to \"none\"")]
    Exporter(String),
    /// What the variables ask for can't be had.
    #[error("the OTEL_* variables ask for an exporter that can't be had")]
    Build(#[from] ExporterBuildError),
    /// Not all spans were sent at the end.
    #[error("some spans were not exported")]
    End(#[source] OTelSdkError),
}

/// The way of spans out of the process.
#[derive(Debug)]
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Starts what the standard `OTEL_*` variables ask for; none if they ask for nothing. Within a
    /// runtime, which sends.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn start(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ExportError> {
        let is_off =
            variable("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
        let is_asked = match variable("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("") => ENDPOINTS
                .iter()
                .any(|name| variable(name).is_some_and(|it| !it.is_empty())),
            Some("otlp") => true,
            Some("none") => false,
            Some(other) => return Err(ExportError::Exporter(other.to_owned())),
        };
        if is_off || !is_asked {
            return Ok(None);
        }
        let mut resource = Resource::builder();
        if variable("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(TRACER);
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(SpanExporter::builder().build()?)
            .with_resource(resource.build())
            .build();
        global::set_tracer_provider(provider.clone());
        Ok(Some(Self(provider)))
    }

    /// Sends what is left. Blocks.
    ///
    /// # Errors
    /// [`ExportError::End`]: the collector did not take all of it.
    pub fn end(self) -> Result<(), ExportError> {
        self.0.shutdown().map_err(ExportError::End)
    }
}

/// The metadata of a call as the place of a trace context.
struct Carrier<'a>(&'a MetadataMap);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let text = self.0.get(key)?.to_str().ok()?;
        (text.len() >= TEXT_LEN).then_some(text)
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// The text of one trace context as its place.
struct One<'a>(&'a str);

impl Extractor for One<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// The trace that a call belongs to, from its `traceparent`; what is no context is none.
pub fn parent(metadata: &MetadataMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(metadata))
}

/// One publish, from its request to its answer.
#[derive(Debug)]
pub struct Publish {
    span: BoxedSpan,
    log: tracing::Span,
}

impl Publish {
    /// Begins one that belongs to a trace.
    pub fn begin(parent: &Context) -> Self {
        let tracer = global::tracer(TRACER);
        let span = tracer.span_builder("publish").with_kind(SpanKind::Server);
        let span = tracer.build_with_context(span, parent);
        let log = if span.span_context().is_valid() {
            tracing::info_span!("publish", trace_id = %span.span_context().trace_id())
        } else {
            tracing::Span::none()
        };
        Self { span, log }
    }

    /// What the lines of the log that belong to it stand in.
    pub fn log(&self) -> tracing::Span {
        self.log.clone()
    }

    /// What goes with the revision, as W3C Trace Context writes it; empty outside of a trace.
    pub fn traceparent(&self) -> String {
        let context = self.span.span_context();
        if !context.is_valid() {
            return String::new();
        }
        format!(
            "00-{}-{}-{:02x}",
            context.trace_id(),
            context.span_id(),
            context.trace_flags()
        )
    }

    /// Ends it: the article and its revision, 0 for none, or the reason of its fault.
    pub fn end(mut self, result: Result<(ArticleId, u32), &'static str>) {
        match result {
            Ok((article_id, revision)) => {
                self.span
                    .set_attribute(KeyValue::new("barid.article", article_id.to_string()));
                self.span
                    .set_attribute(KeyValue::new("barid.revision", i64::from(revision)));
            }
            Err(reason) => self.span.set_status(Status::error(reason)),
        }
    }
}

/// The way of a revision to this node's subscribers, from when the log took it until the span is
/// dropped; none outside of a trace.
pub fn delivery(traceparent: &str, seq: u64, taken_ns: i128) -> Option<BoxedSpan> {
    if traceparent.is_empty() {
        return None;
    }
    let parent =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &One(traceparent));
    let taken = Duration::from_nanos(u64::try_from(taken_ns).unwrap_or_default());
    let tracer = global::tracer(TRACER);
    let span = tracer
        .span_builder("deliver")
        .with_kind(SpanKind::Consumer)
        .with_start_time(SystemTime::UNIX_EPOCH + taken)
        .with_attributes([
            KeyValue::new("messaging.system", "nats"),
            KeyValue::new("barid.seq", i64::try_from(seq).unwrap_or(i64::MAX)),
        ]);
    Some(tracer.build_with_context(span, &parent))
}
