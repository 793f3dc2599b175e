//! Seats: where readers wait. Waiting is a wake-up, never a queue: a seat holds one waker, kept from
//! one wait to the next.

use std::{
    sync::Mutex,
    task::{Context, Waker},
};

use tokio::task::yield_now;

/// Readers woken before others get a turn.
const WOKEN_AT_ONCE: usize = 256;

/// The seats of some readers.
#[derive(Debug, Default)]
pub struct Seats(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    seats: Vec<Seat>,
    free: Vec<usize>,
    /// Where the next round begins, so that nobody is always the last.
    begin: usize,
}

#[derive(Debug, Default)]
struct Seat {
    waker: Option<Waker>,
    is_waiting: bool,
}

impl Seats {
    /// Takes a seat.
    pub fn take(&self) -> usize {
        let mut inner = self.0.lock().expect("no panic under this lock");
        if let Some(seat) = inner.free.pop() {
            return seat;
        }
        inner.seats.push(Seat::default());
        inner.seats.len() - 1
    }

    /// Gives a seat back.
    pub fn give_back(&self, seat: usize) {
        let mut inner = self.0.lock().expect("no panic under this lock");
        let left = std::mem::take(&mut inner.seats[seat]);
        inner.free.push(seat);
        drop(inner);
        // Not under the lock: a waker may be the last hold on a task.
        drop(left);
    }

    /// Asks to be woken once. Whoever waits looks at what it waits for once more after this, or a
    /// change in between would be lost.
    pub fn wait(&self, seat: usize, context: &Context<'_>) {
        let mut inner = self.0.lock().expect("no panic under this lock");
        let seat = &mut inner.seats[seat];
        seat.is_waiting = true;
        match &mut seat.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => seat.waker = Some(context.waker().clone()),
        }
    }

    /// Wakes everybody who waits; returns how many did.
    pub async fn wake_all(&self) -> usize {
        let (begin, len) = {
            let mut inner = self.0.lock().expect("no panic under this lock");
            let len = inner.seats.len();
            inner.begin = (inner.begin + WOKEN_AT_ONCE).checked_rem(len).unwrap_or(0);
            (inner.begin, len)
        };
        let (mut done, mut woken) = (0, 0);
        while done < len {
            let step = WOKEN_AT_ONCE.min(len - done);
            {
                let mut inner = self.0.lock().expect("no panic under this lock");
                for offset in done..done + step {
                    // Who takes a seat in the meantime looks by itself.
                    if let Some(seat) = inner.seats.get_mut((begin + offset) % len)
                        && std::mem::take(&mut seat.is_waiting)
                        && let Some(waker) = &seat.waker
                    {
                        waker.wake_by_ref();
                        woken += 1;
                    }
                }
            }
            done += step;
            if done < len {
                yield_now().await;
            }
        }
        woken
    }
}
