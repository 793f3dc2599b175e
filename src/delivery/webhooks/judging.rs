//! Judging: what a worker does about an answer.

use std::time::Duration;

use rand::RngExt as _;

use crate::{
    cursor::Cursor,
    delivery::webhooks::{
        sending::Message,
        worker::{Halt, Next, PAUSE, Worker},
    },
    telemetry::webhooks::Outcome,
    webhook::{
        Failing, Spec, Webhook,
        retry::{Before, Said, Verdict, pause, verdict},
    },
};

impl Worker {
    /// Draws the consequence of an answer; none = try again.
    pub(super) async fn judge(
        &mut self,
        webhook: &Webhook,
        message: &Message,
        said: Said,
        reason: String,
    ) -> Result<Option<Next>, Halt> {
        let progress = &self.progress.value;
        let failing = progress.failing_at(message.cursor);
        let before = Before {
            failures: failing.map_or(0, |failing| failing.count),
            refusals: failing.map_or(0, |failing| failing.refusals),
            parked_in_row: progress.parked_in_row,
        };
        let share = rand::rng().random_range(0.0..=1.0);
        let mut verdict = verdict(said, before, share);
        if verdict == Verdict::Park && (self.parked.value.is_full() || message.parked.is_none()) {
            // There is no room, or it is a feed, of which nothing is put aside: it waits, and so does all
            // that comes after it.
            verdict = Verdict::Again {
                pause: pause(None, before.failures, share),
                is_refusal: true,
            };
        }
        self.webhooks
            .log()
            .metrics()
            .webhooks
            .judged(outcome(verdict));
        let now = self.webhooks.now();
        let epochs = self.webhooks.log().epochs();
        match verdict {
            Verdict::Taken => self.take(message, now).await?,
            Verdict::Again { pause, is_refusal } => {
                let progress = &mut self.progress.value;
                progress.shows(message.covers, said.reply, &epochs);
                self.fail(message.cursor, pause, is_refusal, reason);
                self.save().await?;
                return Ok(None);
            }
            Verdict::Park => {
                let mut parked = message.parked.clone().expect("looked at above");
                (parked.reason, parked.since) = (reason, now);
                parked.tries = before.failures + 1;
                if parked.is_recall() {
                    tracing::error!(
                        webhook = %webhook.id,
                        cursor = %parked.cursor,
                        action = parked.action,
                        "a recall is parked: its receiver refuses it"
                    );
                }
                // First: a crash in between only sends it once more.
                self.change_parked(|list| list.put(parked.clone())).await?;
                self.progress.value.done(message.cursor, &epochs);
                self.progress.value.parked_in_row += 1;
            }
            Verdict::Gone => {
                let progress = &mut self.progress.value;
                progress.shows(message.covers, said.reply, &epochs);
                self.fail(message.cursor, Duration::ZERO, false, reason);
                self.save().await?;
                match webhook.spec {
                    Spec::Websub { .. } => self.forget(webhook).await?,
                    Spec::Standard { .. } => self.webhooks.disable(webhook.id).await,
                }
                self.changed(Some(PAUSE)).await?;
                return Ok(Some(Next::Look));
            }
        }
        self.save().await?;
        Ok(Some(Next::Done))
    }

    /// It was taken, now, in seconds from 1970.
    async fn take(&mut self, message: &Message, now: i64) -> Result<(), Halt> {
        let epochs = self.webhooks.log().epochs();
        let progress = &mut self.progress.value;
        progress.taken(message.covers, now, &epochs);
        if let Some(stray) = &message.stray {
            progress.follow(stray, &epochs);
        }
        let cursor = message.cursor;
        if self.parked.value.is_untaken(cursor) {
            // After a replay.
            self.change_parked(|list| drop(list.remove(cursor))).await?;
        }
        Ok(())
    }

    fn fail(&mut self, cursor: Cursor, pause: Duration, is_refusal: bool, reason: String) {
        let now = self.webhooks.now();
        let former = self.progress.value.failing_at(cursor);
        let pause = i64::try_from(pause.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        self.progress.value.failing = Some(Failing {
            cursor,
            count: former.map_or(1, |former| former.count.saturating_add(1)),
            refusals: former.map_or(0, |former| former.refusals) + u32::from(is_refusal),
            since: former.map_or(now, |former| former.since),
            next: now.saturating_add(pause),
            reason,
        });
    }
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Taken => Outcome::Taken,
        Verdict::Again { .. } => Outcome::Again,
        Verdict::Park => Outcome::Parked,
        Verdict::Gone => Outcome::Gone,
    }
}
