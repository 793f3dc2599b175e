use super::*;

fn check(text: &str) -> Vec<(usize, Result<String, usize>)> {
    items("news.jsonl", text.as_bytes())
        .map(|item| match item.parsed {
            Ok(parsed) => (item.place.line, Ok(parsed.article.uri)),
            Err(_) => (item.place.line, Err(item.place.column)),
        })
        .collect()
}

/// Each line is an object with its line number; empty lines count but are none.
#[test]
fn json_lines() {
    let read = check("{\"uri\": \"a:1\"}\n\n{\"uri\": \"a:2\"}");
    assert_eq!(read, [(1, Ok("a:1".into())), (3, Ok("a:2".into()))]);
    assert_eq!(check(""), []);
    assert_eq!(check("\n \n"), []);
}

/// A bad line is refused by its place; the others are read.
#[test]
fn bad_line() {
    let read = check("{\"uri\": \"a:1\"}\n{\"uri\": 5}\nnews\n{\"uri\": \"a:2\"}\n");
    assert_eq!(read[0], (1, Ok("a:1".into())));
    assert!(matches!(read[1], (2, Err(column)) if column > 0));
    assert!(matches!(read[2], (3, Err(_))));
    assert_eq!(read[3], (4, Ok("a:2".into())));
}

/// One object over several lines is one article, and its mistakes keep their lines.
#[test]
fn pretty_object() {
    assert_eq!(
        check("\n{\n \"uri\": \"a:1\"\n}\n"),
        [(2, Ok("a:1".into()))]
    );
    let read = check("{\n \"uri\": \"a:1\",\n \"urgency\": \"high\"\n}\n");
    assert!(matches!(read[..], [(3, Err(_))]), "{read:?}");
    let read = check("{\n \"uri\": \"a:1\"\n");
    assert!(matches!(read[..], [(_, Err(_))]), "{read:?}");
    let list = check("[\n{\"uri\": \"a:1\"}]");
    assert!(matches!(list[..], [(1, Err(_))]), "{list:?}");
}

/// A byte order mark is read over; text that is not UTF-8 is refused.
#[test]
fn encodings() {
    assert_eq!(check("\u{FEFF}{\"uri\": \"a:1\"}"), [(1, Ok("a:1".into()))]);
    let bad: Vec<Item> = items("-", &b"{\"uri\": \"\xFF\"}\n{}"[..]).collect();
    assert!(matches!(bad[..], [Item { parsed: Err(_), .. }]));
}

/// Places read as editors jump to them.
#[test]
fn place() {
    let mut place = Place {
        file: "a.json".to_owned(),
        line: 2,
        column: 7,
    };
    assert_eq!(place.to_string(), "a.json:2:7");
    place.column = 0;
    assert_eq!(place.to_string(), "a.json:2");
}
