//! A subscriber of the test's own: callbacks that answer as they are told, and remember what came.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use ring::hmac;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use url::form_urlencoded;

use crate::harness::eventually;

/// How a callback answers.
#[derive(Clone, Debug)]
pub struct Mood {
    /// To whether it wants what was asked for.
    pub intent: Intent,
    /// To what it is sent.
    pub status: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// With the challenge.
    Confirm,
    /// With the challenge and a character more.
    Wrong,
    /// With this status, and the challenge all the same.
    Status(u16),
}

/// What it is asked, by parameter.
pub type Asked = HashMap<String, String>;

/// What it was sent.
#[derive(Clone, Debug)]
pub struct Content {
    pub headers: HeaderMap,
    pub body: String,
}

impl Content {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// Whether it is signed with a secret, and with none.
    pub fn is_signed(&self, secret: Option<&str>) -> bool {
        let signature = self.header("x-hub-signature");
        let Some(secret) = secret else {
            return signature.is_empty();
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, self.body.as_bytes());
        let expected = data_encoding::HEXLOWER.encode(tag.as_ref());
        signature == format!("sha256={expected}")
    }
}

#[derive(Debug, Default)]
struct Callback {
    mood: Option<Mood>,
    asked: Vec<Asked>,
    content: Vec<Content>,
}

#[derive(Debug)]
struct Callbacks {
    by_name: Mutex<HashMap<String, Callback>>,
    /// Who is sent something does not answer while its name is here.
    held: watch::Sender<Vec<String>>,
}

pub struct Subscriber {
    address: String,
    callbacks: Arc<Callbacks>,
    server: JoinHandle<()>,
}

impl Subscriber {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let callbacks = Arc::new(Callbacks {
            by_name: Mutex::default(),
            held: watch::Sender::new(Vec::new()),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&callbacks)));
        Self {
            address,
            callbacks,
            server,
        }
    }

    /// The address of a callback.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    pub fn set(&self, name: &str, intent: Intent, status: u16) {
        let mut by_name = self.callbacks.by_name.lock().unwrap();
        by_name.entry(name.to_owned()).or_default().mood = Some(Mood { intent, status });
    }

    /// Lets a callback leave what it is sent without an answer, or not any more.
    pub fn hold(&self, name: &str, is_held: bool) {
        self.callbacks.held.send_modify(|held| {
            held.retain(|one| one != name);
            if is_held {
                held.push(name.to_owned());
            }
        });
    }

    /// What a callback was asked.
    pub fn asked(&self, name: &str) -> Vec<Asked> {
        let by_name = self.callbacks.by_name.lock().unwrap();
        by_name
            .get(name)
            .map(|one| one.asked.clone())
            .unwrap_or_default()
    }

    /// What a callback was sent.
    pub fn content(&self, name: &str) -> Vec<Content> {
        let by_name = self.callbacks.by_name.lock().unwrap();
        by_name
            .get(name)
            .map(|one| one.content.clone())
            .unwrap_or_default()
    }

    /// Waits until a callback was asked so often; returns the last question.
    pub async fn was_asked(&self, name: &str, count: usize) -> Asked {
        eventually(&format!("{name} is asked {count} times"), async || {
            self.asked(name).len() >= count
        })
        .await;
        self.asked(name).pop().unwrap()
    }

    /// Waits until a callback was last sent something like this.
    pub async fn was_sent(&self, name: &str, what: impl Fn(&Content) -> bool) -> Content {
        eventually(&format!("what {name} is sent"), async || {
            self.content(name).last().is_some_and(&what)
        })
        .await;
        self.content(name).pop().unwrap()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.server.abort();
        if std::thread::panicking() {
            for (name, callback) in &*self.callbacks.by_name.lock().unwrap() {
                let (asked, count) = (&callback.asked, callback.content.len());
                eprintln!(
                    "--- {name}, {:?}: asked {asked:?}, sent {count}",
                    callback.mood
                );
            }
        }
    }
}

async fn serve(listener: TcpListener, callbacks: Arc<Callbacks>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let callbacks = Arc::clone(&callbacks);
        let service = service_fn(move |request| answer(Arc::clone(&callbacks), request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        // A client that is killed breaks it off.
        tokio::spawn(async move { drop(connection.await) });
    }
}

async fn answer(
    callbacks: Arc<Callbacks>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let name = request.uri().path().trim_start_matches('/').to_owned();
    let (status, body) = if request.method() == Method::GET {
        callbacks.asked(name, request.uri().query().unwrap_or_default())
    } else {
        let (head, body) = request.into_parts();
        match body.collect().await {
            Ok(body) => {
                let status = callbacks.sent(name, head.headers, &body.to_bytes()).await;
                (status, String::new())
            }
            Err(_) => (400, String::new()),
        }
    };
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(answer)
}

impl Callbacks {
    fn asked(&self, name: String, query: &str) -> (u16, String) {
        let asked: Asked = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let mut by_name = self.by_name.lock().unwrap();
        let callback = by_name.entry(name).or_default();
        let challenge = asked.get("hub.challenge").cloned().unwrap_or_default();
        callback.asked.push(asked);
        match callback.mood.as_ref().map(|mood| mood.intent) {
            None | Some(Intent::Confirm) => (200, challenge),
            Some(Intent::Wrong) => (200, format!("{challenge}\n")),
            Some(Intent::Status(status)) => (status, challenge),
        }
    }

    async fn sent(&self, name: String, headers: HeaderMap, body: &Bytes) -> u16 {
        let status = {
            let mut by_name = self.by_name.lock().unwrap();
            let callback = by_name.entry(name.clone()).or_default();
            callback.content.push(Content {
                headers,
                body: String::from_utf8(body.to_vec()).unwrap(),
            });
            callback.mood.as_ref().map_or(200, |mood| mood.status)
        };
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held.contains(&name)).await.unwrap();
        status
    }
}
