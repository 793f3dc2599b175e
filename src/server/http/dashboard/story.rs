//! Story: one revision as the dashboard shows it in its list.

use jiff::Timestamp;
use maud::{Markup, html};
use prost::Message as _;

use crate::{
    article::Action,
    routing::taxonomy::Taxonomy,
    server::http::dashboard::{
        compose::Task,
        diff::Piece,
        phrases::{Phrases, Tongue, wrong::Words},
    },
    wire::{
        convert,
        ninjs::time_from_proto,
        proto::v1::{Article, Delivery},
    },
};

/// One revision.
#[derive(Clone, Debug)]
pub struct Story {
    /// UUID of the article.
    pub id: String,
    /// Which of its revisions.
    pub revision: u32,
    /// What it did.
    pub action: Action,
    /// When it was written, or else accepted.
    pub time: Option<Timestamp>,
    /// Where it went.
    pub topics: Vec<String>,
    /// The article; without text if it is withdrawn.
    pub article: Article,
}

/// What pages need beside their stories.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The language of the interface.
    pub tongue: Tongue,
    /// What follows an article's address.
    pub suffix: &'a str,
    /// Names of topics.
    pub taxonomy: &'a Taxonomy,
    /// Where this page is.
    pub path: &'a str,
    /// The token of the session that it is shown in.
    pub csrf: Option<&'a str>,
    /// Whether it leads to the desk's own pages.
    pub is_desk: bool,
    /// Whether it leads to those of subscriptions and webhooks.
    pub is_recipient: bool,
}

impl Story {
    /// The story of a delivery; one whose article is not readable shows as empty.
    pub fn of(delivery: &Delivery) -> Self {
        let article = Article::decode(delivery.article.clone()).unwrap_or_default();
        let published_at = time_from_proto(delivery.published_at.as_ref());
        Self {
            id: article.id.clone(),
            revision: delivery.revision,
            action: convert::action_from_proto(delivery.action).unwrap_or(Action::Publish),
            time: time_from_proto(article.version_created.as_ref()).or(published_at),
            topics: delivery.topics.clone(),
            article,
        }
    }

    /// Its urgency, 1 (flash) to 9.
    pub fn urgency(&self) -> u32 {
        match self.article.urgency {
            0 => 5,
            urgency => urgency,
        }
    }

    /// Its headline, or what stands in its place.
    pub fn headline(&self, phrases: &'static Phrases) -> &str {
        match self.action {
            Action::Kill => phrases.killed,
            Action::Withhold => phrases.withheld,
            Action::Publish | Action::Update | Action::Correct => &self.article.headline,
        }
    }

    /// The language of its headline.
    pub fn headline_language(&self, tongue: Tongue) -> &str {
        if self.action.is_notice() {
            tongue.tag()
        } else {
            &self.article.language
        }
    }
}

impl View<'_> {
    /// What the interface says.
    pub fn phrases(&self) -> &'static Phrases {
        self.tongue.phrases()
    }

    /// Where an article's own page is.
    pub fn address(&self, id: &str) -> String {
        format!("/desk/articles/{id}{}", self.suffix)
    }

    /// Where the wire is.
    pub fn front(&self) -> String {
        format!("/{}", self.suffix)
    }

    /// Where the form is that does something with an article.
    pub fn task(&self, id: &str, task: Task) -> String {
        format!("/desk/articles/{id}/{}{}", task.path(), self.suffix)
    }

    /// The name of a topic, or its path.
    pub fn topic_name<'a>(&'a self, path: &'a str) -> &'a str {
        self.words().topic_name(path)
    }

    /// The words for what is wrong.
    pub fn words(&self) -> Words<'_> {
        Words {
            tongue: self.tongue,
            taxonomy: Some(self.taxonomy),
        }
    }

    /// Why a topic was given, as the record notes it, in words for readers: of a phrase with many
    /// forms the first stands for all.
    pub fn reason(&self, noted: &str) -> Markup {
        let [named, subject, text, inherited, rest] = self.phrases().reasons;
        let (kind, what) = noted.split_once(' ').unwrap_or((noted, ""));
        let (why, causes) = match kind {
            "named" => (named, vec![what.to_owned()]),
            "subject" => (subject, vec![what.trim_start_matches("medtop:").to_owned()]),
            "text" => {
                let causes = what.split_once(": ").map_or(what, |(_, causes)| causes);
                let causes = causes.split("; ").map(|cause| match cause.split_once('|') {
                    Some((first, _)) => format!("{first}…"),
                    None => cause.to_owned(),
                });
                (text, causes.collect())
            }
            "inherited" => (inherited, Vec::new()),
            "rest" => (rest, Vec::new()),
            // Of a later release.
            _ => (noted, Vec::new()),
        };
        html! {
            (why)
            @for (place, cause) in causes.iter().enumerate() {
                @if place > 0 { " ·" }
                " " bdi { (cause) }
            }
        }
    }

    /// What an action is called.
    pub fn action(&self, action: Action) -> &'static str {
        let [publish, update, correct, withhold, kill] = self.phrases().actions;
        match action {
            Action::Publish => publish,
            Action::Update => update,
            Action::Correct => correct,
            Action::Withhold => withhold,
            Action::Kill => kill,
        }
    }

    /// A story in the list. The script makes new ones out of an empty one.
    pub fn row(&self, story: &Story, change: &[Vec<Piece>]) -> Markup {
        let phrases = self.phrases();
        let article = &story.article;
        html! {
            li class={ "story " (story.action.as_str()) } data-id=(story.id)
                data-revision=(story.revision) data-urgency=(story.urgency()) {
                article {
                    p class="marks" {
                        strong class="flash" { (phrases.flash) }
                        strong class="action" { (self.action(story.action)) }
                        (time(story.time))
                        span class="source" dir="auto" { (article.source) }
                    }
                    h3 class="headline" lang=(story.headline_language(self.tongue)) dir="auto" {
                        a href=(self.address(&story.id)) data-article=(story.id) {
                            (story.headline(phrases))
                        }
                    }
                    p class="sub" lang=(article.language) dir="auto" { (article.subheadline) }
                    p class="note" {
                        b { (phrases.note) } " "
                        span lang=(article.language) dir="auto" { (article.edition_note) }
                    }
                    @if !change.is_empty() {
                        (self.change(change, &article.language))
                    }
                    ul class="topics" {
                        @for topic in &story.topics { li { (self.topic_name(topic)) } }
                    }
                }
            }
        }
    }

    /// What changed, field by field.
    pub fn change(&self, change: &[Vec<Piece>], language: &str) -> Markup {
        let [removed, added] = self.phrases().marks;
        html! {
            div class="change" {
                @for pieces in change {
                    p lang=(language) dir="auto" {
                        @for piece in pieces {
                            @match piece {
                                Piece::Same(text) => (text),
                                Piece::Removed(text) => del { (unseen(removed, self.tongue)) (text) },
                                Piece::Added(text) => ins { (unseen(added, self.tongue)) (text) },
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A time; the script puts it into the reader's own zone.
pub fn time(time: Option<Timestamp>) -> Markup {
    let time = time.unwrap_or(Timestamp::UNIX_EPOCH);
    html! {
        time datetime=(time.strftime("%Y-%m-%dT%H:%M:%SZ")) dir="ltr" {
            (time.strftime("%Y-%m-%d %H:%M UTC"))
        }
    }
}

/// For those who hear the page. With a direction of its own it does not decide that of its line.
fn unseen(text: &str, tongue: Tongue) -> Markup {
    html! {
        span class="unseen" lang=(tongue.tag()) dir=(tongue.direction()) { (text) " " }
    }
}
