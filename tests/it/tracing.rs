//! Traces: a publisher's goes through the log to the delivery, and to whoever collects them.

use std::sync::{Arc, Mutex};

use barid::wire::proto::v1::Action;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};

use crate::harness::{Node, article, eventually, everything, noted, request};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that keeps what it is sent: the service's name and the span.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            let name = attributes.iter().find(|one| one.key == "service.name");
            let name = name.unwrap().value.clone().unwrap().value;
            let Some(Value::StringValue(name)) = name else {
                panic!("no name of the service: {name:?}");
            };
            let spans = resource.scope_spans.into_iter().flat_map(|it| it.spans);
            let spans = spans.map(|span| (name.clone(), span));
            self.0.lock().unwrap().extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// A collector and its address.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(collector.clone());
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, address)
    }

    fn spans(&self, name: &str) -> Vec<Span> {
        let spans = self.0.lock().unwrap();
        let named = spans.iter().filter(|(_, span)| span.name == name);
        named.map(|(_, span)| span.clone()).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The call's metadata as an instrumented publisher sends it.
fn traced<T>(message: T, flags: &str) -> Request<T> {
    let mut request = Request::new(message);
    let context = format!("00-{TRACE}-{PARENT}-{flags}");
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", context.parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_publisher_to_the_delivery_and_to_the_collector() {
    let (collector, address) = Collector::start().await;
    let mut node = Node::start_with_variables(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &address),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ]);
    let mut reader = node.subscribe(everything()).await.unwrap();
    reader.caught_up().await;

    let message = request(Action::Publish, article("test:traced", "Traced"));
    let mut publisher = node.publisher();
    publisher.publish(traced(message, "01")).await.unwrap();
    let delivery = reader.delivery().await;
    // Nobody asked for it: a trace of its own.
    node.publish(Action::Publish, article("test:own", "Its own"))
        .await
        .unwrap();
    let own = reader.delivery().await;
    // The publisher does not sample: nor do we, but the context goes on.
    let message = request(Action::Publish, article("test:unsampled", "Unsampled"));
    publisher.publish(traced(message, "00")).await.unwrap();
    let unsampled = reader.delivery().await;
    let message = request(Action::Kill, noted("test:never", "Never published."));
    let status = publisher.publish(traced(message, "01")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    // What is left goes out at the end.
    assert_eq!(node.stop().await, Some(0));

    let parts: Vec<&str> = delivery.traceparent.split('-').collect();
    let published = collector.spans("publish");
    assert_eq!(published.len(), 3, "{published:?}");
    let span = &published[0];
    assert_eq!(
        (
            hex(&span.trace_id).as_str(),
            hex(&span.parent_span_id).as_str()
        ),
        (TRACE, PARENT)
    );
    assert_eq!(parts, ["00", TRACE, &hex(&span.span_id), "01"]);
    assert_eq!(span.kind(), SpanKind::Server);
    assert_eq!(published[1].parent_span_id, [0; 0]);
    assert!(own.traceparent.contains(&hex(&published[1].trace_id)));
    assert!(unsampled.traceparent.starts_with(&format!("00-{TRACE}-")));
    assert!(unsampled.traceparent.ends_with("-00"));
    let refused = published[2].status.clone().unwrap();
    assert_eq!(
        (refused.code(), refused.message.as_str()),
        (StatusCode::Error, "ARTICLE_UNKNOWN")
    );

    let delivered = collector.spans("deliver");
    assert_eq!(delivered.len(), 2, "{delivered:?}");
    assert_eq!(delivered[0].trace_id, span.trace_id);
    assert_eq!(delivered[0].parent_span_id, span.span_id);
    let (first, last) = (
        delivered[0].start_time_unix_nano,
        delivered[0].end_time_unix_nano,
    );
    assert!(span.start_time_unix_nano < first && first < last);
    let names: Vec<String> = collector
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    assert!(names.iter().all(|name| name == "barid"), "{names:?}");
    // The log's lines about a request can be found by its trace.
    let log = node.log();
    let mut lines = log
        .lines()
        .filter(|line| line.contains(&format!("trace_id={TRACE}")));
    assert!(lines.any(|line| line.contains("published")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_without_a_collector_and_what_is_no_trace_does_not() {
    let node = Node::start();
    let mut reader = node.subscribe(everything()).await.unwrap();
    reader.caught_up().await;
    let mut publisher = node.publisher();
    let message = request(Action::Publish, article("test:traced", "Traced"));
    publisher.publish(traced(message, "01")).await.unwrap();
    assert_eq!(
        reader.delivery().await.traceparent,
        format!("00-{TRACE}-{PARENT}-01")
    );
    for nonsense in [
        "",
        "00-1-2-01",
        &format!("00-{}-{PARENT}-01", "0".repeat(32)),
    ] {
        let message = request(
            Action::Update,
            article("test:traced", &format!("with {nonsense:?}")),
        );
        let mut message = Request::new(message);
        message
            .metadata_mut()
            .insert("traceparent", nonsense.parse().unwrap());
        publisher.publish(message).await.unwrap();
        assert_eq!(reader.delivery().await.traceparent, "", "{nonsense}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_no_news() {
    let gone = "http://127.0.0.1:9";
    let mut node = Node::start_with_variables(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", gone),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ]);
    node.publish(Action::Publish, article("test:one", "One"))
        .await
        .unwrap();
    eventually("the warning", async || node.log().contains("opentelemetry")).await;
    node.publish(Action::Publish, article("test:two", "Two"))
        .await
        .unwrap();
    assert_eq!(node.stop().await, Some(0));
}
