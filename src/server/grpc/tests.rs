use std::{
    fs,
    path::Path,
    task::{Context, Poll},
    time::SystemTime,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::{
    Status,
    server::NamedService,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower_service::Service;

use super::*;
use crate::{
    gate::Policy,
    server::{
        incoming::{self, Limits},
        tls::{Files, Tls},
    },
    telemetry::{Metrics, connections::Listener},
};

/// Answers each call with an error that tells the client's certificate.
#[derive(Clone)]
struct Mirror;

impl NamedService for Mirror {
    const NAME: &'static str = "grpc.health.v1.Health";
}

impl Service<http::Request<Body>> for Mirror {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shown = request.extensions().get::<PeerCertificate>();
        let told = shown.map_or_else(|| "none".to_owned(), ToString::to_string);
        std::future::ready(Ok(Status::aborted(told).into_http()))
    }
}

/// An authority for both sides, and a certificate of it.
fn certificates(folder: &Path) -> (Files, Vec<u8>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let own_key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = params.signed_by(&own_key, &ca).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let files = Files {
        cert: file("cert.pem", own.pem()),
        key: file("key.pem", own_key.serialize_pem()),
        client_ca: Some(file("ca.pem", ca.pem())),
    };
    (files, own.der().to_vec())
}

/// A call carries the fingerprint of the certificate that its client has shown; without one, none.
#[tokio::test]
async fn certificate_of_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let (files, der) = certificates(folder.path());
    let limits = Limits {
        connections_max: None,
        per_address_max: 10,
        rate_per_address: 10,
        begin_within: Duration::from_secs(10),
        idle_after: Duration::from_secs(10),
    };
    let tls = Tls::load(files.clone()).unwrap();
    let options = incoming::Options::new(limits, Some(tls), Metrics::new());
    let grpc = Grpc {
        gate: Gate::new(Policy::Open, || SystemTime::UNIX_EPOCH),
        entrance: Entrance::new(Listener::Grpc, options),
        routes: Routes::new(Mirror),
        drain: CancellationToken::new(),
        end: CancellationToken::new(),
        connections: TaskTracker::new(),
    };
    let (drain, connections) = (grpc.drain.clone(), grpc.connections.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    connections.spawn(grpc.run(listener));

    let pem = |path: &Path| fs::read(path).unwrap();
    let ca = Certificate::from_pem(pem(files.client_ca.as_ref().unwrap()));
    let anonymous = ClientTlsConfig::new().ca_certificate(ca);
    let identity = Identity::from_pem(pem(&files.cert), pem(&files.key));
    let known = anonymous.clone().identity(identity);
    let fingerprint = PeerCertificate::of(&der).to_string();
    for (config, told) in [(anonymous, "none"), (known, fingerprint.as_str())] {
        let endpoint = Channel::from_shared(format!("https://localhost:{port}")).unwrap();
        let channel = endpoint.tls_config(config).unwrap().connect().await;
        let mut client = HealthClient::new(channel.unwrap());
        let error = client.check(HealthCheckRequest::default()).await;
        assert_eq!(error.unwrap_err().message(), told);
    }
    drain.cancel();
    connections.close();
    connections.wait().await;
}
