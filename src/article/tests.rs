//! Identities, urgencies and words.

use std::collections::HashSet;

use super::*;

#[test]
fn ids_are_derived_as_rfc_9562_says() {
    // Computed with Python's uuid.uuid5(uuid.NAMESPACE_URL, …).
    assert_eq!(
        ArticleId::from_uri("https://wire.example/1").to_string(),
        "5867936e-7acf-5274-a797-9926751ee588"
    );
    let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    assert_eq!(
        ArticleId::from_uri(&format!("urn:uuid:{id}")).to_string(),
        id
    );
}

#[test]
fn one_form_of_uuid_is_read() {
    let good = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    assert!(good.parse::<ArticleId>().is_ok());
    for bad in [
        "",
        "6ba7b8109dad11d180b400c04fd430c8",
        "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}",
    ] {
        assert_eq!(bad.parse::<ArticleId>(), Err(IdError));
    }
}

#[test]
fn any_urgency_that_an_article_ever_had_reaches_a_filter() {
    let urgency = |number| Urgency::new(number).unwrap();
    let ever = Urgencies::default().with(urgency(5)).with(urgency(3));
    assert!(!ever.reach(urgency(2)));
    assert!(ever.reach(urgency(3)));
    assert!(ever.reach(urgency(9)));
    assert_eq!(Urgency::new(0), None);
    assert_eq!(Urgency::new(10), None);
}

#[test]
fn words_are_compared_without_case_diacritics_and_tatweel() {
    let set = |text: &str| text::words(text);
    let expected: HashSet<String> = ["cyber", "strasse", "fi"].map(str::to_owned).into();
    assert_eq!(set("CYBER, Straße! ﬁ"), expected);
    assert_eq!(set("مُحَادَثَاتٌ"), set("محادثات"));
    assert_eq!(set("دمـــشق"), set("دمشق"));
    // Where a word may be broken is none of it.
    assert_eq!(set("soft\u{ad}hyphen"), set("softhyphen"));
    assert!(!set("cybersecurity").contains("cyber"));
}

#[test]
fn the_plain_text_of_html_keeps_words_whole_and_apart() {
    let html =
        "<p>one<b>two</b></p><p>three &amp; <a href=\"https://x.example/hidden\">four</a></p>";
    let words = text::words(&text::plain(html, BodyType::Html));
    let expected: HashSet<String> = ["onetwo", "three", "four"].map(str::to_owned).into();
    assert_eq!(words, expected);
}

#[test]
fn a_notice_keeps_nothing_of_the_text() {
    let article = Article {
        headline: "h".into(),
        body: "b".into(),
        byline: "by".into(),
        slugline: "s".into(),
        edition_note: "why".into(),
        ..Article::default()
    };
    let notice = Article {
        edition_note: "why".into(),
        ..Article::default()
    };
    assert_eq!(article.into_notice(), notice);
}
