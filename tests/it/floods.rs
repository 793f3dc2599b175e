//! One partner's flood is that partner's own: it is refused, while all that another publishes is taken and
//! delivered. By how much the two slow each other is printed, and judged by whoever looks: machines differ.

use std::time::{Duration, Instant};

use barid::wire::proto::v1::{Filter, Limits, Role, SubscribeRequest};
use tokio::{sync::watch, task::JoinSet};
use tonic::Code;

use crate::{
    access::{Caller, gazette, story},
    harness::{Node, Reader, eventually, everything, refusal},
};

/// Windows with the flood, and as many without, in turns.
const WINDOWS: usize = 6;
/// Articles of a window.
const ARTICLES: usize = 40;
/// Connections that flood, each with its next call as soon as it is refused.
const FLOODERS: usize = 4;

/// Publishes one after the other: how long each took to be answered and to be delivered.
async fn window(publisher: &Caller, reader: &mut Reader, name: &str) -> (Duration, Duration) {
    let (mut answers, mut deliveries) = (Vec::new(), Vec::new());
    for number in 0..ARTICLES {
        let began = Instant::now();
        let article = story(&format!("test:{name}-{number}"), &["ict"]);
        publisher.publish(article).await.unwrap();
        answers.push(began.elapsed());
        reader.delivery().await;
        deliveries.push(began.elapsed());
    }
    (p99(&mut answers), p99(&mut deliveries))
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// All that the quiet partner publishes: in English, as the loud one does not.
fn wanted() -> SubscribeRequest {
    SubscribeRequest {
        filter: Some(Filter {
            languages: vec!["en".to_owned()],
            ..Filter::default()
        }),
        ..everything()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_partner_is_refused_and_not_anothers_news() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let mut flooder = gazette();
    flooder.name = "tribune".to_owned();
    flooder.limits = Some(Limits {
        // So little that it is over even on a slow machine.
        publishes_per_second: 1,
        requests_per_second: 20,
        ..Limits::default()
    });
    desk.partner(flooder).await;
    let caller = async |partner: &str, role| {
        let (_, key) = desk.key(partner, role, None).await;
        // Each has a connection of its own.
        Caller::new(&node, &key)
    };
    let publisher = caller("gazette", Role::Publisher).await;
    let subscriber = caller("gazette", Role::Subscriber).await;
    eventually("a key is known", async || {
        publisher
            .publish(story("test:first", &["ict"]))
            .await
            .is_ok()
    })
    .await;
    let mut reader = None;
    eventually("the other is, too", async || {
        reader = subscriber.subscribe(wanted()).await.ok();
        reader.is_some()
    })
    .await;
    let mut reader = reader.unwrap();
    reader.history().await;

    let (flood, _) = watch::channel(false);
    let mut flooders = JoinSet::new();
    for _ in 0..FLOODERS {
        let caller = caller("tribune", Role::Publisher).await;
        let mut is_on = flood.subscribe();
        flooders.spawn(async move {
            let mut refused = 0_u32;
            while is_on.wait_for(|is_on| *is_on).await.is_ok() {
                // What is let through is not what the other reads.
                let mut article = story("test:flood", &["ict"]);
                if let Some(article) = &mut article.article {
                    article.language = "fr".to_owned();
                }
                if let Err(status) = caller.publish(article).await {
                    assert_eq!(
                        refusal(&status),
                        (Code::ResourceExhausted, "RATE_LIMITED".to_owned())
                    );
                    refused += 1;
                }
            }
            refused
        });
    }
    let (mut quiet, mut loud) = ((vec![], vec![]), (vec![], vec![]));
    let mut flooded = Duration::ZERO;
    for number in 0..WINDOWS {
        let (answer, delivery) = window(&publisher, &mut reader, &format!("quiet-{number}")).await;
        quiet.0.push(answer);
        quiet.1.push(delivery);
        flood.send_replace(true);
        let began = Instant::now();
        let (answer, delivery) = window(&publisher, &mut reader, &format!("loud-{number}")).await;
        flooded += began.elapsed();
        flood.send_replace(false);
        loud.0.push(answer);
        loud.1.push(delivery);
    }
    drop(flood);
    let mut refused = 0;
    while let Some(count) = flooders.join_next().await {
        refused += count.unwrap();
    }
    let rate = f64::from(refused) / flooded.as_secs_f64();
    for (what, quiet, loud) in [
        ("answer", &mut quiet.0, &mut loud.0),
        ("delivery", &mut quiet.1, &mut loud.1),
    ] {
        let (quiet, loud) = (median(quiet), median(loud));
        let ratio = loud.as_secs_f64() / quiet.as_secs_f64();
        eprintln!(
            "publish to {what}, p99: {quiet:?} without, {loud:?} beside {rate:.0} refused calls/s: {ratio:.2}"
        );
    }
    assert!(refused > 0, "no flood");
}
