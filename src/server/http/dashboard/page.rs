//! The front page, and what all pages have around them.

use maud::{DOCTYPE, Markup, html};

use crate::{
    article::Action,
    fault::Fault,
    server::http::dashboard::{
        assets::{ICON, SCRIPT, STYLE},
        diff::Piece,
        entry,
        lanes::{self, Lanes},
        phrases::{Tongue, wrong::Words},
        queue::QUEUE,
        story::{Story, View},
        subscriptions::SUBSCRIPTIONS,
        webhooks::WEBHOOKS,
        wish::{LANES, Layout, Wish},
    },
    wire::proto::v1::Article,
};

/// A story, and what its newest revision changed.
pub type Row = (Story, Vec<Vec<Piece>>);

/// What the front page shows.
#[derive(Debug)]
pub struct Front {
    /// Newest first.
    pub stories: Vec<Row>,
    /// The cursor of the state that it shows: the stream goes on from there.
    pub snapshot: String,
    /// The token of earlier news, or empty.
    pub next_page: String,
}

/// The front page's news, as it is laid out.
#[derive(Debug)]
pub enum News {
    /// In one column.
    Column(Front),
    /// In lanes.
    Lanes(Lanes),
}

/// A whole page.
pub fn document(tongue: Tongue, title: &str, content: &Markup) -> Markup {
    document_with(tongue, title, &html! {}, content)
}

/// A whole page that needs further files.
pub fn document_with(tongue: Tongue, title: &str, files: &Markup, content: &Markup) -> Markup {
    let phrases = tongue.phrases();
    html! {
        (DOCTYPE)
        html lang=(tongue.tag()) dir=(tongue.direction()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { @if !title.is_empty() { (title) " · " } (phrases.title) }
                link rel="icon" href=(ICON.path());
                link rel="stylesheet" href=(STYLE.path());
                (files)
                script src=(SCRIPT.path()) defer {}
            }
            body { (content) }
        }
    }
}

/// What stands above a page that is not the front page.
pub fn top(view: &View<'_>) -> Markup {
    let other: Tongue = view.tongue.other();
    let in_other = format!("{}?ui={}", view.path, other.tag());
    html! {
        header class="top" {
            h1 { a href=(view.front()) { (view.phrases().title) } }
            nav aria-label=(view.phrases().pages) {
                a href=(view.front()) { (view.tongue.desk().wire) }
                (desk_links(view))
                a href=(in_other) lang=(other.tag()) hreflang=(other.tag()) {
                    (view.phrases().other_tongue)
                }
            }
            @if let Some(csrf) = view.csrf { (entry::leave(view.tongue, csrf)) }
        }
    }
}

/// The ways to the desk's own pages, and to those of recipients.
fn desk_links(view: &View<'_>) -> Markup {
    let desk = view.tongue.desk();
    let links = [
        (view.is_desk, "/desk/new", desk.new),
        (view.is_desk, QUEUE, desk.embargoes),
        (
            view.is_recipient,
            SUBSCRIPTIONS,
            desk.recipients.subscriptions,
        ),
        (view.is_recipient, WEBHOOKS, desk.recipients.webhooks),
        (view.is_desk, "/desk/status", desk.board),
    ];
    html! {
        @for (_, path, name) in links.into_iter().filter(|(is_open, ..)| *is_open) {
            a href={ (path) (view.suffix) } aria-current=[(path == view.path).then_some("page")] {
                (name)
            }
        }
    }
}

/// The front page: filters, and the stories that match them or why there are none.
pub fn front(view: &View<'_>, wish: &Wish, found: Result<&News, &Fault>) -> Markup {
    let phrases = view.phrases();
    let content = html! {
        a class="skip" href="#news" { (phrases.skip) }
        header class="top" {
            h1 { (phrases.title) }
            p id="state" class="state" role="status" data-state="connecting" {}
            nav aria-label=(phrases.pages) {
                (lanes::choice(view, wish))
                (desk_links(view))
                (tongue_link(wish))
            }
            @if let Some(csrf) = view.csrf { (entry::leave(view.tongue, csrf)) }
        }
        div class="desk" {
            (filters(view, wish, found.err()))
            main {
                section class="wire" aria-labelledby="news" {
                    @match found {
                        Ok(News::Column(front)) => (column(view, wish, front)),
                        Ok(News::Lanes(lanes)) => (lanes::show(view, wish, lanes)),
                        Err(fault) => {
                            h2 id="news" { (phrases.news) }
                            (alert(view.words(), fault))
                        }
                    }
                }
                section id="panel" class="panel" aria-label=(phrases.opened) hidden {}
            }
        }
        p id="loud" class="unseen" role="alert" {}
        template id="phrases" data-close=(phrases.close) data-publish=(view.action(Action::Publish))
            data-update=(view.action(Action::Update)) data-correct=(view.action(Action::Correct))
            data-withhold=(view.action(Action::Withhold)) data-kill=(view.action(Action::Kill))
            data-killed=(phrases.killed) data-withheld=(phrases.withheld)
            data-flash=(phrases.flash) data-suffix=(view.suffix) {
                @for (state, text) in phrases.states { i data-state=(state) { (text) } }
        }
        template id="row" { (view.row(&blank(), &[])) }
    };
    document(view.tongue, "", &content)
}

/// Stories as a list, in a page of its own.
pub fn list(view: &View<'_>, rows: &[Row]) -> Markup {
    let content =
        html! { main { ol { @for (story, change) in rows { (view.row(story, change)) } } } };
    document(view.tongue, "", &content)
}

/// A page that says why there is nothing else; with a way out of the session of that token.
pub fn problem(tongue: Tongue, fault: &Fault, csrf: Option<&str>) -> Markup {
    let content = html! {
        main {
            (alert(Words::of(tongue), fault))
            @if let Some(csrf) = csrf {
                @let desk = tongue.desk();
                nav class="lane-names" {
                    a href="/" { (desk.wire) }
                    a href=(SUBSCRIPTIONS) { (desk.recipients.subscriptions) }
                    a href=(WEBHOOKS) { (desk.recipients.webhooks) }
                }
                (entry::leave(tongue, csrf))
            }
        }
    };
    document(tongue, tongue.phrases().problem, &content)
}

fn column(view: &View<'_>, wish: &Wish, front: &Front) -> Markup {
    let phrases = view.phrases();
    // A page of earlier news is a state of the past: it does not live.
    let is_live = wish.page.is_empty();
    html! {
        h2 id="news" tabindex="-1" { (phrases.news) }
        noscript { p class="hint" { (phrases.no_script) } }
        @if !is_live { p { a href=(wish.page("")) { (phrases.newest) } } }
        ol id="stories" aria-labelledby="news"
            data-stream=[is_live.then(|| wish.stream(&front.snapshot))] {
            @for (story, change) in &front.stories { (view.row(story, change)) }
        }
        p class="hint nothing" hidden[!front.stories.is_empty()] { (phrases.nothing) }
        @if !front.next_page.is_empty() {
            p { a href=(wish.page(&front.next_page)) rel="next" { (phrases.earlier) } }
        }
    }
}

fn filters(view: &View<'_>, wish: &Wish, fault: Option<&Fault>) -> Markup {
    let phrases = view.phrases();
    let is_bad = |name: &str| {
        let mut fields = fault.into_iter().flat_map(|fault| &fault.violations);
        let is_bad = fields.any(|one| filter_of(&one.field) == Some(name));
        is_bad.then_some("true")
    };
    html! {
        form id="filters" class="filters" method="get" action="/" aria-label=(phrases.filters) {
            @if wish.is_tongue_named { input type="hidden" name="ui" value=(wish.tongue.tag()); }
            @if wish.layout == Layout::Lanes { input type="hidden" name="view" value=(LANES); }
            label {
                span { (phrases.words) }
                input type="search" name="q" value=(wish.words) dir="auto" autocomplete="off"
                    aria-invalid=[is_bad("q")] aria-describedby=[is_bad("q").map(|_| "e-q")];
            }
            label {
                span { (phrases.languages) }
                input type="text" name="languages" value=(wish.languages) dir="ltr"
                    placeholder=(phrases.languages_hint) autocomplete="off" spellcheck="false"
                    aria-invalid=[is_bad("languages")]
                    aria-describedby=[is_bad("languages").map(|_| "e-languages")];
            }
            label {
                span { (phrases.urgency) }
                select name="urgency" aria-invalid=[is_bad("urgency")]
                    aria-describedby=[is_bad("urgency").map(|_| "e-urgency")] {
                    @for (value, name) in phrases.urgencies {
                        option value=(value) selected[value == wish.urgency] { (name) }
                    }
                    // As an address may ask, too.
                    @if phrases.urgencies.iter().all(|(value, _)| *value != wish.urgency) {
                        option value=(wish.urgency) selected { "1–" (wish.urgency) }
                    }
                }
            }
            details open[!wish.topics.is_empty()] {
                summary { (phrases.topics) }
                (topics(view, &wish.topics))
            }
            p class="buttons" {
                button type="submit" { (phrases.apply) }
                @if wish.is_filtered() { a href=(wish.all()) { (phrases.clear) } }
            }
        }
    }
}

/// All topics to choose from.
pub fn topics(view: &View<'_>, chosen: &[String]) -> Markup {
    let entries = view.taxonomy.entries();
    let known: Vec<&str> = entries.iter().map(|entry| entry.topic.as_str()).collect();
    // Aliases, and topics that the taxonomy has lost: a filter must not change by being shown.
    let others = chosen.iter().map(String::as_str);
    let others = others.filter(|topic| !known.contains(topic));
    html! {
        ul {
            @for topic in known.iter().copied().chain(others) {
                li class=[topic.contains('.').then_some("beneath")] {
                    label {
                        input type="checkbox" name="topics" value=(topic)
                            checked[chosen.iter().any(|wanted| wanted == topic)];
                        span { (view.topic_name(topic)) }
                    }
                }
            }
        }
    }
}

/// The link to the same page in the other language.
pub fn tongue_link(wish: &Wish) -> Markup {
    let other: Tongue = wish.tongue.other();
    html! {
        a href=(wish.in_tongue(other)) lang=(other.tag()) hreflang=(other.tag()) {
            (wish.tongue.phrases().other_tongue)
        }
    }
}

/// The filter at which a violation belongs, by its name in the address.
fn filter_of(field: &str) -> Option<&'static str> {
    let (root, _) = field.split_once('[').unwrap_or((field, ""));
    match root {
        "filter.words" => Some("q"),
        "filter.languages" => Some("languages"),
        "filter.urgency" => Some("urgency"),
        "filter.topics" => Some("topics"),
        _ => None,
    }
}

fn alert(words: Words<'_>, fault: &Fault) -> Markup {
    let phrases = words.tongue.phrases();
    let filters = [
        ("q", phrases.words),
        ("languages", phrases.languages),
        ("urgency", phrases.urgency),
        ("topics", phrases.topics),
    ];
    let of = |name: &str| {
        let own = fault.violations.iter();
        own.filter(|one| filter_of(&one.field) == Some(name))
            .collect::<Vec<_>>()
    };
    html! {
        div class="problem" role="alert" {
            h2 { (phrases.problem) }
            @if fault.violations.iter().any(|one| filter_of(&one.field).is_some()) {
                @for (name, label) in filters {
                    @let own = of(name);
                    @if !own.is_empty() {
                        p id={ "e-" (name) } {
                            (label) ":"
                            @for one in own { " " (words.wrong(&one.wrong)) }
                        }
                    }
                }
            } @else { (words.fault(fault)) }
            p { code { (fault.reason) } }
        }
    }
}

/// The story that the script makes others of.
fn blank() -> Story {
    Story {
        id: String::new(),
        revision: 0,
        action: Action::Publish,
        time: None,
        topics: vec![String::new()],
        article: Article::default(),
    }
}
