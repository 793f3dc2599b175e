//! Tally: which article has reached how many, and when.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::bail;
use tokio::{sync::Notify, time::timeout};

use crate::cli::bench::{Latencies, node};

/// What a subscriber looks for in whatever bytes come; the article's number follows.
pub const MARK: &[u8] = b"@@fan:";
/// Digits of the number, hexadecimal.
pub const DIGITS: usize = 8;

/// What is known of all articles.
#[derive(Clone, Debug)]
pub struct Tally(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    subscribers: u32,
    state: Mutex<State>,
    completed: Notify,
}

#[derive(Debug, Default)]
struct State {
    articles: Vec<Article>,
    /// How many have reached everybody.
    complete: usize,
    delivered: u64,
}

#[derive(Clone, Copy, Debug)]
struct Article {
    sent: Instant,
    first: Option<Instant>,
    last: Option<Instant>,
    count: u32,
}

impl Tally {
    /// Of so many subscribers that read.
    pub fn new(subscribers: u32) -> Self {
        Self(Arc::new(Inner {
            subscribers,
            state: Mutex::default(),
            completed: Notify::new(),
        }))
    }

    /// The next article is sent now; its number.
    pub fn sent(&self) -> usize {
        let mut state = self.0.state.lock().expect("no panic under this lock");
        state.articles.push(Article {
            sent: node::now(),
            first: None,
            last: None,
            count: 0,
        });
        state.articles.len() - 1
    }

    /// One subscriber has got an article.
    pub fn got(&self, number: usize) {
        let now = node::now();
        let mut state = self.0.state.lock().expect("no panic under this lock");
        state.delivered += 1;
        let Some(article) = state.articles.get_mut(number) else {
            return;
        };
        article.first.get_or_insert(now);
        article.count += 1;
        if article.count == self.0.subscribers {
            article.last = Some(now);
            state.complete += 1;
            drop(state);
            self.0.completed.notify_one();
        }
    }

    /// All deliveries so far.
    pub fn delivered(&self) -> u64 {
        let state = self.0.state.lock().expect("no panic under this lock");
        state.delivered
    }

    /// Waits until everybody has everything.
    ///
    /// # Errors
    /// Somebody lacks something after the patience.
    pub async fn wait_for_all(&self, patience: Duration) -> anyhow::Result<()> {
        self.wait_for_room(1, patience).await
    }

    /// Waits until fewer than so many articles are under way.
    ///
    /// # Errors
    /// They are still after the patience.
    pub async fn wait_for_room(&self, window: u32, patience: Duration) -> anyhow::Result<()> {
        let window = usize::try_from(window)?;
        let room = async {
            loop {
                let under_way = {
                    let state = self.0.state.lock().expect("no panic under this lock");
                    state.articles.len() - state.complete
                };
                if under_way < window {
                    return;
                }
                self.0.completed.notified().await;
            }
        };
        if timeout(patience, room).await.is_err() {
            bail!("deliveries are missing: {}", self.missing());
        }
        Ok(())
    }

    fn missing(&self) -> String {
        let state = self.0.state.lock().expect("no panic under this lock");
        let missing = state.articles.iter().enumerate();
        let missing: Vec<String> = missing
            .filter(|(_, article)| article.last.is_none())
            .map(|(number, article)| {
                let wanted = self.0.subscribers;
                format!("article {number} reached {} of {wanted}", article.count)
            })
            .take(3)
            .collect();
        missing.join(", ")
    }

    /// From sending to the first subscriber, to the last, and between these; but for the first
    /// article, with which connections warm up.
    pub fn latencies(&self) -> [Latencies; 3] {
        let state = self.0.state.lock().expect("no panic under this lock");
        let mut latencies = [(); 3].map(|()| Latencies::default());
        for article in state.articles.iter().skip(1) {
            if let (Some(first), Some(last)) = (article.first, article.last) {
                let [to_first, to_last, spread] = &mut latencies;
                to_first.add(first - article.sent);
                to_last.add(last - article.sent);
                spread.add(last - first);
            }
        }
        latencies
    }
}
