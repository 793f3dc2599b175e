//! Subscription: a cursor and a filter that walk from history into live, without a gap or a
//! repeat.
//!
//! It is polled by its connection and holds nothing but where it is: what it hands out is shared
//! with all others that take the same.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use rand::RngExt as _;
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cursor::{Cursor, Epochs, Place as CursorPlace},
    delivery::{
        Entry,
        chunk::{Ask, Found, Run},
        durable::open::Claim,
        gap::{Gap, GapReason},
        group::{Group, Wanted},
        history::{Held, History, Lookup, Reader, Reading},
        hub::{Hub, Read, sent::Asking},
        places::Place,
        start::SubscribeError,
    },
    gate::permit::Permit,
    recipient::subscription::Token,
    telemetry::Protocol,
};

/// Silence after which a subscriber is told that nothing has matched.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Steps that one poll takes at most before others get a turn.
const STEPS_MAX: usize = 64;
/// Pages of history that are read before their reader comes to them.
const AHEAD_MAX: usize = 2;

/// What a subscriber gets next.
#[derive(Debug)]
pub enum Output {
    /// A durable subscription's stream begins; acknowledgements show this token.
    Opened(Token),
    /// Revisions that match.
    Deliveries(Run),
    /// History has ended.
    CaughtUp(Cursor),
    /// Nothing that matches was there for a while.
    Heartbeat(Cursor),
    /// Something may be missing.
    Gap(Gap),
    /// The stream has ended; there is nothing after this.
    End(SubscribeError),
}

/// By which way a stream goes to its subscriber, and on what right.
#[derive(Debug)]
pub struct Way {
    /// In which form.
    pub protocol: Protocol,
    /// Ends the connection, where that carries nothing else.
    pub connection: Option<CancellationToken>,
    /// The right to it.
    pub permit: Permit,
}

/// Where a stream begins.
#[derive(Debug)]
pub struct Beginning {
    /// After this place.
    pub at: Cursor,
    /// The lives of the log that it was judged by.
    pub epochs: Arc<Epochs>,
    /// Where history ends: the log's end when the stream began.
    pub history_end: u64,
    /// What can't be had.
    pub gap: Option<Gap>,
}

/// One subscriber's walk through the log.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    group: Arc<Group>,
    /// Where it waits for what its filter wants.
    seat: usize,
    /// Where it waits for anything at all.
    restless_seat: usize,
    place: Arc<Place>,
    place_number: u64,
    protocol: Protocol,
    permit: Permit,
    /// Of a durable subscription.
    claim: Option<Claim>,
    /// Whether its subscriber has its token.
    is_opened: bool,
    /// The highest place judged.
    at: Cursor,
    epochs: Arc<Epochs>,
    epochs_watch: watch::Receiver<Arc<Epochs>>,
    history_end: u64,
    is_caught_up: bool,
    gap: Option<Gap>,
    /// Where the page of history begins that it reads, while it is behind the ring.
    page_start: Option<u64>,
    /// While it reads pages.
    reader: Option<Reader>,
    /// The page, as long as it is in the midst of that.
    held: Option<Held>,
    /// Where the page ends after which so many pages were there already as are read ahead.
    ahead: u64,
    /// What is read ahead, for as long as this reader is there.
    reading_ahead: Option<Reading>,
    reading: Option<Reading>,
    /// The correction of which it is being read whether it goes to the group.
    asking: Option<(Cursor, Asking)>,
    heartbeat_at: Instant,
    /// When this stream ends, once the process stops: jittered, or all would come back at once.
    ends_at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// Whom the timer wakes, once it is set.
    timer_wakes: Option<Waker>,
}

impl Subscription {
    /// A subscription that begins there.
    pub fn new(
        hub: Hub,
        wanted: &Wanted,
        begin: Beginning,
        way: Way,
        claim: Option<Claim>,
    ) -> Self {
        let now = Instant::now();
        let group = hub.groups().of(wanted);
        let place = Arc::new(Place::new(begin.at.seq, &way, now));
        let Beginning {
            at,
            epochs,
            history_end,
            gap,
        } = begin;
        let mut epochs_watch = hub.log().epochs_watch();
        // Other lives than those that the beginning was judged by are looked at first.
        if Arc::ptr_eq(&epochs, &hub.log().epochs()) {
            epochs_watch.mark_unchanged();
        } else {
            epochs_watch.mark_changed();
        }
        hub.counts(way.protocol).subscribers.inc();
        Self {
            seat: group.seats().take(),
            restless_seat: hub.restless().take(),
            place_number: hub.places().add(Arc::clone(&place)),
            group,
            place,
            protocol: way.protocol,
            permit: way.permit,
            is_opened: claim.is_none(),
            claim,
            at,
            epochs,
            epochs_watch,
            history_end,
            is_caught_up: false,
            gap,
            page_start: None,
            reader: None,
            held: None,
            ahead: 0,
            reading_ahead: None,
            reading: None,
            asking: None,
            heartbeat_at: now + HEARTBEAT,
            ends_at: None,
            timer: Box::pin(sleep_until(now + HEARTBEAT)),
            timer_wakes: None,
            hub,
        }
    }

    /// What the subscriber gets next.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Output> {
        let now = Instant::now();
        let output = self.poll_at(context, now);
        if let Poll::Ready(Output::Deliveries(run)) = &output
            && let Err(fault) = self.permit.take_bytes(byte_count(run))
        {
            return Poll::Ready(Output::End(SubscribeError::Access(fault)));
        }
        match &output {
            Poll::Ready(output) => {
                self.heartbeat_at = now + HEARTBEAT;
                self.place.sends(self.at.seq, now);
                if let Some(claim) = &self.claim {
                    claim.sends(self.at.seq);
                }
                if let Output::Deliveries(run) = output {
                    if !run.strays.is_empty() {
                        self.follow(&run.strays);
                    }
                    let counts = self.hub.counts(self.protocol);
                    counts.deliveries.inc_by(run.count);
                    counts.bytes.inc_by(byte_count(run));
                }
            }
            Poll::Pending => {
                self.place.waits();
                if let Some(claim) = &self.claim {
                    claim.wait(context.waker());
                    if claim.stands().is_err() {
                        context.waker().wake_by_ref();
                    }
                }
            }
        }
        output
    }

    fn poll_at(&mut self, context: &mut Context<'_>, now: Instant) -> Poll<Output> {
        for _ in 0..STEPS_MAX {
            if self.is_ending(now) {
                return Poll::Ready(Output::End(SubscribeError::Draining));
            }
            if self.place.is_stalled() {
                return Poll::Ready(Output::End(self.stalled()));
            }
            if let Err(fault) = self.permit.stands() {
                return Poll::Ready(Output::End(SubscribeError::Access(fault)));
            }
            if let Some(claim) = &self.claim {
                if let Err(error) = claim.stands() {
                    return Poll::Ready(Output::End(error.into()));
                }
                if !std::mem::replace(&mut self.is_opened, true) {
                    return Poll::Ready(Output::Opened(claim.token().clone()));
                }
            }
            if let Some(gap) = self.next_gap() {
                if let Some(claim) = &self.claim
                    && let Some(after) = gap.gone_after(&self.epochs)
                {
                    claim.leaves_out(after, gap.to);
                }
                return Poll::Ready(Output::Gap(gap));
            }
            if !self.hub.log().is_fresh() {
                // This node may not know of a kill, or the ring may hold what the log has lost.
                self.hub.restless().wait(self.restless_seat, context);
                if self.hub.log().is_fresh() || self.must_end_soon() || self.permit.is_new() {
                    continue;
                }
                return self.wait(context, now);
            }
            if let Some(claim) = &self.claim
                && !claim.is_fresh()
            {
                // Another node may have taken it over.
                claim.wait(context.waker());
                self.hub.restless().wait(self.restless_seat, context);
                if claim.is_fresh() || self.must_end_soon() || self.permit.is_new() {
                    continue;
                }
                return self.wait(context, now);
            }
            match self.step(context) {
                Step::Output(output) => return Poll::Ready(output),
                Step::Past(seq) => self.at = self.epochs.cursor(seq.max(self.at.seq)),
                Step::Again => {}
                Step::Wait => return self.wait(context, now),
            }
            if now >= self.heartbeat_at {
                return Poll::Ready(Output::Heartbeat(self.at));
            }
        }
        // Much to look at and nothing found: others first.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads on.
    fn step(&mut self, context: &mut Context<'_>) -> Step {
        match self.hub.read(&self.next_wanted()) {
            Read::Found(found) => {
                self.leave_history();
                self.take(found, context)
            }
            Read::End(seq) => self.end(seq, context),
            Read::Behind => self.step_in_history(context),
        }
    }

    fn next_wanted(&self) -> Ask<'_> {
        Ask {
            after: self.at.seq,
            up_to: if self.is_caught_up {
                u64::MAX
            } else {
                self.history_end
            },
            group: &self.group,
            protocol: self.protocol,
        }
    }

    fn take(&mut self, found: Found, context: &mut Context<'_>) -> Step {
        match found {
            Found::Run(run) => {
                self.at = self.epochs.cursor(run.last_seq);
                Step::Output(Output::Deliveries(run))
            }
            Found::Past(seq) => Step::Past(seq),
            Found::Bound => {
                // History has ended, even if live never pauses.
                self.is_caught_up = true;
                Step::Output(Output::CaughtUp(self.at))
            }
            Found::Asks(entry) => self.ask(&entry, context),
        }
    }

    /// What a durable subscription's stream sent, and its filter does not want, is remembered, also by
    /// the stream itself.
    fn follow(&mut self, strays: &[Arc<Entry>]) {
        let Some(claim) = &self.claim else {
            // A webhook may refuse it.
            return;
        };
        claim.follows(strays.iter().map(|entry| entry.stray()).collect());
        let mut wanted = self.group.wanted().clone();
        if let Some(known) = &mut wanted.strays {
            for stray in strays {
                known.past.follow(&stray.stray());
            }
        }
        self.join(&wanted);
    }

    /// Leaves its group for that of what is wanted now.
    fn join(&mut self, wanted: &Wanted) {
        let group = self.hub.groups().of(wanted);
        let former = std::mem::replace(&mut self.group, group);
        former.seats().give_back(self.seat);
        self.hub.groups().leave(&former);
        self.seat = self.group.seats().take();
        self.asking = None;
    }

    /// Reads whether a correction goes to the group.
    fn ask(&mut self, entry: &Arc<Entry>, context: &mut Context<'_>) -> Step {
        let known = self.asking.take();
        let known = known.filter(|(place, _)| *place == entry.cursor);
        let mut asking = match known {
            Some((_, asking)) => asking,
            None => self.hub.ask(&self.group, entry),
        };
        match Pin::new(&mut asking).poll(context) {
            Poll::Ready(Ok(is_sent)) => {
                self.group.settle(entry.cursor, is_sent);
                Step::Again
            }
            Poll::Ready(Err(error)) => Step::Output(Output::End(SubscribeError::Page(error))),
            Poll::Pending => {
                self.asking = Some((entry.cursor, asking));
                Step::Wait
            }
        }
    }

    /// No page is read any more.
    fn leave_history(&mut self) {
        (self.page_start, self.reading, self.reading_ahead) = (None, None, None);
        (self.reader, self.held) = (None, None);
        self.ahead = 0;
    }

    /// The ring was read to its end.
    fn end(&mut self, seq: u64, context: &Context<'_>) -> Step {
        self.leave_history();
        if seq > self.at.seq {
            self.at = self.epochs.cursor(seq);
        }
        if !self.is_caught_up && seq >= self.history_end {
            self.is_caught_up = true;
            return Step::Output(Output::CaughtUp(self.at));
        }
        self.group.seats().wait(self.seat, context);
        if !self.is_caught_up {
            // What ends history may be no revision, which nobody is woken for.
            self.hub.restless().wait(self.restless_seat, context);
        }
        // What came before we waited wakes nobody.
        if self.hub.has_more(self.at.seq, !self.is_caught_up)
            || self.must_end_soon()
            || self.permit.is_new()
        {
            Step::Again
        } else {
            Step::Wait
        }
    }

    /// The ring begins after our place: a page of the log has what comes next.
    fn step_in_history(&mut self, context: &mut Context<'_>) -> Step {
        let start = self.page_start;
        let start = start.unwrap_or_else(|| History::page_start(self.at.seq));
        let history = Arc::clone(self.hub.history());
        let reader = self.reader.get_or_insert_with(|| history.enter());
        let held = self.held.as_ref().and_then(Held::page).cloned();
        let lookup = match (self.reading.take(), held) {
            (Some(reading), _) => Lookup::Reading(reading),
            (None, Some(page)) => Lookup::Page(page),
            (None, None) => history.page(start),
        };
        let page = match lookup {
            Lookup::Page(page) => page,
            Lookup::Reading(mut reading) => match Pin::new(&mut reading).poll(context) {
                Poll::Ready(Ok(page)) => page,
                // The loss that came in between is a gap, or a place to go back to.
                Poll::Ready(Err(error)) if history.is_passing(&error) => return Step::Again,
                Poll::Ready(Err(error)) => {
                    return Step::Output(Output::End(SubscribeError::Page(error)));
                }
                Poll::Pending => {
                    self.reading = Some(reading);
                    // The stop does not wait for it.
                    reader.wait(context);
                    let must_end_soon = self.must_end_soon();
                    return if must_end_soon {
                        Step::Again
                    } else {
                        Step::Wait
                    };
                }
            },
        };
        if self.at.seq >= page.end && page.end > start {
            self.page_start = Some(page.end);
            self.held = None;
            return Step::Again;
        }
        if self.held.as_ref().and_then(Held::page).is_none() {
            self.held = history.hold(&page);
        }
        self.page_start = Some(start);
        self.read_ahead(page.end);
        self.hub.log().metrics().log_reads.inc();
        let found = page.find(&self.next_wanted(), self.hub.log());
        self.take(found, context)
    }

    /// Has pages read that come after one that is being sent.
    ///
    /// Perf: a page that is full of bytes ends early, and the rest of it is soon sent: one page ahead
    /// would leave NATS idle for half of the time.
    fn read_ahead(&mut self, page_end: u64) {
        if self.ahead == page_end {
            return;
        }
        // What has come of it is kept by whoever has room.
        self.reading_ahead = None;
        let mut end = page_end;
        for _ in 0..AHEAD_MAX {
            if end >= self.hub.ring_first() {
                break;
            }
            match self.hub.history().ahead(end) {
                Some(Lookup::Page(page)) if page.end > end => end = page.end,
                Some(Lookup::Reading(reading)) => {
                    self.reading_ahead = Some(reading);
                    return;
                }
                // Whoever comes to it sees why there is none.
                Some(Lookup::Page(_)) | None => return,
            }
        }
        self.ahead = page_end;
    }

    /// Waits for whoever was asked to wake us, or for the next moment at which something is due.
    fn wait(&mut self, context: &mut Context<'_>, now: Instant) -> Poll<Output> {
        if now >= self.heartbeat_at {
            return Poll::Ready(Output::Heartbeat(self.at));
        }
        let due = self
            .ends_at
            .map_or(self.heartbeat_at, |ends| ends.min(self.heartbeat_at));
        // The timer may ring early and then looks again: setting it for each delivery would cost
        // more than that.
        let is_set = self.timer.deadline() <= due && !self.timer.is_elapsed();
        let wakes_us = |waker: &Waker| waker.will_wake(context.waker());
        if is_set && self.timer_wakes.as_ref().is_some_and(wakes_us) {
            return Poll::Pending;
        }
        if !is_set {
            self.timer.as_mut().reset(due);
        }
        self.timer_wakes = Some(context.waker().clone());
        if self.timer.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn is_ending(&mut self, now: Instant) -> bool {
        if self.ends_at.is_none() && self.hub.is_stopping() {
            let share = rand::rng().random_range(0.0..1.0);
            self.ends_at = Some(now + self.hub.drain().mul_f64(share));
        }
        self.ends_at.is_some_and(|ends| now >= ends)
    }

    /// Whether the stop has come and this stream does not know yet when it ends.
    fn must_end_soon(&self) -> bool {
        self.ends_at.is_none() && self.hub.is_stopping()
    }

    fn stalled(&self) -> SubscribeError {
        let patience = self.hub.patience();
        SubscribeError::Stalled {
            at: self.at,
            patience,
        }
    }

    /// What this reader can't have, if anything.
    fn next_gap(&mut self) -> Option<Gap> {
        if let Some(gap) = self.gap.take() {
            return Some(gap);
        }
        let kept_after = self.hub.log().retained_from() - 1;
        // The sender lives as long as the log.
        if self.epochs_watch.has_changed().unwrap_or(false) {
            let former = Arc::clone(&self.epochs);
            self.epochs = Arc::clone(&self.epochs_watch.borrow_and_update());
            self.leave_history();
            // What was to be history may be lost.
            self.history_end = match self.epochs.place(former.cursor(self.history_end)) {
                CursorPlace::Known(seq) => seq,
                CursorPlace::Lost(to) => to.seq,
                CursorPlace::Foreign => kept_after,
            };
            if let Some(wanted) = self.group.wanted().clipped(&former, &self.epochs) {
                self.join(&wanted);
            }
            let from = self.at;
            let (to, reason) = match self.epochs.place(from) {
                CursorPlace::Known(_) => return None,
                CursorPlace::Lost(to) => (to, GapReason::EpochLost),
                CursorPlace::Foreign => (self.epochs.cursor(kept_after), GapReason::EpochForeign),
            };
            self.at = to;
            return Some(Gap { from, to, reason });
        }
        if self.at.seq < kept_after {
            let (from, to) = (self.at, self.epochs.cursor(kept_after));
            self.at = to;
            self.leave_history();
            return Some(Gap {
                from,
                to,
                reason: GapReason::Retention,
            });
        }
        None
    }
}

fn byte_count(run: &Run) -> u64 {
    u64::try_from(run.bytes.len()).unwrap_or(u64::MAX)
}

/// One step of a walk.
enum Step {
    Output(Output),
    /// Nothing that is wanted up to this sequence.
    Past(u64),
    /// Look again.
    Again,
    /// Whoever has something new wakes us.
    Wait,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.counts(self.protocol).subscribers.dec();
        self.hub.places().remove(self.place_number);
        self.hub.restless().give_back(self.restless_seat);
        self.group.seats().give_back(self.seat);
        self.hub.groups().leave(&self.group);
    }
}
