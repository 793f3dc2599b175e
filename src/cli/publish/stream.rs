//! The pipeline of `barid publish`: requests out, answers in, over lost connections.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{
    article::ArticleId,
    cli::{
        client::{CallError, Client, backoff},
        input::{Item, Place},
        publish::{PIPELINE, Rules, tally::Tally},
    },
    config::value::Span,
    wire::proto::v1::{self as proto, publish_stream_response::Result as Answer},
};

/// The longest wait before a new try.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// What becomes of a revision that a later one of its story may have passed: sent again, it would
/// put an old text over a new one.
const OVERTAKEN: &str = "not accepted, and a later revision of the story was sent meanwhile";

/// An article on its way.
#[derive(Debug)]
pub struct Sending {
    /// Where it stands.
    pub place: Place,
    /// What happens to it.
    pub action: proto::Action,
    /// What was left out.
    pub warnings: Vec<String>,
    /// The request, kept until it is answered. Its id makes sending it again harmless.
    pub request: proto::PublishStreamRequest,
    /// Bytes of its file up to its end.
    pub read_bytes: u64,
    /// How often it was sent.
    pub sent_count: u32,
}

impl Sending {
    /// Which article it is, if that is known before the answer.
    fn article_id(&self) -> Option<String> {
        let article = self.request.publish.as_ref()?.article.as_ref()?;
        match (article.id.as_str(), article.uri.as_str()) {
            ("", "") => None,
            ("", uri) => Some(ArticleId::from_uri(uri).to_string()),
            (id, _) => Some(id.to_owned()),
        }
    }
}

/// How one stream ended.
enum End {
    /// Everything is answered.
    Done,
    /// Nothing is under way: the next article opens another stream.
    Idle,
    /// What is under way has to be sent again.
    Lost(String, Option<Duration>),
}

/// Sends every item and takes every answer.
pub struct Pipeline {
    client: Client,
    items: mpsc::Receiver<Item>,
    rules: Rules,
    /// How long nothing may be answered that is under way.
    patience: Duration,
    /// Sent and not answered, in order.
    pending: VecDeque<Sending>,
    /// Refused for the moment; before what is pending.
    again: Again,
    is_input_done: bool,
    /// Since when an answer is due.
    waiting_since: Instant,
    failed_count: u32,
}

impl Pipeline {
    /// A pipeline in which nothing has happened.
    pub fn new(
        client: Client,
        items: mpsc::Receiver<Item>,
        rules: Rules,
        patience: Duration,
    ) -> Self {
        Self {
            client,
            items,
            rules,
            patience,
            pending: VecDeque::new(),
            again: Again::default(),
            is_input_done: false,
            waiting_since: Instant::now(),
            failed_count: 0,
        }
    }

    /// Sends one item before those that are still to come.
    ///
    /// # Errors
    /// Those of stdout.
    pub fn push(&mut self, item: Item, tally: &mut Tally) -> anyhow::Result<()> {
        let read_bytes = item.read_bytes;
        match self.rules.apply(item) {
            Ok(sending) => {
                tally.warn(&sending.place, &sending.warnings);
                if self.pending.is_empty() {
                    self.waiting_since = Instant::now();
                }
                self.pending.push_back(sending);
                Ok(())
            }
            Err((place, message)) => tally.refuse(&place, &message, read_bytes),
        }
    }

    /// Publishes everything.
    ///
    /// # Errors
    /// Those of stdout, a refusal of the whole stream, or a server that stays away.
    pub async fn run(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        loop {
            while self.pending.is_empty() {
                match self.items.recv().await {
                    Some(item) => self.push(item, tally)?,
                    None => return Ok(()),
                }
            }
            let (why, hint) = match self.stream(tally).await? {
                End::Done => return Ok(()),
                End::Idle => continue,
                End::Lost(why, hint) => (why, hint),
            };
            let left = self.patience.saturating_sub(self.waiting_since.elapsed());
            if left.is_zero() {
                let patience = Span(self.patience);
                return Err(anyhow!("no answer for {patience}, the --timeout: {why}"));
            }
            if self.failed_count == 0 {
                let what = match self.pending.len() {
                    1 => "an article".to_owned(),
                    count => format!("{count} articles"),
                };
                tally.say(&format!("barid: {why}; waiting to send {what} again"));
            }
            let wait = backoff(self.failed_count, BACKOFF_MAX).max(hint.unwrap_or_default());
            self.failed_count = self.failed_count.saturating_add(1);
            time::sleep(wait.min(left)).await;
        }
    }

    /// Ends what is under way as failed.
    ///
    /// # Errors
    /// Those of stdout.
    pub fn give_up(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        for sending in self.again.sendings.drain(..).chain(self.pending.drain(..)) {
            tally.fail(&sending.place, "sent, but not answered", None)?;
        }
        Ok(())
    }

    /// One stream: first what an earlier one left unanswered, then what comes.
    async fn stream(&mut self, tally: &mut Tally) -> anyhow::Result<End> {
        let (requests_in, requests) = mpsc::channel(PIPELINE);
        for sending in &mut self.pending {
            sending.sent_count += 1;
            // There is room: no more are pending than the channel holds.
            requests_in
                .try_send(sending.request.clone())
                .context("the pipeline")?;
        }
        let deadline = self.waiting_since + self.patience;
        let mut publisher = self.client.publisher();
        let opened = publisher.publish_stream(self.client.endless(ReceiverStream::new(requests)));
        let mut answers = match time::timeout_at(deadline, opened).await {
            Ok(Ok(answers)) => answers.into_inner(),
            Ok(Err(status)) => return lost_or_refused(status.into()),
            Err(_) => return Ok(End::Lost("no answer".to_owned(), None)),
        };
        let end = self.pump(requests_in, &mut answers, tally).await?;
        self.restore(tally)?;
        Ok(end)
    }

    /// Puts what was refused for the moment before what has not been answered.
    fn restore(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        let is_under_way = |sending: &Sending| {
            let id = sending.article_id();
            id.is_some() && self.pending.iter().any(|later| later.article_id() == id)
        };
        // The later one may have been accepted, and its answer lost.
        let (doubtful, again): (Vec<Sending>, Vec<Sending>) =
            self.again.take().into_iter().partition(is_under_way);
        for sending in doubtful {
            tally.fail(&sending.place, OVERTAKEN, None)?;
        }
        let mut pending = VecDeque::from(again);
        pending.append(&mut self.pending);
        self.pending = pending;
        Ok(())
    }

    async fn pump(
        &mut self,
        requests: mpsc::Sender<proto::PublishStreamRequest>,
        answers: &mut Streaming<proto::PublishStreamResponse>,
        tally: &mut Tally,
    ) -> anyhow::Result<End> {
        loop {
            if self.pending.is_empty() {
                if let Some(end) = self.again.end() {
                    return Ok(end);
                }
                if self.is_input_done {
                    return Ok(End::Done);
                }
            }
            let is_waiting = !self.pending.is_empty();
            let takes_more =
                !self.is_input_done && self.again.is_empty() && self.pending.len() < PIPELINE;
            let answer = tokio::select! {
                biased;
                // Nothing is lost: an answer that was not taken stays in the stream.
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => answer,
                    Ok(None) if is_waiting => {
                        return Ok(End::Lost("the server ended the stream".to_owned(), None));
                    }
                    Ok(None) => return Ok(End::Idle),
                    Err(_) if !is_waiting => return Ok(End::Idle),
                    Err(status) => return lost_or_refused(status.into()),
                },
                // Nothing is lost: an item that was not taken stays in the channel.
                item = self.items.recv(), if takes_more => {
                    let Some(item) = item else {
                        self.is_input_done = true;
                        continue;
                    };
                    let before = self.pending.len();
                    self.push(item, tally)?;
                    if let Some(sending) = self.pending.get_mut(before) {
                        sending.sent_count += 1;
                        // Refused only when the stream has broken, which its answers will tell.
                        let _broken = requests.try_send(sending.request.clone());
                    }
                    continue;
                }
                // Nothing is lost: what is pending stays so.
                () = time::sleep_until(self.waiting_since + self.patience), if is_waiting => {
                    return Ok(End::Lost("no answer".to_owned(), None));
                }
            };
            let sending = self.pending.pop_front().context("an answer to nothing")?;
            self.answer(sending, answer, tally)?;
        }
    }

    fn answer(
        &mut self,
        sending: Sending,
        answer: proto::PublishStreamResponse,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let result = match answer.result {
            Some(Answer::Published(published)) => {
                for overtaken in self.again.overtaken(&published.article_id) {
                    tally.fail(&overtaken.place, OVERTAKEN, None)?;
                }
                tally.accept(&sending, &published)
            }
            Some(Answer::Error(status)) => {
                let error = CallError::from(status);
                if error.is_lost() {
                    self.again.push(sending, &error);
                    return Ok(());
                }
                tally.done(sending.read_bytes);
                tally.fail(&sending.place, &error.words(), Some(&error))
            }
            None => tally.fail(
                &sending.place,
                "the answer is empty; is the server newer?",
                None,
            ),
        };
        // Only now: a refusal for the moment is no answer yet.
        self.waiting_since = Instant::now();
        if self.failed_count > 0 {
            self.failed_count = 0;
            tally.say("barid: the server answers again");
        }
        result
    }
}

/// Articles that the server could not take for the moment. Nothing new is sent until all that is
/// under way has been answered; then they are sent again, in order.
#[derive(Default)]
struct Again {
    sendings: VecDeque<Sending>,
    why: String,
    hint: Option<Duration>,
}

impl Again {
    fn is_empty(&self) -> bool {
        self.sendings.is_empty()
    }

    fn take(&mut self) -> VecDeque<Sending> {
        self.hint = None;
        std::mem::take(&mut self.sendings)
    }

    fn push(&mut self, sending: Sending, error: &CallError) {
        self.why = error.loss();
        self.hint = self.hint.max(error.retry_after());
        self.sendings.push_back(sending);
    }

    /// Takes out earlier revisions of an article of which a later one was accepted.
    fn overtaken(&mut self, article_id: &str) -> Vec<Sending> {
        let sendings = std::mem::take(&mut self.sendings);
        let (overtaken, left): (Vec<Sending>, Vec<Sending>) = sendings
            .into_iter()
            .partition(|sending| sending.article_id().as_deref() == Some(article_id));
        self.sendings = left.into();
        overtaken
    }

    /// The end of a stream of which all is answered, if anything has to be sent again.
    fn end(&self) -> Option<End> {
        let why = format!("the server can't take more for the moment ({})", self.why);
        (!self.is_empty()).then_some(End::Lost(why, self.hint))
    }
}

fn lost_or_refused(error: CallError) -> anyhow::Result<End> {
    if error.is_lost() {
        let why = format!("lost the server ({})", error.loss());
        Ok(End::Lost(why, error.retry_after()))
    } else {
        Err(error.into())
    }
}

#[cfg(test)]
mod tests;
