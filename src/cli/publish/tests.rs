use super::*;
use crate::cli::ninjs;

fn item(text: &str) -> Item {
    Item {
        place: Place {
            file: "a".into(),
            line: 1,
            column: 0,
        },
        parsed: Ok(ninjs::parse(text).unwrap()),
        read_bytes: 0,
    }
}

fn check(rules: &Rules, text: &str) -> Option<proto::PublishRequest> {
    let sending = rules.apply(item(text)).ok()?;
    sending.request.publish
}

const DERIVED: Rules = Rules {
    ids: IdChoice::Derived,
    action: None,
    expected_revision: None,
    strict: false,
    routing: proto::Routing::Unspecified,
};

/// The derived id is that of the content: layout and retries don't matter, any change does.
#[test]
fn derived_ids() {
    let one = check(&DERIVED, r#"{"uri": "a:1", "slugline": "x"}"#).unwrap();
    let same = check(&DERIVED, r#"{ "slugline": "x", "uri": "a:1" }"#).unwrap();
    let other = check(&DERIVED, r#"{"uri": "a:1", "slugline": "y"}"#).unwrap();
    let update = Rules {
        action: Some(ActionArg::Update),
        ..DERIVED
    };
    let update = check(&update, r#"{"uri": "a:1", "slugline": "x"}"#).unwrap();
    assert_eq!(one.request_id, same.request_id);
    assert_ne!(one.request_id, other.request_id);
    assert_ne!(one.request_id, update.request_id);
    assert!(one.request_id.parse::<RequestId>().is_ok());
}

/// `--no-inference` is another request; without it a request keeps the id that earlier releases
/// derived, so that running an old command again stays harmless.
#[test]
fn derived_ids_outlive_releases() {
    let text = r#"{"uri": "a:1", "slugline": "x"}"#;
    let one = check(&DERIVED, text).unwrap();
    assert_eq!(one.request_id, "7b211f1e-73f5-5f32-94e6-85439ead81a9");
    let stated = Rules {
        routing: routing(true),
        ..DERIVED
    };
    let stated = check(&stated, text).unwrap();
    assert_eq!(stated.routing(), proto::Routing::Stated);
    assert_ne!(one.request_id, stated.request_id);
    assert_eq!(routing(false), proto::Routing::Unspecified);
}

/// `--again` is another request each time.
#[test]
fn random_ids() {
    let again = Rules {
        ids: IdChoice::Random,
        ..DERIVED
    };
    let [one, other] = [0, 1].map(|_| check(&again, r#"{"uri": "a:1"}"#).unwrap());
    assert_ne!(one.request_id, other.request_id);
}

/// pubStatus decides, unless the command line does.
#[test]
fn actions() {
    let action = |rules: &Rules, status: &str| {
        let text = format!(r#"{{"uri": "a:1", "pubStatus": "{status}"}}"#);
        check(rules, &text).unwrap().action()
    };
    assert_eq!(action(&DERIVED, "usable"), proto::Action::Publish);
    assert_eq!(action(&DERIVED, "withheld"), proto::Action::Withhold);
    assert_eq!(action(&DERIVED, "canceled"), proto::Action::Kill);
    let given = Rules {
        action: Some(ActionArg::Correct),
        ..DERIVED
    };
    assert_eq!(action(&given, "usable"), proto::Action::Correct);
}

/// `--strict` refuses what would only be warned of.
#[test]
fn strict() {
    let strict = Rules {
        strict: true,
        ..DERIVED
    };
    assert!(check(&strict, r#"{"uri": "a:1", "headlnes": []}"#).is_none());
    assert!(check(&DERIVED, r#"{"uri": "a:1", "headlnes": []}"#).is_some());
    assert!(check(&strict, r#"{"uri": "a:1"}"#).is_some());
}
