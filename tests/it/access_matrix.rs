//! Every call and path, with every kind of key, session, client certificate and token. A call without
//! a row fails.

use std::{collections::BTreeMap, time::Duration};

use barid::wire::proto::v1::{
    CreateKeyRequest, DESCRIPTORS, Role, UpdatePartnerRequest, desk_service_client,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::iter};
use http::{Method, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::{Code, Request, Status};

use crate::{
    access::{Caller, gazette, story},
    certificates::{Authority, Pair},
    harness::{LIMIT, Node, eventually, everything, refusal},
    native::RawCodec,
    sessions, tls, tokens, web,
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
const PATHS: [(&str, &str); 21] = [
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
    // Nobody gets it: it is posted to.
    ("/v1/hub", ""),
    ("/openapi.json", "*"),
    ("/metrics", "dm"),
    ("/v1/status", "dm"),
    // Pages of the desk alone.
    ("/desk/new", "d"),
    ("/desk/embargoes", "d"),
    ("/desk/status", "d"),
    ("/desk/articles/{id}/correct", "d"),
    // Pages of recipients, too.
    ("/desk/subscriptions", "sd"),
    ("/desk/webhooks", "sd"),
    ("/healthz", "*"),
    ("/readyz", "*"),
];
/// Pages of something that is not there, who may ask for it, and what those hear.
const MISSING: [(&str, &str, u16, &str); 3] = [
    ("/desk/embargoes/{id}", "d", 404, "EMBARGO_UNKNOWN"),
    ("/desk/webhooks/{id}", "sd", 404, "WEBHOOK_UNKNOWN"),
    ("/desk/articles/{id}/recall", "d", 409, "NOT_RECALLED"),
];
/// Who may post to each path that takes something.
const POSTS: [(&str, &str); 3] = [
    ("/v1/articles", "pd"),
    ("/v1/hub", "sd"),
    ("/v1/subscriptions/{name}/acknowledge", "sd"),
];
/// Calls under way at a time.
const AT_ONCE: usize = 8;
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

/// What a caller shows.
#[derive(Clone)]
enum Showing {
    Nothing,
    /// An `authorization`.
    Bearer(String),
    /// A session's cookie and, if it is to prove itself, its token.
    Cookie(String, Option<String>),
    /// A client certificate.
    Certificate(Pair),
}

/// A kind of caller, and what it is answered with; no role = always with this.
struct Kind {
    name: String,
    showing: Showing,
    role: Option<&'static str>,
    reason: &'static str,
}

/// A node with TLS that takes keys, sessions, client certificates and tokens.
struct Wire {
    node: Node,
    server: Authority,
    partners: Authority,
    tokens: tokens::Authority,
    desk: Caller,
    _folder: TempDir,
}

impl Wire {
    async fn start() -> Self {
        let (folder, server, pair) = tls::made();
        let partners = Authority::new(folder.path(), "partners");
        let tokens = tokens::Authority::new("one");
        let ca = ["--tls-client-ca", partners.pem.to_str().unwrap()];
        let node = tokens.node(&[&pair.flags()[..], &ca].concat());
        let channel = tls::endpoint(&node, &server.pem, None).connect_lazy();
        let desk = Caller::over(channel, &node.key("desk"));
        Self {
            node,
            server,
            partners,
            tokens,
            desk,
            _folder: folder,
        }
    }

    fn certificate(showing: &Showing) -> Option<&Pair> {
        match showing {
            Showing::Certificate(pair) => Some(pair),
            Showing::Nothing | Showing::Bearer(_) | Showing::Cookie(..) => None,
        }
    }

    /// Makes a call with an empty message; an answer within the time, or none, is no refusal.
    async fn call(&self, method: &str, showing: &Showing) -> Result<(), Status> {
        let pair = Self::certificate(showing);
        let endpoint = tls::endpoint(&self.node, &self.server.pem, pair);
        let mut client = tonic::client::Grpc::new(endpoint.connect_lazy());
        client.ready().await.unwrap();
        let path: PathAndQuery = format!("/barid.v1.{method}").parse().unwrap();
        let mut request = Request::new(Bytes::new());
        let metadata = request.metadata_mut();
        match showing {
            Showing::Bearer(value) => {
                drop(metadata.insert("authorization", value.parse().unwrap()))
            }
            Showing::Cookie(value, _) => drop(metadata.insert("cookie", value.parse().unwrap())),
            Showing::Nothing | Showing::Certificate(_) => {}
        }
        let answer = client.server_streaming(request, path, RawCodec);
        let mut messages = timeout(LIMIT, answer).await.unwrap()?.into_inner();
        match timeout(Duration::from_millis(300), messages.message()).await {
            Ok(Err(status)) => Err(status),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    /// Status and reason of an answer; no reason of a good one.
    async fn ask(&self, method: Method, path: &str, showing: &Showing) -> (u16, String) {
        let pair = Self::certificate(showing);
        let stream = tls::connect(&self.node.http, &self.server.pem, pair).await;
        let io = TokioIo::new(stream.unwrap());
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let mut request = http::Request::builder().method(method).uri(path);
        request = request.header("host", "localhost");
        match showing {
            Showing::Bearer(value) => request = request.header("authorization", value),
            Showing::Cookie(value, csrf) => {
                request = request.header("cookie", value);
                if let Some(csrf) = csrf {
                    request = request.header("x-csrf-token", csrf);
                }
            }
            Showing::Nothing | Showing::Certificate(_) => {}
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let answer = timeout(LIMIT, sender.send_request(request)).await;
        let answer = answer.expect("no answer in time").unwrap();
        let status = answer.status().as_u16();
        if status == 200 {
            return (status, String::new());
        }
        let body = timeout(LIMIT, answer.into_body().collect()).await;
        let body = body.unwrap().unwrap().to_bytes();
        match serde_json::from_slice::<Value>(&body) {
            Ok(problem) => (status, problem["reason"].as_str().unwrap().to_owned()),
            // A page says it in a `<code>`.
            Err(_) => {
                let page = String::from_utf8(body.to_vec()).unwrap();
                let (_, after) = page.split_once("<code>").expect(&page);
                (status, after.split('<').next().unwrap().to_owned())
            }
        }
    }

    /// Begins a session with a key that was just made: its cookie and its token.
    async fn session(&self, key: &str) -> (String, String) {
        let mut begun = None;
        eventually("a session begins", async || {
            begun = self.try_session(key).await;
            begun.is_some()
        })
        .await;
        begun.unwrap()
    }

    async fn try_session(&self, key: &str) -> Option<(String, String)> {
        let stream = tls::connect(&self.node.http, &self.server.pem, None).await;
        let io = TokioIo::new(stream.unwrap());
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("/v1/session")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {key}"));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        if answer.status() != 201 {
            return None;
        }
        let cookie = sessions::cookie(answer.headers());
        assert!(cookie.starts_with("__Host-barid-session="), "{cookie}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let who: Value = serde_json::from_slice(&body).unwrap();
        Some((cookie, who["csrf_token"].as_str().unwrap().to_owned()))
    }

    /// A key that goes with a certificate.
    async fn certified(&self, partner: &str, role: Role, pair: &Pair) -> String {
        let request = self.desk.request(CreateKeyRequest {
            partner: partner.to_owned(),
            role: role.into(),
            certificate: pair.fingerprint.clone(),
            ..CreateKeyRequest::default()
        });
        let made = self.desk.admin().create_key(request).await.unwrap();
        made.into_inner().key.unwrap().id
    }

    /// Callers of every kind, all of them known to the node.
    async fn kinds(&self) -> Vec<Kind> {
        let desk = &self.desk;
        desk.partner(gazette()).await;
        let mut suspended = gazette();
        suspended.name = "tribune".to_owned();
        desk.partner(suspended).await;
        let mut kinds = Vec::new();
        let mut kind = |name: &str, showing, role, reason| {
            let name = name.to_owned();
            kinds.push(Kind {
                name,
                showing,
                role,
                reason,
            });
        };
        let bearer = |key: &str| Showing::Bearer(format!("Bearer {key}"));
        kind("nothing", Showing::Nothing, None, "KEY_MISSING");
        for garbage in ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer hunter2"] {
            let showing = Showing::Bearer(garbage.to_owned());
            kind(garbage, showing, None, "KEY_INVALID");
        }
        let mut last = String::new();
        for (initial, role) in ROLES {
            let role_in = Some(initial);
            let (id, key) = desk.key("gazette", role, None).await;
            kind(initial, bearer(&key), role_in, "ROLE_MISSING");
            let lower = Showing::Bearer(format!("bearer {key}"));
            kind("other case", lower, role_in, "ROLE_MISSING");
            kind("cut", bearer(&key[..54]), None, "KEY_INVALID");
            // Of the same id, whole, and of another secret.
            let other = barid::access::key::Secret::new(id.parse().unwrap(), [1; 20]);
            kind("forged", bearer(other.reveal()), None, "KEY_INVALID");
            let (cookie, csrf) = self.session(&key).await;
            let unproved = Showing::Cookie(cookie.clone(), None);
            kind("cookie", unproved, role_in, "ROLE_MISSING");
            let forged = Showing::Cookie(cookie.replacen(id.as_str(), "aaaaaaaaaa", 1), None);
            kind("forged cookie", forged, None, "SESSION_ENDED");
            let proved = Showing::Cookie(cookie, Some(csrf));
            kind("cookie and token", proved, role_in, "ROLE_MISSING");

            let (id, key) = desk.key("gazette", role, None).await;
            let (cookie, csrf) = self.session(&key).await;
            desk.revoke(&id).await;
            kind("revoked", bearer(&key), None, "KEY_INVALID");
            let of_revoked = Showing::Cookie(cookie, Some(csrf));
            kind("cookie of a revoked key", of_revoked, None, "SESSION_ENDED");

            let name = role.as_str_name().to_ascii_lowercase();
            let pair = self.partners.pair(&name);
            self.certified("gazette", role, &pair).await;
            kind(
                "certificate",
                Showing::Certificate(pair),
                role_in,
                "ROLE_MISSING",
            );
            let pair = self.partners.pair(&format!("revoked-{name}"));
            let id = self.certified("gazette", role, &pair).await;
            desk.revoke(&id).await;
            let revoked = Showing::Certificate(pair);
            kind("revoked certificate", revoked, None, "CERTIFICATE_UNKNOWN");

            let role_name = name.trim_start_matches("role_");
            let token = |other: Value| bearer(&self.tokens.token(role_name, 3600, &other));
            kind("token", token(json!({})), role_in, "ROLE_MISSING");
            for other in [
                json!({"iss": "x"}),
                json!({"aud": "x"}),
                json!({"barid_role": "x"}),
            ] {
                let name = format!("token with {other}");
                kind(&name, token(other), None, "TOKEN_INVALID");
            }
            let expired = bearer(&self.tokens.token(role_name, -1, &json!({})));
            kind("expired token", expired, None, "TOKEN_EXPIRED");
            for (alg, kid) in [("HS256", "one"), ("none", "one"), ("EdDSA", "two")] {
                let header = json!({"alg": alg, "typ": "at+jwt", "kid": kid});
                let token = bearer(&self.tokens.sign(&header, &json!({"barid_role": role_name})));
                kind(
                    &format!("token by {alg} and {kid}"),
                    token,
                    None,
                    "TOKEN_INVALID",
                );
            }

            let (_, key) = desk.key("tribune", role, None).await;
            kind("suspended", bearer(&key), None, "PARTNER_SUSPENDED");
            let (_, key) = desk.key("gazette", role, Some(2)).await;
            kind("expired", bearer(&key), None, "KEY_EXPIRED");
            last = key;
        }
        let stranger = Showing::Certificate(self.partners.pair("stranger"));
        kind("unknown certificate", stranger, None, "CERTIFICATE_UNKNOWN");
        desk.update("tribune", |partner| partner.suspended = true)
            .await;
        // The last one made has expired, and the node knows of all.
        eventually("all keys are known", async || {
            let expired = self.call("DeskService/ListTopics", &bearer(&last)).await;
            let partners = desk.partners().await;
            let suspended = partners.iter().any(|partner| partner.suspended);
            expired.is_err_and(|status| refusal(&status).1 == "KEY_EXPIRED") && suspended
        })
        .await;
        kinds
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_with_every_key() {
    let calls: BTreeMap<&str, &str> = CALLS.into_iter().collect();
    let methods = methods();
    assert!(methods.len() >= CALLS.len(), "{methods:?}");
    let wire = Wire::start().await;
    let kinds = wire.kinds().await;
    for method in methods {
        let allowed = calls.get(method.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("who may call {method}? Give it a row"));
        let judge = async |kind: &Kind| {
            let name = &kind.name;
            let answer = wire.call(&method, &kind.showing).await;
            let status = answer.err().unwrap_or_else(|| Status::ok(""));
            let expected = match kind.role {
                // Sessions are for browsers, which don't speak gRPC.
                _ if matches!(kind.showing, Showing::Cookie(..)) => {
                    (Code::Unauthenticated, "KEY_MISSING")
                }
                None => (Code::Unauthenticated, kind.reason),
                Some(role) if allowed.contains(role) => {
                    let code = status.code();
                    let is_in = !matches!(code, Code::Unauthenticated | Code::PermissionDenied);
                    assert!(is_in, "{method} with {name}: {status:?}");
                    return;
                }
                Some(_) => (Code::PermissionDenied, kind.reason),
            };
            let (code, reason) = refusal(&status);
            assert_eq!((code, reason.as_str()), expected, "{method} with {name}");
        };
        iter(&kinds).for_each_concurrent(AT_ONCE, judge).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_with_every_key() {
    let served = barid::server::http::router::PATHS;
    for path in served {
        let has_row = PATHS.iter().chain(&POSTS).any(|(known, _)| *known == path);
        assert!(has_row, "who may use {path}? Give it a row");
    }
    let wire = Wire::start().await;
    let kinds = wire.kinds().await;
    let article = story("test:matrix", &["ict"]);
    let id = wire.desk.publish(article).await.unwrap();
    for (path, allowed) in PATHS.into_iter().filter(|(_, allowed)| !allowed.is_empty()) {
        let path = &path.replace("{id}", &id).replace("{feed}", "ict.atom");
        let judge = async |kind: &Kind| {
            let answer = wire.ask(Method::GET, path, &kind.showing).await;
            let expected = match kind.role {
                _ if allowed == "*" => (200, ""),
                Some(role) if allowed.contains(role) => (200, ""),
                // Its role may, but its partner reads a part only.
                Some("s") if path == "/" => (403, "NOT_GRANTED"),
                Some(_) => (403, kind.reason),
                None => (401, kind.reason),
            };
            let (status, reason) = (answer.0, answer.1.as_str());
            assert_eq!((status, reason), expected, "{path} with {}", kind.name);
        };
        iter(&kinds).for_each_concurrent(AT_ONCE, judge).await;
    }
    for (path, allowed, status, reason) in MISSING {
        let name = if path.contains("webhooks") {
            "aaaaaaaaaa"
        } else {
            &id
        };
        let path = &path.replace("{id}", name);
        let judge = async |kind: &Kind| {
            let answer = wire.ask(Method::GET, path, &kind.showing).await;
            let expected = match kind.role {
                Some(role) if allowed.contains(role) => (status, reason),
                Some(_) => (403, kind.reason),
                None => (401, kind.reason),
            };
            assert_eq!(
                (answer.0, answer.1.as_str()),
                expected,
                "{path} with {}",
                kind.name
            );
        };
        iter(&kinds).for_each_concurrent(AT_ONCE, judge).await;
    }
    // Whoever may hears what is wrong with an empty body; and in a session a page proves first that
    // it asks.
    for (path, allowed) in POSTS {
        let path = &path.replace("{name}", "bot");
        for kind in &kinds {
            let answer = wire.ask(Method::POST, path, &kind.showing).await;
            let expected = match (kind.role, &kind.showing) {
                (Some(_), Showing::Cookie(_, None)) => (403, "CSRF_TOKEN_INVALID"),
                (Some(role), _) if allowed.contains(role) => (415, "MEDIA_TYPE_UNSUPPORTED"),
                (Some(_), _) => (403, kind.reason),
                (None, _) => (401, kind.reason),
            };
            let (status, reason) = (answer.0, answer.1.as_str());
            let name = &kind.name;
            assert_eq!((status, reason), expected, "POST {path} with {name}");
        }
    }
}

/// Nobody reads without a key but on a machine where that is said.
#[tokio::test(flavor = "multi_thread")]
async fn reads_of_this_machine() {
    let open = Node::start_with_keys(&["--local-reads-without-key"]);
    for path in ["/v1/stream", "/metrics"] {
        assert_eq!(web::open(&open.http, web::get(path)).await.status(), 200);
    }
    let refused = Caller::over(open.channel(), "")
        .subscribe(everything())
        .await;
    assert_eq!(refused.err().unwrap().code(), Code::Unauthenticated);
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
    // A slip of the pen is none of the wire's topics; what it is nearest to is said.
    let slip = vec!["itc".to_owned()];
    let unknown = (Code::InvalidArgument, "TOPIC_UNKNOWN".to_owned());
    let slipped =
        create(&|partner| partner.subscribe.as_mut().unwrap().topics.clone_from(&slip)).await;
    assert_eq!(slipped, unknown);
    let slipped = create(&|partner| {
        let publish = partner.publish.as_mut().unwrap();
        publish.scope.as_mut().unwrap().topics.clone_from(&slip);
    })
    .await;
    assert_eq!(slipped, unknown);
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
