use tonic::Status;

use super::*;
use crate::{
    cli::{client::ClientArgs, publish::IdChoice},
    config::value::Output,
    fault::Fault,
    wire::status,
};

fn pipeline() -> (Pipeline, Tally) {
    let args = ClientArgs {
        key_file: None,
        server: "http://127.0.0.1:1".to_owned(),
        ca: None,
        client_certificate: None,
        client_key: None,
        output: Output::Text,
        timeout: Span(Duration::from_secs(1)),
    };
    let rules = Rules {
        ids: IdChoice::Random,
        action: None,
        expected_revision: None,
        strict: false,
        routing: proto::Routing::Unspecified,
    };
    let client = Client::lazy(&args, crate::access::key::Role::Publisher).unwrap();
    let (_none, items) = mpsc::channel(1);
    (
        Pipeline::new(client, items, rules, args.timeout.0),
        Tally::new(Output::Text, &[]),
    )
}

fn sending(line: usize, uri: &str) -> Sending {
    let article = proto::Article {
        uri: uri.to_owned(),
        ..proto::Article::default()
    };
    Sending {
        place: Place {
            file: "a".to_owned(),
            line,
            column: 0,
        },
        action: proto::Action::Publish,
        warnings: Vec::new(),
        request: proto::PublishStreamRequest {
            publish: Some(proto::PublishRequest {
                article: Some(article),
                ..proto::PublishRequest::default()
            }),
        },
        read_bytes: 0,
        sent_count: 1,
    }
}

fn answer(result: Answer) -> proto::PublishStreamResponse {
    proto::PublishStreamResponse {
        request_id: String::new(),
        result: Some(result),
    }
}

/// The answer of a server that can't take it for the moment.
fn busy() -> proto::PublishStreamResponse {
    let fault = Fault::unavailable("LOG_BUSY", "busy", Duration::from_millis(7));
    let status: Status = status::status(&fault);
    answer(Answer::Error(tonic_types::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: prost::Message::decode(status.details())
            .map(|status: tonic_types::Status| status.details)
            .unwrap(),
    }))
}

fn accepted(uri: &str) -> proto::PublishStreamResponse {
    answer(Answer::Published(proto::PublishResponse {
        article_id: ArticleId::from_uri(uri).to_string(),
        ..proto::PublishResponse::default()
    }))
}

fn lines(pipeline: &Pipeline) -> Vec<usize> {
    let lines = pipeline.pending.iter().map(|sending| sending.place.line);
    lines.collect()
}

/// What was refused for the moment goes again, in order, before what was not answered, after the
/// wait that the server asked for.
#[tokio::test]
async fn refused_for_the_moment() {
    let (mut pipeline, mut tally) = pipeline();
    pipeline
        .pending
        .extend([sending(4, "a:4"), sending(5, "a:5")]);
    for line in 1..=3 {
        let given = if line == 2 { accepted("a:2") } else { busy() };
        pipeline
            .answer(sending(line, &format!("a:{line}")), given, &mut tally)
            .unwrap();
    }
    let Some(End::Lost(why, hint)) = pipeline.again.end() else {
        panic!("another end")
    };
    assert!(why.contains("LOG_BUSY"), "{why}");
    assert_eq!(hint, Some(Duration::from_millis(7)));
    pipeline.restore(&mut tally).unwrap();
    assert_eq!(lines(&pipeline), [1, 3, 4, 5]);
    assert!(pipeline.again.end().is_none());
}

/// An old text is never put over a new one: what a later revision of its story has passed, or may
/// have, is told as failed.
#[tokio::test]
async fn overtaken() {
    let (mut pipeline, mut tally) = pipeline();
    pipeline
        .answer(sending(1, "a:1"), busy(), &mut tally)
        .unwrap();
    pipeline
        .answer(sending(2, "a:2"), busy(), &mut tally)
        .unwrap();
    pipeline
        .answer(sending(3, "a:3"), busy(), &mut tally)
        .unwrap();
    pipeline
        .answer(sending(4, "a:1"), accepted("a:1"), &mut tally)
        .unwrap();
    pipeline.pending.push_back(sending(5, "a:2"));
    pipeline.restore(&mut tally).unwrap();
    assert_eq!(lines(&pipeline), [3, 5]);
    let failed = tally.finish().unwrap_err().to_string();
    assert!(
        failed.starts_with("2 of 3 articles were not accepted"),
        "{failed}"
    );
    assert!(
        failed.ends_with(&format!("{OVERTAKEN}\n      at a:1, :2")),
        "{failed}"
    );
}
