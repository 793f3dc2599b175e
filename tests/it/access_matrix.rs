//! Every call and path, with every kind of key. A call without a row fails.

use std::{collections::BTreeMap, time::Duration};

use barid::wire::proto::v1::{DESCRIPTORS, Role, UpdatePartnerRequest, desk_service_client};
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message as _;
use tokio::time::timeout;
use tonic::{Code, Request, Status};

use crate::{
    access::{Caller, gazette, story},
    harness::{LIMIT, Node, eventually, refusal},
    native::RawCodec,
    web,
};

/// Who may make each call of ours: initials of publisher, subscriber, desk, monitor.
const CALLS: [(&str, &str); 42] = [
    ("PublisherService/Publish", "pd"),
    ("PublisherService/PublishStream", "pd"),
    ("SubscriberService/Subscribe", "sd"),
    ("SubscriberService/Acknowledge", "sd"),
    ("RecipientService/ListSubscriptions", "sd"),
    ("RecipientService/GetSubscription", "sd"),
    ("RecipientService/ResetSubscription", "sd"),
    ("RecipientService/DeleteSubscription", "sd"),
    ("RecipientService/GetRecall", "d"),
    ("ArticleService/GetArticle", "psd"),
    ("ArticleService/ListArticles", "sd"),
    ("ArticleService/ListRevisions", "psd"),
    ("ArticleService/ExplainRouting", "pd"),
    ("ArticleService/CompareRouting", "d"),
    ("DeskService/ListTopics", "psdm"),
    ("DeskService/CreatePartner", "d"),
    ("DeskService/UpdatePartner", "d"),
    ("DeskService/GetPartner", "d"),
    ("DeskService/ListPartners", "d"),
    ("DeskService/DeletePartner", "d"),
    ("DeskService/CreateKey", "d"),
    ("DeskService/RotateKey", "d"),
    ("DeskService/RevokeKey", "d"),
    ("DeskService/ListAudit", "d"),
    ("DeskService/ListEmbargoes", "d"),
    ("DeskService/GetEmbargo", "d"),
    ("DeskService/MoveEmbargo", "d"),
    ("DeskService/CancelEmbargo", "d"),
    ("DeskService/ReleaseEmbargo", "d"),
    ("WebhookService/CreateWebhook", "sd"),
    ("WebhookService/UpdateWebhook", "sd"),
    ("WebhookService/GetWebhook", "sd"),
    ("WebhookService/ListWebhooks", "sd"),
    ("WebhookService/DeleteWebhook", "sd"),
    ("WebhookService/PauseWebhook", "sd"),
    ("WebhookService/ResumeWebhook", "sd"),
    ("WebhookService/TestWebhook", "sd"),
    ("WebhookService/ReplayWebhook", "sd"),
    ("WebhookService/RotateWebhook", "sd"),
    ("WebhookService/ListParked", "sd"),
    ("WebhookService/RetryParked", "sd"),
    ("WebhookService/DropParked", "sd"),
];
/// Who may get each path; `*` is everybody, also without a key.
const PATHS: [(&str, &str); 18] = [
    // A subscriber of the whole wire may, and this one is of ict.
    ("/", "d"),
    ("/v1/articles/{id}/related", "psd"),
    ("/v1/stream", "sd"),
    ("/v1/articles", "sd"),
    ("/v1/articles/{id}", "psd"),
    ("/v1/articles/{id}/revisions", "psd"),
    ("/v1/topics", "psdm"),
    ("/v1/session", "psdm"),
    ("/feeds/{feed}", "sd"),
    ("/openapi.json", "*"),
    ("/metrics", "dm"),
    ("/v1/status", "dm"),
    // Pages of the desk alone.
    ("/desk/new", "d"),
    ("/desk/embargoes", "d"),
    ("/desk/status", "d"),
    ("/desk/articles/{id}/correct", "d"),
    ("/healthz", "*"),
    ("/readyz", "*"),
];
const ROLES: [(&str, Role); 4] = [
    ("p", Role::Publisher),
    ("s", Role::Subscriber),
    ("d", Role::Desk),
    ("m", Role::Monitor),
];

/// Every method of ours, as the contract has them.
fn methods() -> Vec<String> {
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS)
        .unwrap()
        .file;
    let ours = files
        .into_iter()
        .filter(|file| file.package() == "barid.v1");
    let services = ours.flat_map(|file| file.service);
    let methods = services.flat_map(|service| {
        let name = service.name().to_owned();
        let methods = service.method.into_iter();
        methods.map(move |method| format!("{name}/{}", method.name()))
    });
    methods.collect()
}

/// Makes a call with an empty message; an answer within the time, or none, is no refusal.
async fn call(node: &Node, method: &str, authorization: Option<&str>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(node.channel());
    client.ready().await.unwrap();
    let path: PathAndQuery = format!("/barid.v1.{method}").parse().unwrap();
    let mut request = Request::new(Bytes::new());
    if let Some(value) = authorization {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", value.parse().unwrap());
    }
    let answer = client.server_streaming(request, path, RawCodec);
    let mut messages = timeout(LIMIT, answer).await.unwrap()?.into_inner();
    match timeout(Duration::from_millis(300), messages.message()).await {
        Ok(Err(status)) => Err(status),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

/// What a kind of `authorization` is answered with; none = it is the role's that decides.
struct Kind {
    name: String,
    authorization: Option<String>,
    role: Option<&'static str>,
    reason: &'static str,
}

/// Keys of every kind of a partner.
async fn kinds(node: &Node) -> Vec<Kind> {
    let desk = Caller::desk(node);
    desk.partner(gazette()).await;
    let mut kinds = Vec::new();
    let mut kind = |name: &str, authorization: Option<String>, role, reason| {
        kinds.push(Kind {
            name: name.to_owned(),
            authorization,
            role,
            reason,
        });
    };
    let bearer = |key: &str| Some(format!("Bearer {key}"));
    kind("none", None, None, "KEY_MISSING");
    for garbage in ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer hunter2"] {
        kind(garbage, Some(garbage.to_owned()), None, "KEY_INVALID");
    }
    let mut last = String::new();
    for (initial, role) in ROLES {
        let (id, key) = desk.key("gazette", role, None).await;
        kind(initial, bearer(&key), Some(initial), "ROLE_MISSING");
        kind(
            "other case",
            Some(format!("bearer {key}")),
            Some(initial),
            "ROLE_MISSING",
        );
        kind("cut", bearer(&key[..54]), None, "KEY_INVALID");
        // Of the same id, whole, and of another secret.
        let other = barid::access::key::Secret::new(id.parse().unwrap(), [1; 20]);
        kind("forged", bearer(other.reveal()), None, "KEY_INVALID");
        let (id, key) = desk.key("gazette", role, None).await;
        desk.revoke(&id).await;
        kind("revoked", bearer(&key), None, "KEY_INVALID");
        let (_, key) = desk.key("gazette", role, Some(2)).await;
        kind("expired", bearer(&key), None, "KEY_EXPIRED");
        last = key;
    }
    let mut suspended = gazette();
    suspended.name = "tribune".to_owned();
    desk.partner(suspended).await;
    for (_, role) in ROLES {
        let (_, key) = desk.key("tribune", role, None).await;
        kind("suspended", bearer(&key), None, "PARTNER_SUSPENDED");
    }
    desk.update("tribune", |partner| partner.suspended = true)
        .await;
    // The last one made has expired, and the node knows of all.
    eventually("all keys are known", async || {
        let expired = call(node, "DeskService/ListTopics", bearer(&last).as_deref()).await;
        let partners = desk.partners().await;
        let is_known = |name: &str| partners.iter().any(|partner| partner.name == name);
        let suspended = partners.iter().any(|partner| partner.suspended);
        expired.is_err_and(|status| refusal(&status).1 == "KEY_EXPIRED")
            && is_known("tribune")
            && suspended
    })
    .await;
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_with_every_key() {
    let calls: BTreeMap<&str, &str> = CALLS.into_iter().collect();
    let methods = methods();
    assert!(methods.len() >= CALLS.len(), "{methods:?}");
    let node = Node::start_with_keys(&[]);
    let kinds = kinds(&node).await;
    for method in methods {
        let allowed = calls.get(method.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("who may call {method}? Give it a row"));
        for kind in &kinds {
            let name = &kind.name;
            let answer = call(&node, &method, kind.authorization.as_deref()).await;
            let status = answer.err().unwrap_or_else(|| Status::ok(""));
            let expected = match kind.role {
                None => (Code::Unauthenticated, kind.reason),
                Some(role) if allowed.contains(role) => {
                    let code = status.code();
                    let is_in = !matches!(code, Code::Unauthenticated | Code::PermissionDenied);
                    assert!(is_in, "{method} with {name}: {status:?}");
                    continue;
                }
                Some(_) => (Code::PermissionDenied, kind.reason),
            };
            let (code, reason) = refusal(&status);
            assert_eq!((code, reason.as_str()), expected, "{method} with {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_with_every_key() {
    let served = barid::server::http::router::PATHS;
    for path in served {
        let has_row = PATHS.iter().any(|(known, _)| *known == path);
        assert!(has_row, "who may get {path}? Give it a row");
    }
    let node = Node::start_with_keys(&[]);
    let kinds = kinds(&node).await;
    let article = story("test:matrix", &["ict"]);
    let id = Caller::desk(&node).publish(article).await.unwrap();
    for (path, allowed) in PATHS {
        let path = &path.replace("{id}", &id).replace("{feed}", "ict.atom");
        for kind in &kinds {
            let mut request = web::get(path);
            if let Some(value) = &kind.authorization {
                let headers = request.headers_mut();
                headers.insert("authorization", value.parse().unwrap());
            }
            let expected = match kind.role {
                _ if allowed == "*" => 200,
                Some(role) if allowed.contains(role) => 200,
                Some(_) => 403,
                None => 401,
            };
            let name = &kind.name;
            if expected == 200 {
                let answer = web::open(&node.http, request).await;
                assert_eq!(answer.status(), 200, "{path} with {name}");
                continue;
            }
            let (status, problem) = web::problem(&node.http, request).await;
            let reason = match (path.as_str(), kind.role) {
                // Its role may, but its partner reads a part only.
                ("/", Some("s")) => "NOT_GRANTED",
                _ => kind.reason,
            };
            assert_eq!(
                (status, problem["reason"].as_str().unwrap()),
                (expected, reason),
                "{path} with {name}"
            );
        }
    }
    // Whoever may publish hears what is wrong with an empty article.
    for kind in &kinds {
        let mut request = web::get("/v1/articles");
        *request.method_mut() = http::Method::POST;
        if let Some(value) = &kind.authorization {
            let headers = request.headers_mut();
            headers.insert("authorization", value.parse().unwrap());
        }
        let (status, _) = web::problem(&node.http, request).await;
        let expected = match kind.role {
            Some("p" | "d") => 415,
            Some(_) => 403,
            None => 401,
        };
        assert_eq!(status, expected, "POST with {}", kind.name);
    }
    // Nobody reads without a key but on a machine where that is said.
    let open = Node::start_with_keys(&["--local-reads-without-key"]);
    for path in ["/v1/stream", "/metrics"] {
        assert_eq!(web::open(&open.http, web::get(path)).await.status(), 200);
    }
    let status = call(&open, "SubscriberService/Subscribe", None)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

/// Health and reflection are everybody's: who watches a node needs no key.
#[tokio::test]
async fn health_needs_no_key() {
    let node = Node::start_with_keys(&[]);
    let mut health = tonic_health::pb::health_client::HealthClient::new(node.channel());
    let request = tonic_health::pb::HealthCheckRequest::default();
    health.check(request).await.unwrap();
}

/// A partner that is changed by two at once, a partner that is none, and what can't be kept.
#[tokio::test(flavor = "multi_thread")]
async fn bad_partners_are_refused() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let create = async |change: &dyn Fn(&mut barid::wire::proto::v1::Partner)| {
        let mut partner = gazette();
        partner.name = "new".to_owned();
        change(&mut partner);
        refusal(&desk.try_partner(partner).await.unwrap_err())
    };
    let invalid = (Code::InvalidArgument, "FIELD_INVALID".to_owned());
    for name in ["", "UPPER", "-a", "a-", "a.b", "a/b", "*", &"a".repeat(65)] {
        assert_eq!(
            create(&|partner| partner.name = name.to_owned()).await,
            invalid,
            "{name}"
        );
    }
    for topic in ["", ">", "ict.*", "ICT", "a b"] {
        let topics = || vec![topic.to_owned()];
        let refused =
            create(&|partner| partner.subscribe.as_mut().unwrap().topics = topics()).await;
        assert_eq!(refused, invalid, "{topic}");
    }
    let topics = || vec!["ict".to_owned(); 65];
    let many = create(&|partner| partner.subscribe.as_mut().unwrap().topics = topics()).await;
    assert_eq!(many, invalid);
    let exists = create(&|partner| partner.name = "gazette".to_owned()).await;
    assert_eq!(exists, (Code::AlreadyExists, "PARTNER_EXISTS".to_owned()));

    let mut admin = desk_service_client::DeskServiceClient::new(node.channel());
    let stale = desk.request(UpdatePartnerRequest {
        partner: Some(gazette()),
    });
    let status = admin.update_partner(stale).await.unwrap_err();
    assert_eq!(
        refusal(&status),
        (Code::Aborted, "PARTNER_CONFLICT".to_owned())
    );
}
