//! Sheet: a form as a page.

use maud::{Markup, html};

use crate::{
    fault::{Fault, Kind as FaultKind, Violation, wrong::Wrong},
    server::http::{
        admission::CSRF_FIELD,
        dashboard::{
            assets::COMPOSE_SCRIPT,
            compose::{
                Task,
                draft::{CONFIRM, Draft, HTML, field_of},
            },
            diff::Piece,
            page,
            phrases::{desk::DeskPhrases, wrong::Words},
            story::{Story, View},
        },
    },
};

/// Languages that are proposed.
const LANGUAGES: [&str; 8] = ["ar", "en", "fr", "es", "de", "ru", "tr", "ur"];

/// Why a form was not taken.
#[derive(Debug)]
pub struct Trouble {
    /// What is wrong.
    pub fault: Fault,
    /// The revision that came in between, and what it changed.
    pub overtaken: Option<(u32, Vec<Vec<Piece>>)>,
}

/// What is to blame for a refusal.
struct Blame {
    /// The field, by its name.
    name: Option<&'static str>,
    /// What is wrong, and what to do.
    said: Markup,
}

/// A form with everything that stands in it.
#[derive(Clone, Copy, Debug)]
pub struct Sheet<'a> {
    task: Task,
    story: Option<&'a Story>,
    draft: &'a Draft,
    trouble: Option<&'a Trouble>,
}

/// How a field is written in.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// One line.
    Line,
    /// One line, from left to right whatever the language.
    Code,
    /// A time, in UTC.
    Time,
    /// So many lines.
    Lines(u32),
}

impl<'a> Sheet<'a> {
    /// A form for a task, on a story if it is about one.
    pub fn new(
        task: Task,
        story: Option<&'a Story>,
        draft: &'a Draft,
        trouble: Option<&'a Trouble>,
    ) -> Self {
        Self {
            task,
            story,
            draft,
            trouble,
        }
    }

    /// The page of it.
    pub fn page(self, view: &View<'_>) -> Markup {
        let desk = view.tongue.desk();
        let heading = self.heading(desk);
        let story = self.story;
        let content = html! {
            (page::top(view))
            main class="sheet" {
                h2 { (heading) }
                @if let Some(story) = story {
                    p class="about" lang=(story.headline_language(view.tongue)) dir="auto" {
                        a href=(view.address(&story.id)) { (story.headline(view.phrases())) }
                    }
                }
                @if let Some(trouble) = self.trouble { (self.alert(view, trouble)) }
                @match self.task {
                    Task::Withhold => p class="hint" { (desk.withhold_hint) },
                    Task::Kill => p class="problem" { (desk.kill_hint) },
                    Task::New | Task::Update | Task::Correct | Task::Reinstate => {}
                }
                form class={ "compose to-" (self.task.path()) } method="post"
                    action=(self.target(view)) data-sending=(desk.sending) {
                    @if let Some(csrf) = view.csrf {
                        input type="hidden" name=(CSRF_FIELD) value=(csrf);
                    }
                    input type="hidden" name="request_id" value=(self.draft.request_id);
                    input type="hidden" name="seen" value=(self.draft.seen);
                    @if self.task.action().is_notice() {
                        (self.reason(view))
                    } @else {
                        (self.fields(view))
                        (self.replacing(desk))
                    }
                    p class="buttons" {
                        button type="submit" { (self.button(desk)) }
                        a href=(self.story.map_or_else(|| view.front(), |story| view.address(&story.id))) {
                            (desk.cancel)
                        }
                    }
                }
            }
        };
        let files = html! { script type="module" src=(COMPOSE_SCRIPT.path()) {} };
        page::document_with(view.tongue, heading, &files, &content)
    }

    fn heading(self, desk: &'static DeskPhrases) -> &'static str {
        let [update, correct, withhold, kill, reinstate] = desk.tasks;
        match self.task {
            Task::New => desk.new,
            Task::Update => update,
            Task::Correct => correct,
            Task::Withhold => withhold,
            Task::Kill => kill,
            Task::Reinstate => reinstate,
        }
    }

    fn button(self, desk: &'static DeskPhrases) -> &'static str {
        match self.task {
            Task::New => desk.publish,
            _ => self.heading(desk),
        }
    }

    /// Where it is sent.
    fn target(self, view: &View<'_>) -> String {
        match self.story {
            None => format!("/desk/new{}", view.suffix),
            Some(story) => view.task(&story.id, self.task),
        }
    }

    /// What is wrong with the field of a name.
    fn errors(self, words: Words<'_>, name: &str) -> Vec<Markup> {
        let blames = self.trouble.map(|trouble| blames(words, &trouble.fault));
        let own = blames.into_iter().flatten();
        let own = own.filter(|blame| blame.name == Some(name));
        own.map(|blame| blame.said).collect()
    }

    /// The label of a field.
    fn label(self, desk: &DeskPhrases, name: &str) -> &'static str {
        match name {
            "edition_note" if self.task.action().needs_note() => desk.label("reason"),
            name => desk.label(name),
        }
    }

    fn alert(self, view: &View<'_>, trouble: &Trouble) -> Markup {
        let desk = view.tongue.desk();
        html! {
            div class="problem" role="alert" tabindex="-1" {
                @if let Some((revision, change)) = &trouble.overtaken {
                    h3 { (desk.overtaken[0]) (revision) (desk.overtaken[1]) }
                    p { (desk.overtaken_hint) }
                    @if let Some(story) = self.story {
                        @if change.is_empty() {
                            p { (view.phrases().unchanged) }
                        } @else {
                            (view.change(change, &story.article.language))
                        }
                        p { a href=(view.address(&story.id)) { (desk.newest) } }
                    }
                } @else {
                    @if trouble.fault.kind == FaultKind::Unavailable {
                        h3 { (desk.unsure) }
                        p { (desk.unsure_hint) }
                    } @else { h3 { (desk.refused) } }
                    ul {
                        @for blame in blames(view.words(), &trouble.fault) {
                            li { (self.line(desk, &blame)) }
                        }
                    }
                    @if trouble.fault.violations.is_empty() { p { code { (trouble.fault.reason) } } }
                }
            }
        }
    }

    /// What is to blame, as a line of the summary: as a link to its field, if it has one.
    fn line(self, desk: &DeskPhrases, blame: &Blame) -> Markup {
        html! {
            @match blame.name {
                Some(CONFIRM) => a href="#f-confirm" { (blame.said) },
                Some(name) => { a href={ "#f-" (name) } { (self.label(desk, name)) } ": " (blame.said) }
                None => (blame.said),
            }
        }
    }

    /// What a withdrawal takes.
    fn reason(self, view: &View<'_>) -> Markup {
        let is_bad = !self.errors(view.words(), CONFIRM).is_empty();
        html! {
            (self.field(view, "edition_note", Kind::Lines(3), true))
            @if self.task == Task::Kill {
                div class="field" {
                    label class="tick" {
                        input type="checkbox" name=(CONFIRM) value="yes" id="f-confirm" required
                            aria-invalid=[is_bad.then_some("true")] aria-describedby="e-confirm";
                        span { (view.tongue.desk().confirm) }
                    }
                    (self.error(view, CONFIRM))
                }
            }
        }
    }

    /// What is ticked for a story that is to take the place of a draft.
    fn replacing(self, desk: &'static DeskPhrases) -> Markup {
        html! {
            @if self.draft.replaces != 0 {
                div class="field" {
                    input type="hidden" name="replaces" value=(self.draft.replaces);
                    label class="tick" {
                        input type="checkbox" name=(CONFIRM) value="yes" id="f-confirm"
                            checked[self.draft.is_confirmed];
                        span { (desk.replace) }
                    }
                }
            }
        }
    }

    fn fields(self, view: &View<'_>) -> Markup {
        let desk = view.tongue.desk();
        let [story, belongs, about] = desk.groups;
        let line = |name: &str, kind: Kind| self.field(view, name, kind, false);
        html! {
            fieldset {
                legend { (story) }
                @if self.task == Task::Correct {
                    (self.field(view, "edition_note", Kind::Lines(2), true))
                }
                (self.field(view, "headline", Kind::Line, true))
                (line("subheadline", Kind::Line))
                (line("body", Kind::Lines(14)))
                div class="row" {
                    (self.choice(view, "body_type", &[("text", desk.body_types[0]), (HTML, desk.body_types[1])]))
                    (self.language(view))
                    (self.urgency(view))
                }
                @if self.task != Task::Correct { (line("edition_note", Kind::Lines(2))) }
            }
            fieldset {
                legend { (belongs) }
                (self.topics(view))
                (line("subjects", Kind::Code))
                (line("places", Kind::Lines(2)))
            }
            fieldset {
                legend { (about) }
                div class="row" { (line("byline", Kind::Line)) (line("located", Kind::Line)) }
                div class="row" { (line("slugline", Kind::Line)) (line("source", Kind::Line)) }
                (line("usage_terms", Kind::Lines(2)))
                (line("page", Kind::Code))
                div class="row" { (line("embargoed_until", Kind::Time)) (line("expires", Kind::Time)) }
                @if self.task == Task::New { (line("uri", Kind::Code)) }
            }
        }
    }

    fn field(self, view: &View<'_>, name: &str, kind: Kind, is_required: bool) -> Markup {
        let desk = view.tongue.desk();
        let value = self.draft.text(name);
        let invalid = self.invalid(view, name);
        let direction = if matches!(kind, Kind::Code | Kind::Time) {
            "ltr"
        } else {
            "auto"
        };
        let notes = format!("h-{name} e-{name}");
        html! {
            div class="field" {
                label for={ "f-" (name) } {
                    (self.label(desk, name))
                    @if is_required { small { " · " (desk.required) } }
                }
                @if let Kind::Lines(rows) = kind {
                    textarea id={ "f-" (name) } name=(name) rows=(rows) dir=(direction)
                        required[is_required] aria-invalid=[invalid] aria-describedby=(notes) {
                        // The first line end is none of the text (HTML, "textarea").
                        "\n" (value)
                    }
                } @else {
                    input type=(if matches!(kind, Kind::Time) { "datetime-local" } else { "text" })
                        id={ "f-" (name) } name=(name) value=(value) dir=(direction)
                        list=[(name == "language").then_some("languages")] required[is_required] aria-invalid=[invalid] aria-describedby=(notes)
                        autocomplete="off";
                }
                (self.notes(view, name))
            }
        }
    }

    /// The mark of a field with which something is wrong.
    fn invalid(self, view: &View<'_>, name: &str) -> Option<&'static str> {
        let is_bad = !self.errors(view.words(), name).is_empty();
        is_bad.then_some("true")
    }

    /// The hint of a field, and what is wrong with it.
    fn notes(self, view: &View<'_>, name: &str) -> Markup {
        let hint = view.tongue.desk().hint(name);
        html! {
            p id={ "h-" (name) } class="hint" { @if let Some(hint) = hint { (hint) } }
            (self.error(view, name))
        }
    }

    /// What is wrong with a field.
    fn error(self, view: &View<'_>, name: &str) -> Markup {
        html! {
            p id={ "e-" (name) } class="error" {
                @for (place, said) in self.errors(view.words(), name).iter().enumerate() {
                    @if place > 0 { " " }
                    (said)
                }
            }
        }
    }

    fn choice(self, view: &View<'_>, name: &str, options: &[(&str, &str)]) -> Markup {
        let chosen = self.draft.text(name);
        html! {
            div class="field" {
                label for={ "f-" (name) } { (view.tongue.desk().label(name)) }
                select id={ "f-" (name) } name=(name) aria-invalid=[self.invalid(view, name)]
                    aria-describedby={ "e-" (name) } {
                    @for (value, text) in options {
                        option value=(value) selected[*value == chosen] { (text) }
                    }
                }
                (self.notes(view, name))
            }
        }
    }

    fn urgency(self, view: &View<'_>) -> Markup {
        let desk = view.tongue.desk();
        let numbers = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
        let options: Vec<(&str, &str)> = numbers.into_iter().zip(desk.urgencies).collect();
        self.choice(view, "urgency", &options)
    }

    /// The language of a new story, or what it was written in.
    fn language(self, view: &View<'_>) -> Markup {
        let desk = view.tongue.desk();
        let language = self.draft.text("language");
        if self.task != Task::New {
            return html! {
                div class="field" {
                    span class="label" { (desk.label("language")) }
                    output dir="ltr" { (language) }
                }
            };
        }
        html! {
            (self.field(view, "language", Kind::Code, true))
            datalist id="languages" {
                @for tag in LANGUAGES { option value=(tag) {} }
            }
        }
    }

    fn topics(self, view: &View<'_>) -> Markup {
        let desk = view.tongue.desk();
        html! {
            fieldset class="field topics-field" id="f-topics" aria-describedby="h-topics e-topics" {
                legend { (desk.label("topics")) }
                input type="search" class="pick" aria-label=(desk.pick) placeholder=(desk.pick)
                    autocomplete="off" hidden;
                (page::topics(view, &self.draft.topics))
                (self.notes(view, "topics"))
            }
        }
    }
}

/// Everything that is to blame: the fields, or the form as a whole.
fn blames(words: Words<'_>, fault: &Fault) -> Vec<Blame> {
    // The one field that a refusal means which names none.
    let meant = match fault.reason {
        "TOPICS_TOO_MANY" => Some("topics"),
        "ARTICLE_EMBARGOED" => Some("uri"),
        _ => None,
    };
    let whole = || Blame {
        name: meant,
        said: words.refusal(fault),
    };
    let blame = |violation: &Violation| match (field_of(violation), &violation.wrong) {
        // No editor sees such a field.
        (None, Wrong::Told(_)) => whole(),
        (name, wrong) => Blame {
            name,
            said: words.wrong(wrong),
        },
    };
    if fault.violations.is_empty() {
        return vec![whole()];
    }
    fault.violations.iter().map(blame).collect()
}
