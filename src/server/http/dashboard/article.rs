//! An opened article: its text, where it went and why, its revisions as changes, and what is
//! related.

use std::sync::Arc;

use maud::{Markup, html};
use tokio::task::spawn_blocking;

use crate::{
    article::{Action, ArticleId, BodyType, text},
    cursor::Cursor,
    delivery::{Entry, hub::Hub, recalls::is_recall, related::Relation},
    fault::{Fault, Kind},
    server::http::{
        Web,
        dashboard::{
            compose::Task,
            diff::{Piece, changes, shortened},
            page::{self, Row, document},
            story::{Story, View, time},
        },
    },
    wire::{
        log::ReadError,
        proto::v1::{Action as ProtoAction, Article, BodyType as ProtoBodyType, Delivery},
    },
};

/// Revisions that are shown, newest first.
const REVISIONS: usize = 20;
/// Related articles that are shown.
const RELATED: usize = 5;
/// Characters around a change in a list of stories, and in one of revisions.
const CONTEXT: [usize; 2] = [40, 200];

/// An article with everything that its page shows.
#[derive(Debug)]
pub struct Opened {
    story: Story,
    paragraphs: Vec<String>,
    /// Each topic with the reason that was noted for it.
    routing: Vec<(String, String)>,
    revisions: Vec<Row>,
    has_more_revisions: bool,
    /// Whether something of it was corrected, withheld or killed, as far as is shown.
    is_recalled: bool,
    related: Vec<Relation>,
}

impl Opened {
    /// Reads an article as it stands.
    ///
    /// # Errors
    /// It is nobody's, or the log can't be read.
    pub async fn read(web: &Web, id: ArticleId) -> Result<Self, Fault> {
        let hub = &web.hub;
        let mut entries = chain(hub, id, REVISIONS + 1).await?;
        let related = match web.related.to(id, RELATED, web.time()).await {
            Ok(related) => related,
            // Withdrawn: nothing else is proposed beside a notice.
            Err(fault) if fault.kind == Kind::Precondition => Vec::new(),
            Err(fault) => return Err(fault),
        };
        let turn = Arc::clone(&web.comparing).acquire_owned().await;
        // Judged last: a kill may have come while we read.
        if entries.iter().any(|entry| hub.is_killed(entry)) {
            entries = chain(hub, id, 1).await?;
            entries.retain(|entry| !hub.is_killed(entry));
        }
        let opened = spawn_blocking(move || {
            let _turn = turn;
            Self::of(&entries, related)
        });
        let opened = opened.await.expect("showing an article does not panic");
        opened.ok_or_else(|| ReadError::Behind.fault())
    }

    /// The page of a chain of entries, newest first; none for an empty one.
    fn of(entries: &[Arc<Entry>], related: Vec<Relation>) -> Option<Self> {
        let head = entries.first()?;
        let story = Story::of(&head.delivery());
        // While the article is withdrawn its earlier texts are not shown.
        let shown = if story.action.is_notice() {
            1
        } else {
            REVISIONS
        };
        let pairs = entries.iter().take(shown).enumerate();
        let revisions = pairs.map(|(place, entry)| {
            let before = entries.get(place + 1).filter(|_| !story.action.is_notice());
            let delivery = entry.delivery();
            let change = before.map_or_else(Vec::new, |before| {
                change(&before.delivery(), &delivery, CONTEXT[1])
            });
            (Story::of(&delivery), change)
        });
        let record = &head.stored.record;
        let topics = record.topics.iter().map(ToString::to_string);
        Some(Self {
            paragraphs: paragraphs(&story.article),
            routing: topics.zip(record.topic_reasons.iter().cloned()).collect(),
            revisions: revisions.collect(),
            has_more_revisions: entries.len() > shown,
            is_recalled: entries
                .iter()
                .any(|entry| is_recall(entry.stored.record.action)),
            related,
            story,
        })
    }
}

/// An article's page.
/// `done` is the revision that has just been published by a form.
pub fn page(view: &View<'_>, opened: &Opened, done: Option<u32>) -> Markup {
    let (story, phrases) = (&opened.story, view.phrases());
    let article = &story.article;
    let headline = story.headline(phrases);
    let content = html! {
        (page::top(view))
        main {
            @if let Some(revision) = done {
                @let [before, after] = view.tongue.desk().done;
                p class="done" role="status" {
                    (before) (revision) (after)
                    @if story.action.is_notice() {
                        " " a href=(recall(view, story)) { (view.tongue.desk().recipients.recall_link) }
                    }
                }
            }
            article class={ "opened " (story.action.as_str()) } data-article-id=(story.id)
                data-urgency=(story.urgency()) {
                (heading(view, opened))
                @if view.is_desk { (acts(view, opened)) }
                div class="body" lang=(article.language) dir="auto" {
                    @for paragraph in &opened.paragraphs { p dir="auto" { (paragraph) } }
                }
                (routing(view, opened))
                (revisions(view, opened))
                @if !story.action.is_notice() { (related(view, &opened.related)) }
            }
        }
    };
    document(view.tongue, headline, &content)
}

/// The newest revision of an article as the list shows it.
///
/// # Errors
/// It is nobody's, or the log can't be read.
pub async fn row(web: &Web, id: ArticleId) -> Result<Row, Fault> {
    let entries = chain(&web.hub, id, 1).await?;
    let head = entries.first().ok_or_else(|| ReadError::Behind.fault())?;
    let delivery = head.delivery();
    let change = change_of(web, &delivery).await?;
    if web.hub.is_killed(head) {
        return Err(ReadError::Behind.fault());
    }
    Ok((Story::of(&delivery), change))
}

/// What a correction changed; nothing for any other revision.
///
/// # Errors
/// The log can't be read.
pub async fn change_of(web: &Web, delivery: &Delivery) -> Result<Vec<Vec<Piece>>, Fault> {
    let hub = &web.hub;
    if delivery.action() != ProtoAction::Correct {
        return Ok(Vec::new());
    }
    let read = |error: ReadError| error.fault();
    let seq = delivery
        .cursor
        .parse()
        .map_or(0, |cursor: Cursor| cursor.seq);
    let Some(entry) = hub.entry_at(seq).await.map_err(read)? else {
        return Ok(Vec::new());
    };
    let before = hub.entry_at(entry.stored.record.prior_revision_seq).await;
    let Some(before) = before
        .map_err(read)?
        .filter(|before| !hub.is_killed(before))
    else {
        return Ok(Vec::new());
    };
    let (before, after) = (before.delivery(), entry.delivery());
    let turn = Arc::clone(&web.comparing).acquire_owned().await;
    let found = spawn_blocking(move || {
        let _turn = turn;
        change(&before, &after, CONTEXT[0])
    });
    Ok(found.await.expect("comparing does not panic"))
}

/// An article's revisions, newest first, as far as they are still there.
///
/// # Errors
/// It is nobody's, or the log can't be read.
pub async fn chain(hub: &Hub, id: ArticleId, count_max: usize) -> Result<Vec<Arc<Entry>>, Fault> {
    if !hub.log().is_fresh() {
        return Err(ReadError::Behind.fault());
    }
    let read = |error: ReadError| error.fault();
    let mut next = hub.head(id).await.map_err(read)?;
    if next.is_none() {
        let message = format!("there is no article {id}");
        return Err(Fault::new(Kind::Missing, "ARTICLE_UNKNOWN", message));
    }
    let mut entries = Vec::new();
    while let Some(entry) = next {
        let prior = entry.stored.record.prior_revision_seq;
        entries.push(entry);
        if prior == 0 || entries.len() == count_max {
            break;
        }
        next = hub.entry_at(prior).await.map_err(read)?;
    }
    Ok(entries)
}

/// What changed from one revision to the next, field by field; nothing beside a notice.
pub fn change(before: &Delivery, after: &Delivery, context: usize) -> Vec<Vec<Piece>> {
    let (before, after) = (Story::of(before), Story::of(after));
    if before.action.is_notice() || after.action.is_notice() {
        return Vec::new();
    }
    let (old, new) = (&before.article, &after.article);
    let fields = [
        (old.headline.clone(), new.headline.clone()),
        (old.subheadline.clone(), new.subheadline.clone()),
        (plain(old), plain(new)),
    ];
    let found = fields.iter().filter_map(|(old, new)| changes(old, new));
    found.map(|pieces| shortened(pieces, context)).collect()
}

fn plain(article: &Article) -> String {
    let body_type = match article.body_type() {
        ProtoBodyType::Html => BodyType::Html,
        ProtoBodyType::Text | ProtoBodyType::Unspecified => BodyType::Text,
    };
    text::plain(&article.body, body_type)
}

/// The paragraphs of its text, whatever its form.
pub fn paragraphs(article: &Article) -> Vec<String> {
    let plain = plain(article).replace("\r\n", "\n");
    let paragraphs = plain.split("\n\n").map(str::trim);
    let paragraphs = paragraphs.filter(|paragraph| !paragraph.is_empty());
    paragraphs.map(str::to_owned).collect()
}

fn heading(view: &View<'_>, opened: &Opened) -> Markup {
    let (story, phrases) = (&opened.story, view.phrases());
    let article = &story.article;
    let lang = &article.language;
    html! {
        p class="marks" {
            strong class="flash" { (phrases.flash) }
            strong class="action" { (view.action(story.action)) }
            (time(story.time))
            span dir="auto" { (article.source) }
        }
        h2 class="headline" lang=(story.headline_language(view.tongue)) dir="auto" tabindex="-1" {
            (story.headline(phrases))
        }
        p class="sub" lang=(lang) dir="auto" { (article.subheadline) }
        p class="note" {
            b { (phrases.note) } " "
            span lang=(lang) dir="auto" { (article.edition_note) }
        }
        p class="by" lang=(lang) dir="auto" {
            @for text in [&article.located, &article.byline, &article.slugline] {
                @if !text.is_empty() { span dir="auto" { (text) } " " }
            }
            @for place in &article.places { span dir="auto" { (place.name) } " " }
        }
        p class="by" dir="auto" { (article.usage_terms) }
    }
}

/// Where it is said who has been told of the last recall.
fn recall(view: &View<'_>, story: &Story) -> String {
    format!("/desk/articles/{}/recall{}", story.id, view.suffix)
}

/// What the desk can do with it.
fn acts(view: &View<'_>, opened: &Opened) -> Markup {
    let story = &opened.story;
    let desk = view.tongue.desk();
    let tasks = Task::OF_STORIES.into_iter().zip(desk.tasks);
    let fitting: Vec<_> = tasks.filter(|(task, _)| task.fits(story.action)).collect();
    html! {
        @if !fitting.is_empty() || opened.is_recalled {
            nav class="acts" aria-label=(desk.acts) {
                @for (task, name) in fitting {
                    a href=(view.task(&story.id, task)) class={ "to-" (task.path()) } { (name) }
                }
                @if opened.is_recalled {
                    a href=(recall(view, story)) class="to-recall" { (desk.recipients.recall) }
                }
            }
        }
    }
}

fn routing(view: &View<'_>, opened: &Opened) -> Markup {
    html! {
        section {
            h3 { (view.phrases().routing) }
            dl class="routing" {
                @for (topic, reason) in &opened.routing {
                    dt { (view.topic_name(topic)) }
                    dd { (view.reason(reason)) }
                }
            }
        }
    }
}

fn revisions(view: &View<'_>, opened: &Opened) -> Markup {
    let phrases = view.phrases();
    html! {
        section {
            h3 { (phrases.revisions) }
            ol class="revisions" {
                @for (story, change) in &opened.revisions {
                    li {
                        p class="marks" {
                            strong { (phrases.revision) " " (story.revision) }
                            span { (view.action(story.action)) }
                            (time(story.time))
                        }
                        p class="note" lang=(story.article.language) dir="auto" {
                            (story.article.edition_note)
                        }
                        @if !change.is_empty() {
                            (view.change(change, &story.article.language))
                        } @else if matches!(story.action, Action::Update | Action::Correct) {
                            p class="hint" { (phrases.unchanged) }
                        }
                    }
                }
            }
            @if opened.has_more_revisions { p class="hint" { (phrases.earlier_revisions) } }
        }
    }
}

fn related(view: &View<'_>, relations: &[Relation]) -> Markup {
    let phrases = view.phrases();
    html! {
        section class="related" {
            h3 { (phrases.related) }
            @if relations.is_empty() { p class="hint" { (phrases.unrelated) } }
            ul {
                @for relation in relations {
                    @let story = Story::of(&relation.entry.delivery());
                    li {
                        a href=(view.address(&story.id)) data-article=(story.id)
                            lang=(story.article.language) dir="auto" { (story.article.headline) }
                        p class="hint" {
                            @if relation.is_linked { (phrases.linked) " · " }
                            (phrases.shared) ": "
                            @for word in &relation.words { bdi { (word) } " " }
                            @for place in &relation.places { bdi { (place) } " " }
                            @for topic in &relation.topics {
                                "· " bdi { (view.topic_name(topic.as_str())) } " "
                            }
                        }
                    }
                }
            }
        }
    }
}
