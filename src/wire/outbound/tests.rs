//! What may be called and what not, with lookups of the test's own and listeners of this machine.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

/// Answers each lookup of any name with the next list, and the last one for ever.
struct Script {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    count: AtomicUsize,
}

impl Script {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parsed = |list: &&[&str]| list.iter().map(|one| one.parse().unwrap()).collect();
        Arc::new(Self {
            answers: Mutex::new(answers.iter().rev().map(parsed).collect()),
            count: AtomicUsize::new(0),
        })
    }
}

impl Resolve for Script {
    fn resolve(&self, _: Name) -> Resolving {
        self.count.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 {
            answers.pop().unwrap()
        } else {
            answers[0].clone()
        };
        let found = answer
            .into_iter()
            .map(|address| SocketAddr::new(address, 0));
        Box::pin(async move { Ok(Box::new(found) as Addrs) })
    }
}

/// Never answers.
struct Silent;

impl Resolve for Silent {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(std::future::pending())
    }
}

fn outbound(dangers: Dangers, answers: &[&[&str]]) -> (Outbound, Arc<Script>) {
    // Another test may have been faster.
    let _there = rustls::crypto::ring::default_provider().install_default();
    let script = Script::new(answers);
    let resolver = Arc::clone(&script);
    (Outbound::with_resolver(dangers, resolver).unwrap(), script)
}

async fn get(outbound: &Outbound, text: &str) -> Result<Answer, CallError> {
    let target: Target = text.parse().map_err(CallError::Refused)?;
    let call = Call {
        method: Method::GET,
        target: &target,
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    outbound.call(call, Timestamp::UNIX_EPOCH).await
}

/// A listener that answers each connection with these bytes, and counts them.
async fn listen(answer: Vec<u8>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _read = socket.read(&mut request).await;
            // The client may have gone when it had enough.
            let _gone = socket.write_all(&answer).await;
        }
    });
    (port, count)
}

/// Ways to write an address that is not public; `PORT` is one where somebody listens.
const INSIDE: [&str; 60] = [
    "http://127.0.0.1:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://127.1:PORT/",
    "http://127.0.1:PORT/",
    "http://127.000.000.001:PORT/",
    "http://2130706433:PORT/",
    "http://0x7f000001:PORT/",
    "http://0x7f.0.0.1:PORT/",
    "http://0x7F.0x0.0x0.0x1:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://017700000001:PORT/",
    "http://0177.0x0.0.1:PORT/",
    "http://%31%32%37.0.0.1:PORT/",
    "http://127%2e0%2e0%2e1:PORT/",
    "http://127。0。0。1:PORT/",
    "http://127.0.0.1:PORT/",
    "http://①②⑦.⓪.⓪.①:PORT/",
    "http:127.0.0.1:PORT",
    "http:\\\\127.0.0.1:PORT\\",
    "http:////127.0.0.1:PORT/",
    "  http://127.0.0.1:PORT/  ",
    "HTTP://127.0.0.1:PORT/",
    "http://0:PORT/",
    "http://0.0.0.0:PORT/",
    "http://00000000.0:PORT/",
    "http://127.255.255.254:PORT/",
    "http://10.0.0.1/",
    "http://10.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://3232235777/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://203.0.113.5/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]:PORT/",
    "http://[::]:PORT/",
    "http://[0:0:0:0:0:0:0:1]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:7f00:1]:PORT/",
    "http://[0:0:0:0:0:ffff:a9fe:a9fe]/",
    "http://[::127.0.0.1]:PORT/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "http://[fe80::1]/",
    "http://[fd00:ec2::254]/latest/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
];

/// Names, which the test's lookups lead inside.
const NAMES: [&str; 10] = [
    "http://localhost:PORT/",
    "http://LOCALHOST:PORT/",
    "http://localhost.:PORT/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT/",
    "http://loc\u{ad}alhost:PORT/",
    "http://127.0.0.1.nip.io:PORT/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://xn--bcher-kva.example:PORT/",
    "http://bücher.example:PORT/",
    "http://inside:PORT/",
];

/// What has no form of a target.
const FORMS: [&str; 24] = [
    "",
    "news.example",
    "//news.example/",
    "https://",
    "https:///",
    "https://user@news.example/",
    "https://user:pass@news.example/",
    "https://:pass@news.example/",
    "https://news.example@127.0.0.1/",
    "https://127.0.0.1:80\\@news.example/",
    "https://news.example:0/",
    "https://news.example:22/",
    "https://news.example:25/",
    "https://news.example:6667/",
    "https://news.example:65536/",
    "ftp://news.example/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "javascript:alert(1)",
    "https://[::1%25eth0]/",
    "https://[::1/",
    "https://news example/",
    "http://127.0.0.1\t/",
    "http://12\n7.0.0.1/",
];

/// Nothing of the corpora reaches anybody: what is no target is none, and what leads inside is
/// refused before a connection.
#[tokio::test]
async fn nobody_inside_is_called() {
    let (port, connections) = listen(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).await;
    let dangers = Dangers {
        http: true,
        internal: false,
    };
    let (outbound, _) = outbound(dangers, &[&["127.0.0.1"]]);
    for form in FORMS {
        let refused = get(&outbound, form).await.unwrap_err();
        assert!(
            matches!(refused, CallError::Refused(_)),
            "{form}: {refused:?}"
        );
    }
    for form in INSIDE.iter().chain(&NAMES) {
        let form = form.replace("PORT", &port.to_string());
        let refused = get(&outbound, &form).await.unwrap_err();
        let is_inside = matches!(
            refused,
            CallError::Refused(TargetError::Internal(_) | TargetError::Credentials)
        );
        assert!(is_inside, "{form}: {refused:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    let long = format!("https://news.example/{}", "a".repeat(TARGET_LEN));
    let refused = get(&outbound, &long).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(TargetError::Long)));
}

const TARGET_LEN: usize = crate::target::TARGET_LEN_MAX;

/// A name with addresses outside and inside, in whatever order, is not called; nor is one without.
#[tokio::test]
async fn one_address_inside_spoils_a_name() {
    let dangers = Dangers {
        http: true,
        internal: false,
    };
    for addresses in [
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "8.8.8.8"],
        ["2606:4700::1", "fd00::1"],
        ["8.8.8.8", "::ffff:169.254.169.254"],
    ] {
        let (outbound, script) = outbound(dangers, &[&addresses]);
        let refused = get(&outbound, "http://mixed.example/").await.unwrap_err();
        let is_inside = matches!(refused, CallError::Refused(TargetError::Internal(_)));
        assert!(is_inside, "{addresses:?}: {refused:?}");
        assert_eq!(script.count.load(Ordering::SeqCst), 1);
    }
    let (outbound, _) = outbound(dangers, &[&[]]);
    let refused = get(&outbound, "http://nowhere.example/").await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(TargetError::Nowhere)));
}

/// DNS rebinding: the connection goes to what was checked. There is one lookup for it, so that a
/// second answer has nobody to mislead; and a lookup for the next connection is checked anew.
#[tokio::test]
async fn the_checked_address_is_the_called_one() {
    let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let (port, connections) = listen(answer.to_vec()).await;
    // With all addresses allowed, so that the test may listen: the first answer is this machine.
    let dangers = Dangers {
        http: true,
        internal: true,
    };
    let (free, script) = outbound(dangers, &[&["127.0.0.1"], &["127.0.0.2"]]);
    let url = format!("http://rebind.example:{port}/");
    let answer = get(&free, &url).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body), (200, b"ok".to_vec()));
    assert_eq!(script.count.load(Ordering::SeqCst), 1);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    // The second lookup leads where nobody listens: it is what the second call goes by.
    let lost = get(&free, &url).await.unwrap_err();
    assert!(matches!(lost, CallError::Unreachable(_)), "{lost:?}");

    // As an attacker does it: outside while it is looked at, inside afterwards.
    let dangers = Dangers {
        http: true,
        internal: false,
    };
    let (guarded, script) = outbound(dangers, &[&["127.0.0.1"], &["8.8.8.8"]]);
    let refused = get(&guarded, &url).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(_)), "{refused:?}");
    assert_eq!(script.count.load(Ordering::SeqCst), 1);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

/// Plain HTTP takes its flag; a redirect is an answer; of a long answer the beginning is read.
#[tokio::test]
async fn answers_are_bounded() {
    let internal = Dangers {
        http: false,
        internal: true,
    };
    let (tls_only, _) = outbound(internal, &[&["127.0.0.1"]]);
    let refused = get(&tls_only, "http://news.example/").await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(TargetError::Plain)));

    let dangers = Dangers {
        http: true,
        internal: true,
    };
    let (outbound, _) = outbound(dangers, &[&["127.0.0.1"]]);
    let (inner, reached) = listen(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{inner}/\r\ncontent-length: 0\r\n\
         retry-after: 7\r\n\r\n"
    );
    let (port, _) = listen(redirect.into_bytes()).await;
    let url = format!("http://news.example:{port}/");
    let answer = get(&outbound, &url).await.unwrap();
    assert_eq!(answer.status.as_u16(), 302);
    assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(reached.load(Ordering::SeqCst), 0);

    let mut long = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n".to_vec();
    long.resize(10_000_000, b'a');
    let (port, _) = listen(long).await;
    let url = format!("http://news.example:{port}/");
    let answer = get(&outbound, &url).await.unwrap();
    assert_eq!(answer.body.len(), ANSWER_BYTES_MAX);
}

/// Who was never reached is told from who does not answer.
#[tokio::test]
async fn silence_is_no_absence() {
    let dangers = Dangers {
        http: true,
        internal: true,
    };
    let (outbound, _) = outbound(dangers, &[&["127.0.0.1"]]);
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-le", b"+OK POP3\r\n"] {
        let (port, _) = listen(answer.to_vec()).await;
        let url = format!("http://news.example:{port}/");
        let broken = get(&outbound, &url).await.unwrap_err();
        assert!(matches!(broken, CallError::Broken(_)), "{broken:?}");
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("http://news.example:{port}/");
    let nobody = get(&outbound, &url).await.unwrap_err();
    assert!(matches!(nobody, CallError::Unreachable(_)), "{nobody:?}");
}

/// A name that nobody answers for is given up before the call is, and is said.
#[tokio::test(start_paused = true)]
async fn lookups_end() {
    let _there = rustls::crypto::ring::default_provider().install_default();
    let outbound = Outbound::with_resolver(Dangers::default(), Arc::new(Silent)).unwrap();
    let begun = tokio::time::Instant::now();
    let error = get(&outbound, "https://news.example/").await.unwrap_err();
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    assert!(matches!(error, CallError::Unreachable(_)), "{error:?}");
    let reason = error.reason();
    assert!(reason.contains("name was not found within 5 s"), "{reason}");
}
