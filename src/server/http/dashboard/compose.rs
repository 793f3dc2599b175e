//! Compose: the desk's forms. What an editor sends becomes a revision, once, however often it is
//! sent; what is refused comes back with its reasons at its fields.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Path, rejection::PathRejection},
    response::Response,
};
use http::StatusCode;
use opentelemetry::Context;
use prost::Message as _;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    article::{Action, ArticleId},
    cursor::Cursor,
    delivery::Entry,
    fault::{Fault, Kind, wrong::Wrong},
    gate::caller::Caller,
    ingest::grpc::By,
    server::http::{
        Web,
        answer::Reason,
        articles::{tag, tagged_revision},
        dashboard::{
            article::{chain, change},
            compose::{
                draft::{CONFIRM, Draft},
                sheet::{Sheet, Trouble},
            },
            queue::QUEUE,
            story::Story,
            visit::Visit,
        },
        form::Form,
        related::article_id,
    },
    wire::{
        convert::action_to_proto,
        log::ReadError,
        ninjs::time_from_proto,
        proto::v1::{Article, Delivery, PublishRequest},
        status,
    },
};

pub mod draft;
pub mod sheet;

/// For how long a publish is tried: as over gRPC.
const PATIENCE: Duration = Duration::from_secs(30);
/// Why a form waits for a tick: another draft is in its place.
const DRAFT_EXISTS: &str = "DRAFT_EXISTS";
/// Which version that is.
const VERSION: &str = "version";
/// Characters around what another revision changed.
const CONTEXT: usize = 200;

/// What the path of a form names: an article, and what is done with it.
pub type Named = Result<Path<(String, String)>, PathRejection>;

/// What a form is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A new story.
    New,
    /// More of it, or better.
    Update,
    /// What was wrong is put right.
    Correct,
    /// It is taken back for now.
    Withhold,
    /// It is taken back for good.
    Kill,
    /// What was withheld is published again.
    Reinstate,
}

impl Task {
    /// All that can be done with a story.
    pub const OF_STORIES: [Self; 5] = [
        Self::Update,
        Self::Correct,
        Self::Withhold,
        Self::Kill,
        Self::Reinstate,
    ];

    /// Its name in an address.
    pub fn path(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Update => "update",
            Self::Correct => "correct",
            Self::Withhold => "withhold",
            Self::Kill => "kill",
            Self::Reinstate => "reinstate",
        }
    }

    /// What it asks for.
    pub fn action(self) -> Action {
        match self {
            Self::New | Self::Reinstate => Action::Publish,
            Self::Update => Action::Update,
            Self::Correct => Action::Correct,
            Self::Withhold => Action::Withhold,
            Self::Kill => Action::Kill,
        }
    }

    /// Whether it can be done with a story in this state.
    pub fn fits(self, head: Action) -> bool {
        match head {
            Action::Kill => false,
            Action::Withhold => matches!(self, Self::Reinstate | Self::Kill),
            Action::Publish | Action::Update | Action::Correct => {
                !matches!(self, Self::New | Self::Reinstate)
            }
        }
    }
}

/// A story as a form begins on it.
struct Begun {
    /// Its newest revision.
    head: Arc<Entry>,
    /// The newest revision with a text.
    text: Article,
}

impl Begun {
    /// Reads a story as it stands.
    async fn read(web: &Web, id: ArticleId) -> Result<Self, Fault> {
        let entries = chain(&web.hub, id, 2).await?;
        let head = entries.first().ok_or_else(|| ReadError::Behind.fault())?;
        Self::on(web, Arc::clone(head)).await
    }

    /// At one of its revisions. What is withheld has its text in the revision before.
    async fn on(web: &Web, head: Arc<Entry>) -> Result<Self, Fault> {
        let record = &head.stored.record;
        let mut text = article_of(&head.delivery());
        if record.action == Action::Withhold && !web.hub.is_killed(&head) {
            let prior = web.hub.entry_at(record.prior_revision_seq).await;
            let prior = prior.map_err(|error| error.fault())?;
            text = prior.map_or(text, |prior| article_of(&prior.delivery()));
        }
        Ok(Self { head, text })
    }

    fn tag(&self) -> String {
        let delivery = self.head.delivery();
        tag(delivery.revision, &delivery.cursor).text().to_owned()
    }

    fn story(&self) -> Story {
        Story::of(&self.head.delivery())
    }
}

fn article_of(delivery: &Delivery) -> Article {
    Article::decode(delivery.article.clone()).unwrap_or_default()
}

/// `GET /desk/new`.
pub async fn new(visit: Visit) -> Response {
    visit.show(StatusCode::OK, |view| {
        let draft = Draft::new(Uuid::new_v4().to_string(), view.tongue.tag());
        Sheet::new(Task::New, None, &draft, None).page(view)
    })
}

/// `GET /desk/articles/{id}/{task}`.
pub async fn begin(visit: Visit, path: Named) -> Response {
    let found = async {
        let (id, task) = named(path)?;
        let begun = Begun::read(&visit.web, id).await?;
        if !task.fits(begun.head.stored.record.action) {
            return Err(unfit());
        }
        Ok((begun, task))
    };
    visit.part(found.await, |view, (begun, task)| {
        let draft = Draft::of(&begun.text, Uuid::new_v4().to_string(), begun.tag());
        Sheet::new(*task, Some(&begun.story()), &draft, None).page(view)
    })
}

/// `POST /desk/new`.
pub async fn send_new(visit: Visit, form: Option<Extension<Form>>) -> Response {
    sent(&visit, None, Task::New, form).await
}

/// `POST /desk/articles/{id}/{task}`.
pub async fn send(visit: Visit, path: Named, form: Option<Extension<Form>>) -> Response {
    match named(path) {
        Ok((id, task)) => sent(&visit, Some(id), task, form).await,
        Err(fault) => visit.refuse(&fault),
    }
}

/// Does what a form asks for.
async fn sent(
    visit: &Visit,
    id: Option<ArticleId>,
    task: Task,
    form: Option<Extension<Form>>,
) -> Response {
    let deadline = Instant::now() + PATIENCE;
    let (web, caller) = (&visit.web, &visit.caller);
    let Some(Extension(form)) = form else {
        let message = "send a form: application/x-www-form-urlencoded";
        let fault = Fault::field("MEDIA_TYPE_UNSUPPORTED", "Content-Type", message);
        return visit.refuse(&fault);
    };
    let mut draft = Draft::sent(&form);
    let fault = match publish(web, caller, (id, task), &draft, deadline).await {
        // A draft has no page among the articles until its time.
        Ok((_, 0)) => return visit.go_to(&format!("{QUEUE}?done=0")),
        Ok((id, revision)) => return visit.go_to(&format!("/desk/articles/{id}?done={revision}")),
        Err(fault) => fault,
    };
    match fault.reason {
        DRAFT_EXISTS => {
            let mut facts = fault.metadata.iter();
            let version = facts.find(|(name, _)| *name == VERSION);
            let version = version.and_then(|(_, seq)| seq.parse().ok());
            (draft.replaces, draft.is_confirmed) = (version.unwrap_or(0), false);
        }
        // Whoever sends it once more means another story, or revision.
        "REQUEST_ID_REUSED" => draft.request_id = Uuid::new_v4().to_string(),
        _ => {}
    }
    let (begun, trouble) = trouble(web, id, fault, &mut draft).await;
    let story = begun.as_ref().map(Begun::story);
    let status = match trouble.fault.kind {
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        kind => status::http(kind),
    };
    let mut answer = visit.show(status, |view| {
        Sheet::new(task, story.as_ref(), &draft, Some(&trouble)).page(view)
    });
    answer.extensions_mut().insert(Reason(trouble.fault.reason));
    answer
}

/// Publishes what a form says; returns the article and its revision.
async fn publish(
    web: &Web,
    caller: &Caller,
    (id, task): (Option<ArticleId>, Task),
    draft: &Draft,
    deadline: Instant,
) -> Result<(String, u32), Fault> {
    let (article, expected_revision) = match id {
        None => {
            let article = ahead(draft.article(Article::default())?, None, web)?;
            (article, 0)
        }
        Some(id) => {
            let (revision, begun) = seen(web, id, draft).await?;
            let mut base = begun.text;
            base.id = id.to_string();
            let article = if task.action().is_notice() {
                draft.notice(&base)
            } else {
                ahead(draft.article(base.clone())?, Some(&base), web)?
            };
            (article, revision)
        }
    };
    if task == Task::Kill && !draft.is_confirmed {
        return Err(Fault::field("FIELD_INVALID", CONFIRM, Wrong::Unticked));
    }
    let request = PublishRequest {
        request_id: draft.request_id.clone(),
        expected_revision: Some(expected_revision),
        action: action_to_proto(task.action()).into(),
        article: Some(article),
        ..PublishRequest::default()
    };
    let by = By {
        caller: caller.clone(),
        parent: Context::new(),
        // That very one was shown, and it is confirmed.
        replaces: Some(if draft.is_confirmed {
            draft.replaces
        } else {
            0
        }),
    };
    let published = web.publisher.accept(request, &by, deadline).await;
    let published = published.map_err(|fault| {
        let (field, wrong) = match (id, fault.reason) {
            (None, "REVISION_CONFLICT") => ("article.uri", Wrong::NameTaken),
            (None, DRAFT_EXISTS) => ("article.uri", Wrong::NameHasDraft),
            (Some(_), DRAFT_EXISTS) => ("article.embargoed_until", Wrong::StoryHasDraft),
            _ => return fault,
        };
        Fault {
            metadata: fault.metadata,
            ..Fault::field(fault.reason, field, wrong)
        }
    })?;
    Ok((published.article_id, published.revision))
}

/// An article whose new times lie ahead: an embargo that is mistyped would publish at once.
fn ahead(article: Article, base: Option<&Article>, web: &Web) -> Result<Article, Fault> {
    let now = web.now();
    for (name, time, before) in [
        (
            "article.embargoed_until",
            &article.embargoed_until,
            base.map(|base| &base.embargoed_until),
        ),
        (
            "article.expires",
            &article.expires,
            base.map(|base| &base.expires),
        ),
    ] {
        let is_new = time.is_some() && before != Some(time);
        if is_new && time_from_proto(time.as_ref()).is_some_and(|time| time <= now) {
            return Err(Fault::field("FIELD_INVALID", name, Wrong::Over));
        }
    }
    Ok(article)
}

/// The very revision that a form was begun on: what is sent again makes the same request again.
async fn seen(web: &Web, id: ArticleId, draft: &Draft) -> Result<(u32, Begun), Fault> {
    let unknown = || {
        let message = "the form does not say on which revision it was begun; open it again";
        Fault::new(Kind::Conflict, "REVISION_CONFLICT", message)
    };
    let (revision, cursor): (u32, Cursor) = tagged_revision(&draft.seen).ok_or_else(unknown)?;
    let entry = web.hub.entry_at(cursor.seq).await;
    let entry = entry.map_err(|error| error.fault())?;
    let entry = entry.filter(|entry| {
        let record = &entry.stored.record;
        record.article_id == id && record.revision.get() == revision
    });
    match entry {
        Some(entry) => Ok((revision, Begun::on(web, entry).await?)),
        // Erased by a kill, or of another life of the log.
        None => Ok((revision, Begun::read(web, id).await?)),
    }
}

/// Why a form was refused. Where somebody else was faster, what that changed: the form goes on from
/// there, with its own text.
async fn trouble(
    web: &Web,
    id: Option<ArticleId>,
    fault: Fault,
    draft: &mut Draft,
) -> (Option<Begun>, Trouble) {
    let mut trouble = Trouble {
        fault,
        overtaken: None,
    };
    let Some(id) = id else {
        return (None, trouble);
    };
    let before = seen(web, id, draft).await.ok();
    let Ok(head) = Begun::read(web, id).await else {
        return (before.map(|(_, begun)| begun), trouble);
    };
    if trouble.fault.reason == "REVISION_CONFLICT" {
        let delivery = head.head.delivery();
        let change = before.map_or_else(Vec::new, |(_, before)| {
            change(&before.head.delivery(), &delivery, CONTEXT)
        });
        draft.seen = head.tag();
        trouble.overtaken = Some((delivery.revision, change));
    }
    (Some(head), trouble)
}

fn named(path: Named) -> Result<(ArticleId, Task), Fault> {
    let unknown = || {
        let message = "there is nothing at this path";
        Fault::new(Kind::Missing, "PATH_UNKNOWN", message)
    };
    let Path((id, task)) = path.map_err(|_| unknown())?;
    let mut tasks = Task::OF_STORIES.into_iter();
    let task = tasks
        .find(|known| known.path() == task)
        .ok_or_else(unknown)?;
    Ok((article_id(Ok(Path(id)))?, task))
}

fn unfit() -> Fault {
    let message = "this can't be done with a story in this state: what is killed stays so, and what \
                   is withheld is published again or killed";
    Fault::new(Kind::Precondition, "STATE_UNFIT", message)
}
