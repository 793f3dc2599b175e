//! Webhook: an address of a partner that is sent news, and how far that has come, as both are kept.
//! A subscription to a feed by [`websub`] is one, too, of another kind.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    access::partner::PartnerName,
    article::{Action, ArticleId},
    cursor::{Cursor, Epochs, LETTERS, Place, letters},
    filter::Filter,
    recipient::{
        Coverage, Stray, Turn,
        subscription::{is_ahead, known},
    },
    target::Target,
    webhook::{retry::Reply, signing::SigningKey, websub::Websub},
};

pub mod retry;
pub mod signing;
pub mod websub;

/// Most webhooks of one partner.
pub const PER_PARTNER_MAX: usize = 100;
/// Most webhooks in all: each that is worked holds some KiB on its node.
pub const WEBHOOKS_MAX: usize = 10_000;
/// Most parked revisions of one webhook; with more, it waits.
pub const PARKED_MAX: usize = 500;
/// Most characters of a note.
pub const NOTE_CHARS_MAX: usize = 200;
/// Most characters of what is kept of a failure.
pub const REASON_CHARS_MAX: usize = 200;
/// Characters of a webhook's id: 50 bits.
const ID_LEN: usize = 10;

/// The name of a webhook: 10 characters of `[a-z2-7]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebhookId([u8; ID_LEN]);

/// A text that is no webhook's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a webhook's id is {ID_LEN} letters and digits of [a-z2-7]")]
pub struct IdError;

impl WebhookId {
    /// The id of these 50 bits.
    pub fn from_bits(bits: u64) -> Self {
        Self(letters(bits))
    }

    /// The id of a partner's subscription to a feed for a callback: there is one, on whatever node it
    /// is asked for.
    pub fn of_subscription(partner: Option<&PartnerName>, topic: &str, callback: &Target) -> Self {
        let partner = partner.map_or("", PartnerName::as_str);
        // None of the three can hold the character between them.
        let text = format!("{partner} {topic} {}", callback.as_str());
        let digest = Sha256::digest(text.as_bytes());
        let first = digest.first_chunk::<8>().expect("32 bytes");
        Self::from_bits(u64::from_be_bytes(*first))
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id is ASCII")
    }
}

impl FromStr for WebhookId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes: [u8; ID_LEN] = text.as_bytes().try_into().map_err(|_| IdError)?;
        let is_letter = |byte: &u8| LETTERS.as_bytes().contains(byte);
        if bytes.iter().all(is_letter) {
            Ok(Self(bytes))
        } else {
            Err(IdError)
        }
    }
}

impl TryFrom<String> for WebhookId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<WebhookId> for String {
    fn from(id: WebhookId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// In which form a revision is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// ninjs within the envelope of Standard Webhooks: `type`, `timestamp`, `data`.
    Ninjs,
    /// CloudEvents 1.0, structured JSON, with ninjs as `data`.
    CloudEvents,
}

/// By which specification it is sent news. They are told apart by their fields: what is kept from
/// before there were two names no kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Spec {
    /// WebSub: the whole feed, whenever something of it changes.
    Websub {
        /// Which, and for how long.
        websub: Websub,
    },
    /// Standard Webhooks: each revision.
    Standard {
        /// In which form.
        format: Format,
        /// What it is signed with, newest first: one, and during a rotation the one before.
        keys: Vec<SigningKey>,
    },
}

/// Whether it is sent anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is.
    Active,
    /// Its owner does not want to, for now.
    Paused,
    /// It answered 410: nobody wants it any more.
    Gone,
}

/// A webhook, as its owner set it up. Desks and owners change it; whoever works it only says that it
/// is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its name.
    pub id: WebhookId,
    /// Whose it is; none = of a node that asks for no keys.
    pub partner: Option<PartnerName>,
    /// Where it is.
    pub target: Target,
    /// What it wants; its partner's grant cuts that.
    pub filter: Filter,
    /// By which specification it is sent that.
    #[serde(flatten)]
    pub spec: Spec,
    /// For people.
    #[serde(default)]
    pub note: String,
    /// When it was made, in seconds from 1970.
    pub created: i64,
    /// Whether it is sent anything.
    pub state: State,
    /// The place after which it began.
    pub begin: Cursor,
    /// Where it was last asked to go to, and how often it was.
    #[serde(default)]
    pub replay: Replay,
    /// How often it was asked to try at once.
    #[serde(default)]
    pub wakes: u32,
    /// How often it was asked to send what is parked.
    #[serde(default)]
    pub parked_asks: u32,
}

/// A wish to begin again elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// How many there were.
    pub number: u32,
    /// After which place; none = there was none.
    pub after: Option<Cursor>,
}

/// How far a webhook has come. Whoever works it is the only one to write it, each time over the
/// version before: who is no more its worker fails at the next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The node that works it; empty = nobody.
    pub node: String,
    /// How often it changed hands.
    pub fence: u64,
    /// Everything up to here is done.
    pub at: Cursor,
    /// What it was sent, by the filters that counted; none = nothing yet.
    #[serde(default)]
    pub coverage: Option<Coverage>,
    /// Up to which wishes were followed: [`Replay::number`], [`Webhook::wakes`],
    /// [`Webhook::parked_asks`].
    #[serde(default)]
    pub followed: [u32; 3],
    /// The failures of what comes next, if there were any.
    #[serde(default)]
    pub failing: Option<Failing>,
    /// What its receiver may have of what comes next.
    #[serde(default)]
    pub shown: Option<Shown>,
    /// Up to here a worker whose end nobody has told may have shown it something; none = there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perhaps: Option<Cursor>,
    /// How many revisions were parked since one was taken.
    #[serde(default)]
    pub parked_in_row: u32,
    /// When something was taken last, in seconds from 1970.
    #[serde(default)]
    pub last_taken: Option<i64>,
    /// How many requests were taken.
    #[serde(default)]
    pub taken_count: u64,
}

/// A delivery that reached its receiver and is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Up to which place it was shown.
    pub up_to: Cursor,
    /// Whether it was answered, and thereby not taken; else it may have been taken.
    pub is_refused: bool,
}

/// Failures of one delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// The delivery's cursor.
    pub cursor: Cursor,
    /// How many there were.
    pub count: u32,
    /// How many of them were refusals of this very article.
    pub refusals: u32,
    /// Since when, in seconds from 1970.
    pub since: i64,
    /// When it is tried again, likewise.
    pub next: i64,
    /// What the last one was.
    pub reason: String,
}

/// A revision that its endpoint refuses for good; never its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Which.
    pub cursor: Cursor,
    /// Of which story.
    pub article: String,
    /// Which revision.
    pub revision: u32,
    /// What it does to the story.
    pub action: String,
    /// What was answered.
    pub reason: String,
    /// When it was parked, in seconds from 1970.
    pub since: i64,
    /// How often it was tried in all.
    pub tries: u32,
    /// Whether somebody wants it to be sent again.
    #[serde(default)]
    pub is_asked: bool,
    /// Whether it is parked no more, and yet was not taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_left: bool,
}

/// All that is parked of one webhook, by cursor, and what left the list without being taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Parked>", into = "Vec<Parked>")]
pub struct ParkedList(pub Vec<Parked>, Vec<Parked>);

impl From<Vec<Parked>> for ParkedList {
    fn from(all: Vec<Parked>) -> Self {
        let (left, parked) = all.into_iter().partition(|one| one.has_left);
        Self(parked, left)
    }
}

/// As one list, which earlier releases read: they take what has left for parked.
impl From<ParkedList> for Vec<Parked> {
    fn from(ParkedList(mut parked, left): ParkedList) -> Self {
        parked.extend(left);
        parked
    }
}

impl Webhook {
    /// The id of a delivery: the same for every try, and after a replay.
    pub fn message_id(&self, cursor: Cursor) -> String {
        format!("{}_{cursor}", self.id)
    }

    /// The subscription to a feed that it is, if it is one.
    pub fn websub(&self) -> Option<&Websub> {
        match &self.spec {
            Spec::Websub { websub } => Some(websub),
            Spec::Standard { .. } => None,
        }
    }
}

impl Progress {
    /// That of a webhook that nobody has worked yet.
    pub fn new(webhook: &Webhook) -> Self {
        Self {
            node: String::new(),
            fence: 0,
            at: webhook.begin,
            coverage: None,
            followed: [0; 3],
            failing: None,
            shown: None,
            perhaps: None,
            parked_in_row: 0,
            last_taken: None,
            taken_count: 0,
        }
    }

    /// What its former worker was about when it ended is not known; it sent nothing beyond a place.
    pub fn lose_sight(&mut self, end: Cursor) {
        self.perhaps = Some(end);
    }

    /// A try has failed of a delivery up to a place.
    pub fn shows(&mut self, up_to: Cursor, reply: Reply, epochs: &Epochs) {
        if self.has_passed(up_to, epochs) {
            // It was parked.
            return;
        }
        let is_refused = match reply {
            Reply::Status(_) => true,
            Reply::Silence => false,
            // What an earlier try has shown stays.
            Reply::Unreached => return,
        };
        self.shown = Some(Shown { up_to, is_refused });
    }

    /// Whether the revision at a place was sent and may have been taken, though nothing was heard.
    pub fn may_have_taken(&self, cursor: Cursor, epochs: &Epochs) -> bool {
        let shown = self.shown.filter(|shown| !shown.is_refused);
        shown.is_some_and(|shown| !is_ahead(cursor, shown.up_to, epochs))
    }

    /// The failures of a delivery.
    pub fn failing_at(&self, cursor: Cursor) -> Option<&Failing> {
        self.failing
            .as_ref()
            .filter(|failing| failing.cursor == cursor)
    }

    /// Another filter counts from now on; returns whether it is another one.
    pub fn turn(&mut self, filter: &Filter, epochs: &Epochs) -> bool {
        let turn = self.end_of_filter(self.place(epochs), epochs);
        match &mut self.coverage {
            None => self.coverage = Some(Coverage::new(filter.clone(), self.at)),
            Some(coverage) => {
                coverage.clip(epochs);
                if coverage.filter() == filter {
                    return false;
                }
                coverage.turn(filter.clone(), turn);
                // Under the new one nothing was sent.
                (self.shown, self.perhaps) = (None, None);
            }
        }
        true
    }

    /// It goes on after another place. What lies between is left out but for what takes back what it
    /// was sent.
    pub fn jump(&mut self, after: Cursor, epochs: &Epochs) {
        let turn = self.end_of_filter(after, epochs);
        let mut at = after;
        if let Some(coverage) = &mut self.coverage {
            coverage.clip(epochs);
            let filter = coverage.filter().clone();
            coverage.turn(filter, turn);
            if is_ahead(after, self.at, epochs) && known(self.at, epochs).is_some() {
                at = self.at;
            }
        }
        self.perhaps = None;
        self.done(at, epochs);
    }

    /// After which place it is sent what its filter wants.
    pub fn place(&self, epochs: &Epochs) -> Cursor {
        let begin = self.coverage.as_ref().map(Coverage::after);
        let begin = begin.filter(|begin| is_ahead(*begin, self.at, epochs));
        begin.unwrap_or(self.at)
    }

    fn end_of_filter(&self, after: Cursor, epochs: &Epochs) -> Turn {
        Turn {
            sent: known(self.at, epochs).unwrap_or(0),
            end: self.end(epochs),
            after,
        }
    }

    /// Beyond this place nothing was shown to its receiver.
    pub fn end(&self, epochs: &Epochs) -> Cursor {
        let shown = self.shown.map(|shown| shown.up_to);
        let others = [shown, self.perhaps].into_iter().flatten();
        others.fold(self.at, |end, other| {
            if is_ahead(other, end, epochs) {
                other
            } else {
                end
            }
        })
    }

    /// Whether everything up to a place is done.
    pub fn has_passed(&self, cursor: Cursor, epochs: &Epochs) -> bool {
        match epochs.place(self.at) {
            Place::Known(at) => known(cursor, epochs).is_some_and(|seq| seq <= at),
            // Of what lies between nothing is left; what has come instead is new.
            Place::Lost(_) | Place::Foreign => false,
        }
    }

    /// A delivery is done: taken, or nobody's any more.
    pub fn done(&mut self, cursor: Cursor, epochs: &Epochs) {
        self.pass(cursor, epochs);
        self.failing = None;
        self.shown = None;
    }

    /// Nothing that is wanted is left up to a place.
    pub fn pass(&mut self, cursor: Cursor, epochs: &Epochs) {
        self.at = cursor;
        self.perhaps = self.perhaps.filter(|end| !self.has_passed(*end, epochs));
    }

    /// What its filter does not want was taken.
    pub fn follow(&mut self, stray: &Stray, epochs: &Epochs) {
        self.clip(epochs);
        if let Some(coverage) = &mut self.coverage {
            coverage.follow(stray);
        }
    }

    /// Takes away what a loss of the log has taken of what it was sent.
    pub fn clip(&mut self, epochs: &Epochs) {
        if let Some(coverage) = &mut self.coverage {
            coverage.clip(epochs);
        }
    }

    /// What lies between a sequence and a place is gone, and was not sent by now.
    pub fn leave_out(&mut self, after: u64, to: Cursor, epochs: &Epochs) {
        let perhaps = known(self.end(epochs), epochs).unwrap_or(0);
        self.clip(epochs);
        if let Some(coverage) = &mut self.coverage {
            coverage.leave_out(after, perhaps, to);
        }
    }

    /// A delivery was taken, now, in seconds from 1970.
    pub fn taken(&mut self, cursor: Cursor, now: i64, epochs: &Epochs) {
        self.done(cursor, epochs);
        self.parked_in_row = 0;
        self.last_taken = Some(now);
        self.taken_count += 1;
    }
}

impl Parked {
    /// Whether it takes something back or puts it right: such are never dropped.
    pub fn is_recall(&self) -> bool {
        match self.action() {
            Some(Action::Correct | Action::Withhold | Action::Kill) => true,
            Some(Action::Publish | Action::Update) | None => false,
        }
    }

    /// What it does to the story, if this release knows that.
    pub fn action(&self) -> Option<Action> {
        let known = [
            Action::Publish,
            Action::Update,
            Action::Correct,
            Action::Withhold,
            Action::Kill,
        ];
        known
            .into_iter()
            .find(|action| action.as_str() == self.action)
    }

    /// The story, if its name can be read.
    pub fn article_id(&self) -> Option<ArticleId> {
        self.article.parse().ok()
    }
}

impl ParkedList {
    /// Adds one, or renews what is known of it.
    pub fn put(&mut self, parked: Parked) {
        self.1.retain(|left| left.cursor != parked.cursor);
        match self.0.iter_mut().find(|one| one.cursor == parked.cursor) {
            Some(known) => *known = parked,
            None => self.0.push(parked),
        }
    }

    /// Takes one out that was not taken. So many that left it are remembered as may be parked; the
    /// oldest are forgotten first.
    pub fn leave(&mut self, cursor: Cursor) -> Option<Parked> {
        let parked = self.take(cursor)?;
        self.1.push(Parked {
            has_left: true,
            ..parked.clone()
        });
        if self.1.len() > PARKED_MAX {
            self.1.remove(0);
        }
        Some(parked)
    }

    /// Takes one out that was taken.
    pub fn remove(&mut self, cursor: Cursor) -> Option<Parked> {
        self.1.retain(|left| left.cursor != cursor);
        self.take(cursor)
    }

    fn take(&mut self, cursor: Cursor) -> Option<Parked> {
        let place = self.0.iter().position(|one| one.cursor == cursor)?;
        Some(self.0.remove(place))
    }

    /// Whether there is room for one more.
    pub fn is_full(&self) -> bool {
        self.0.len() >= PARKED_MAX
    }

    /// Whether something is parked at a place.
    pub fn has(&self, cursor: Cursor) -> bool {
        self.0.iter().any(|one| one.cursor == cursor)
    }

    /// Whether something was parked at a place and has not been taken since.
    pub fn is_untaken(&self, cursor: Cursor) -> bool {
        self.0.iter().chain(&self.1).any(|one| one.cursor == cursor)
    }

    /// Where in the log that lies which was not taken, in order.
    pub fn untaken(&self, epochs: &Epochs) -> Vec<u64> {
        let all = self.0.iter().chain(&self.1);
        let places = all.map(|one| epochs.place(one.cursor));
        let known = places.filter_map(|place| match place {
            Place::Known(seq) => Some(seq),
            Place::Lost(_) | Place::Foreign => None,
        });
        let mut seqs: Vec<u64> = known.collect();
        seqs.sort_unstable();
        seqs
    }

    /// How many recalls there are.
    pub fn recall_count(&self) -> usize {
        self.0.iter().filter(|one| one.is_recall()).count()
    }
}

#[cfg(test)]
mod tests;
