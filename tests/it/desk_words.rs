//! What is wrong with a form of the desk, said at its fields in the words of its page: in English as
//! in Arabic, and never in those of the API.

use std::time::Duration;

use barid::wire::proto::v1::{Action, Article};
use http::StatusCode;
use jiff::Timestamp;

use crate::{
    desk_pages::{hidden, written},
    embargoes::{draft, list, submit},
    harness::{Node, article, new_id},
    http_articles::{Answer, get},
    status::form,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: i64 = 86_400;

/// Fields of a form.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// A wrong value of a form: of which field, and what is said there.
struct Case<'a> {
    fields: Fields<'a>,
    /// Whose fault it is, by its name in the page.
    at: &'a str,
    english: &'a str,
    arabic: &'a str,
}

/// What stands between two texts of a page, after a first one.
fn between<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = page
        .split_once(begin)
        .unwrap_or_else(|| panic!("no {begin} in {page}"));
    rest.split_once(end).map_or(rest, |(found, _)| found)
}

/// A text as a reader hears it: without markup.
fn heard(markup: &str) -> String {
    let mut is_tag = false;
    let shown = markup.chars().filter(|char| {
        let was_tag = is_tag;
        is_tag = (is_tag || *char == '<') && *char != '>';
        !was_tag && *char != '<'
    });
    shown
        .collect::<String>()
        .replace("&lt;", "<")
        .replace("&quot;", "\"")
}

/// What a page says in its alert and at one of its fields, which leads there and is marked; all of
/// it in the language of the page.
fn told(page: &Answer, at: &str) -> String {
    let page = page.text();
    let alert = between(page, "role=\"alert\"", "</div>");
    let error = between(page, &format!("id=\"e-{at}\" class=\"error\">"), "</p>");
    let field = between(page, &format!("id=\"f-{at}\""), ">");
    let described = between(field, "aria-describedby=\"", "\"");
    assert!(
        described.split(' ').any(|id| id == format!("e-{at}")),
        "{at}: {field}"
    );
    // A group of boxes is no field that can be marked.
    if at != "topics" {
        assert!(field.contains("aria-invalid=\"true\""), "{at}: {field}");
    }
    assert!(alert.contains(&format!("href=\"#f-{at}\"")), "{alert}");
    for said in [alert, error] {
        assert!(!said.contains("lang="), "{at}: {said}");
        let said = heard(said);
        assert!(
            !said.contains("article.") && !said.contains("embargoed_"),
            "{at}: {said}"
        );
    }
    let (alert, error) = (heard(alert), heard(error));
    assert!(alert.contains(&error), "{alert} does not say {error}");
    error
}

/// Sends a form in both languages, and hears what each says.
async fn check(node: &Node, path: &str, base: Fields<'_>, case: &Case<'_>) {
    for (ui, said) in [("en", case.english), ("ar", case.arabic)] {
        let id = new_id();
        let other = base
            .iter()
            .filter(|(name, _)| case.fields.iter().all(|(changed, _)| name != changed));
        let mut fields: Vec<_> = other.chain(case.fields).copied().collect();
        fields.push(("request_id", &id));
        let page = form(node, &format!("{path}?ui={ui}"), &[], &fields).await;
        assert_eq!(
            page.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{:?}: {}",
            case.fields,
            page.text()
        );
        let error = told(&page, case.at);
        assert!(error.contains(said), "{ui} {}: {error}", case.at);
    }
}

/// Every field of a story.
#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_told_what_is_wrong_with_it() {
    let node = Node::start();
    node.publish(Action::Publish, article("test:taken", "Taken"))
        .await
        .unwrap();
    let held = submit(&node, draft("test:held", "marker", HOUR)).await;
    let long = "x".repeat(512);
    let name = "y".repeat(201);
    let elements = "<b>".repeat(2001);
    let codes = "04000000 ".repeat(65);
    let (past, soon, later) = (written(-60), written(3600), written(7200));
    let (end, far) = (written(3600), written(400 * DAY));
    let base = [("headline", "Budget"), ("language", "en"), ("urgency", "5")];
    let many = [("topics", "ict"); 17];
    let case = |fields, at, english, arabic| Case {
        fields,
        at,
        english,
        arabic,
    };
    let cases: &[(Fields<'_>, &str, &str, &str)] = &[
        (
            &[("headline", " ")],
            "headline",
            "needs a headline",
            "لا بد للخبر من عنوان",
        ),
        (
            &[("headline", &long)],
            "headline",
            "It has 512 characters, and at most 500 are allowed. Shorten it.",
            "أدخلتم 512 حرفاً، ولا يُسمح بأكثر من 500 حرف. اختصروه.",
        ),
        (
            &[("subheadline", "ab\u{202E}c")],
            "subheadline",
            "“ab\\u{202e}c” holds the invisible character U+202E",
            "«ab\\u{202e}c» محرف خفي U+202E",
        ),
        (
            &[("body", "a\u{7}b")],
            "body",
            "invisible character U+0007",
            "محرف خفي U+0007",
        ),
        (
            &[("body", &elements), ("body_type", "html")],
            "body",
            "2001 HTML elements, and at most 2000",
            "أدخلتم 2001 عنصر من HTML، ولا يُسمح بأكثر من 2000 عنصر من HTML. بسّطوا تنسيقه.",
        ),
        (
            &[("language", "")],
            "language",
            "Give the language",
            "اكتبوا لغة الخبر",
        ),
        (
            &[("language", "english please")],
            "language",
            "“english please” is no tag of a language",
            "«english please» ليس رمز لغة",
        ),
        (
            &[("urgency", "12")],
            "urgency",
            "“12” is no urgency",
            "«12» ليست درجة أهمية",
        ),
        (
            &[("urgency", "high")],
            "urgency",
            "“high” is no urgency",
            "«high» ليست درجة أهمية",
        ),
        (
            &[("topics", "ict.telecon")],
            "topics",
            "There is no topic “ict.telecon”. The nearest is “Telecommunications” (ict.telecom)",
            "لا موضوع باسم «ict.telecon». أقرب الموضوعات إليه «الاتصالات» (ict.telecom)",
        ),
        (
            &[("topics", "No Topic")],
            "topics",
            "“No Topic” can’t be a topic",
            "لا يصلح «No Topic» موضوعاً",
        ),
        (
            &many,
            "topics",
            "It has 17 entries, and at most 16 are allowed. Leave some out.",
            "أدخلتم 17 مدخلاً، ولا يُسمح بأكثر من 16 مدخلاً. احذفوا بعضها.",
        ),
        (
            &[("subjects", "123")],
            "subjects",
            "“123” is no IPTC media topic",
            "«123» ليس رمز موضوع من IPTC",
        ),
        (
            &[("subjects", &codes)],
            "subjects",
            "It has 65 entries",
            "أدخلتم 65 مدخلاً",
        ),
        (
            &[("places", &name)],
            "places",
            "It has 201 characters",
            "أدخلتم 201 حرف،",
        ),
        (
            &[("page", "news.example/1")],
            "page",
            "“news.example/1” is no whole address of a page",
            "«news.example/1» ليس عنوان صفحة كاملاً",
        ),
        (
            &[("page", "https://news.example/a b")],
            "page",
            "“https://news.example/a b” is no whole address. Begin it",
            "«https://news.example/a b» ليس عنواناً كاملاً. ",
        ),
        (
            &[("uri", "budget 7")],
            "uri",
            "“budget 7” is no whole address",
            "«budget 7» ليس عنواناً كاملاً",
        ),
        (
            &[("uri", "test:taken")],
            "uri",
            "Another story has this identifier",
            "هذا المعرّف لخبر آخر",
        ),
        (
            &[("uri", "test:held"), ("embargoed_until", &soon)],
            "uri",
            "A draft under embargo has this identifier",
            "هذا المعرّف لمسودة مؤجَّلة",
        ),
        (
            &[("embargoed_until", &past)],
            "embargoed_until",
            "This time is over already",
            "مضى هذا الوقت",
        ),
        (
            &[("embargoed_until", "tomorrow")],
            "embargoed_until",
            "“tomorrow” is no time",
            "«tomorrow» ليس وقتاً",
        ),
        (
            &[("embargoed_until", &far)],
            "embargoed_until",
            "An embargo lasts 366 days at most",
            "لا يؤجَّل خبر أكثر من 366 يوماً",
        ),
        (
            &[("expires", &past)],
            "expires",
            "This time is over already",
            "مضى هذا الوقت",
        ),
        (
            &[("embargoed_until", &later), ("expires", &end)],
            "expires",
            "nobody would ever see it",
            "فلا يراه أحد",
        ),
    ];
    for (fields, at, english, arabic) in cases {
        check(
            &node,
            "/desk/new",
            &base,
            &case(fields, at, english, arabic),
        )
        .await;
    }

    // The draft of that name, where no embargo is asked for: no violation, and yet at its field.
    for (ui, said) in [
        ("en", "A draft under embargo until "),
        ("ar", "هذا المعرّف لمسودة مؤجَّلة حتى "),
    ] {
        let (id, uri) = (new_id(), ("uri", "test:held"));
        let fields = [&base[..], &[("request_id", &*id), uri]].concat();
        let page = form(&node, &format!("/desk/new?ui={ui}"), &[], &fields).await;
        assert_eq!(page.status, StatusCode::CONFLICT);
        let error = told(&page, "uri");
        let until = held.embargoed_until.unwrap();
        let until = Timestamp::from_second(until.seconds).unwrap().to_string();
        let day = until.split('T').next().unwrap();
        assert!(error.contains(said) && error.contains(day), "{error}");
    }

    // Several at once, each at its own.
    let id = new_id();
    let fields = [
        ("request_id", &*id),
        ("urgency", "5"),
        ("language", "x y"),
        ("uri", "x y"),
    ];
    let page = form(&node, "/desk/new?ui=ar", &[], &fields).await;
    for (at, said) in [
        ("headline", "عنوان"),
        ("language", "رمز لغة"),
        ("uri", "كاملاً"),
    ] {
        assert!(told(&page, at).contains(said), "{}", page.text());
    }
}

/// What else can be done with a story.
#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_told_what_is_wrong_with_them() {
    let node = Node::start();
    let story = node
        .publish(Action::Publish, article("test:1", "One"))
        .await
        .unwrap();
    let path = |task: &str| format!("/desk/articles/{}/{task}", story.article_id);
    let reasons = [
        ("correct", "Say what was wrong.", "اذكروا ما كان خطأً."),
        (
            "withhold",
            "Say why the story is withheld.",
            "اذكروا سبب حجب الخبر.",
        ),
        (
            "kill",
            "Say why the story is killed.",
            "اذكروا سبب إلغاء الخبر.",
        ),
    ];
    let seen = hidden(&get(&node, &path("kill")).await, "seen");
    let base = [
        ("seen", seen.as_str()),
        ("headline", "Two"),
        ("urgency", "5"),
        ("confirm", "yes"),
    ];
    for (task, english, arabic) in reasons {
        let fields = &[("edition_note", "")];
        let case = Case {
            fields,
            at: "edition_note",
            english,
            arabic,
        };
        check(&node, &path(task), &base, &case).await;
    }
    let unticked = Case {
        fields: &[("edition_note", "it is wrong")],
        at: "confirm",
        english: "Tick the box to confirm that.",
        arabic: "أشّروا في المربع للتأكيد.",
    };
    check(&node, &path("kill"), &base[..3], &unticked).await;

    // What no field is to blame for.
    let id = new_id();
    let fields = [
        ("request_id", &*id),
        ("headline", "A"),
        ("language", "en"),
        ("urgency", "5"),
    ];
    let sent = form(&node, "/desk/new", &[], &fields).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    for (ui, reused, unfit) in [
        (
            "en",
            "This form was sent before with another text",
            "what is killed stays so",
        ),
        ("ar", "أُرسل هذا النموذج من قبل بنص آخر", "ما أُلغي يبقى ملغى"),
    ] {
        let other = [&fields[..], &[("body", "B")]].concat();
        let page = form(&node, &format!("/desk/new?ui={ui}"), &[], &other).await;
        let alert = between(page.text(), "role=\"alert\"", "</div>");
        assert!(
            alert.contains(reused) && !alert.contains("lang="),
            "{alert}"
        );
        let page = get(&node, &format!("{}?ui={ui}", path("reinstate"))).await;
        let alert = between(page.text(), "role=\"alert\"", "</div>");
        assert!(alert.contains(unfit) && !alert.contains("lang="), "{alert}");
        // What only a program can send is told in general, with the API's words beside.
        let broken = [
            ("request_id", "7"),
            ("headline", "A"),
            ("language", "en"),
            ("urgency", "5"),
        ];
        let page = form(&node, &format!("/desk/new?ui={ui}"), &[], &broken).await;
        let alert = between(page.text(), "role=\"alert\"", "</div>");
        assert!(
            alert.contains("<span lang=\"en\" dir=\"ltr\">request_id: "),
            "{alert}"
        );
    }
}

/// Drafts under embargo.
#[tokio::test(flavor = "multi_thread")]
async fn drafts_are_told_what_is_wrong_with_them() {
    let node = Node::start();
    let expires = Timestamp::now().as_second() + 7200;
    let expires = prost_types::Timestamp {
        seconds: expires,
        nanos: 0,
    };
    let held = submit(
        &node,
        Article {
            expires: Some(expires),
            ..draft("test:form", "marker", HOUR)
        },
    )
    .await;
    let path = format!("/desk/embargoes/{}", held.article_id);
    let version = list(&node).await[0].version.to_string();
    let (past, late) = (written(-60), written(3 * 3600));
    for (act, until, english, arabic) in [
        (
            "move",
            past.as_str(),
            "Give a time in the future, at most 366 days ahead. To let the draft out at once, choose \
             “Release now”.",
            "اكتبوا وقتاً في المستقبل لا يبعد أكثر من 366 يوماً. ولنشر المسودة فوراً اختاروا «النشر الآن».",
        ),
        ("move", "", "Give a day and an hour", "اكتبوا يوماً وساعة"),
        ("move", "غداً", "“غداً” is no time", "«غداً» ليس وقتاً"),
        (
            "move",
            &late,
            "The story is over at 20",
            "ينتهي الخبر في 20",
        ),
        ("release", "", "Tick the box", "أشّروا في المربع"),
        ("cancel", "", "Tick the box", "أشّروا في المربع"),
    ] {
        let fields = &[
            ("act", act),
            ("version", version.as_str()),
            ("until", until),
        ];
        let case = Case {
            fields,
            at: act,
            english,
            arabic,
        };
        check(&node, &path, &[], &case).await;
    }
}

/// Addresses that name nothing, and filters that are none.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_told_what_is_wrong_with_them() {
    let node = Node::start();
    let word = format!("/?q={}", "w".repeat(65));
    for (path, english, arabic) in [
        (
            "/?topics=ict.telecon",
            "The nearest is “Telecommunications” (ict.telecom)",
            "«الاتصالات» (ict.telecom)",
        ),
        (
            "/?urgency=high",
            "“high” is no urgency",
            "الأهمية: «high» ليست",
        ),
        ("/?urgency=11", "“11” is no urgency", "الأهمية: «11» ليست"),
        (
            "/?languages=!!",
            "“!!” is no language",
            "اللغات: «!!» ليست لغة",
        ),
        (&*word, "is no word to look for", "ليست كلمة يُبحث عنها"),
        (
            "/desk/articles/7",
            "“7” names no story",
            "«7» لا يدل على خبر",
        ),
        (
            "/desk/webhooks/7",
            "“7” names no webhook",
            "«7» لا يدل على ويب هوك",
        ),
        (
            "/desk/webhooks?partner=A%20B",
            "“A B” can’t be a partner’s name",
            "لا يصلح «A B» اسماً لشريك",
        ),
        (
            "/desk/subscriptions?partner=A%20B",
            "“A B” can’t be a partner’s name",
            "لا يصلح «A B» اسماً لشريك",
        ),
        (
            "/desk/articles/6fa459ea-ee8a-3ca4-894e-db77e160355e",
            "There is no such story",
            "لا يوجد هذا الخبر",
        ),
        (
            "/desk/articles/6fa459ea-ee8a-3ca4-894e-db77e160355e/burn",
            "There is nothing at this address",
            "لا شيء في هذا العنوان",
        ),
        (
            "/desk/embargoes/6fa459ea-ee8a-3ca4-894e-db77e160355e",
            "There is no such draft any more",
            "لم تعد هذه المسودة موجودة",
        ),
    ] {
        for (ui, said) in [("en", english), ("ar", arabic)] {
            let sign = if path.contains('?') { '&' } else { '?' };
            let page = get(&node, &format!("{path}{sign}ui={ui}")).await;
            assert!(page.status.is_client_error(), "{path}");
            let alert = between(page.text(), "class=\"problem\" role=\"alert\"", "</div>");
            assert!(!alert.contains("lang="), "{path}: {alert}");
            assert!(heard(alert).contains(said), "{path}: {}", heard(alert));
        }
    }
    // A filter that is wrong is marked, and leads to what is said of it.
    let page = get(&node, "/?languages=!!&ui=ar").await;
    let field = between(page.text(), "name=\"languages\"", ">");
    assert!(
        field.contains("aria-invalid=\"true\" aria-describedby=\"e-languages\""),
        "{field}"
    );
    assert!(page.text().contains("<p id=\"e-languages\">"));
}

/// Keys that are not taken.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_told_what_is_wrong_with_them() {
    let node = Node::start_with_keys(&[]);
    for (target, said) in [
        ("/desk/new?ui=en", "Nobody has this key"),
        ("/desk/new?ui=ar", "لا أحد يملك هذا المفتاح"),
    ] {
        let fields = [("target", target), ("key", "barid_nonsense")];
        let headers = [("accept", "text/html"), ("sec-fetch-site", "same-origin")];
        let page = form(&node, "/desk/session", &headers, &fields).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
        let alert = between(page.text(), "role=\"alert\"", "</div>");
        assert!(alert.contains(said) && !alert.contains("lang="), "{alert}");
    }
}
