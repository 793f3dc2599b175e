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
}

/// Pretty objects may follow each other, and a list has its elements.
#[test]
fn layouts() {
    let both =
        |one: usize, other: usize| vec![(one, Ok("a:1".to_owned())), (other, Ok("a:2".to_owned()))];
    let pretty = "{\n \"uri\": \"a:1\"\n}\n{\n \"uri\": \"a:2\"\n}\n";
    assert_eq!(check(pretty), both(1, 4));
    assert_eq!(check(&pretty.replace('\n', "\r\n")), both(1, 4));
    assert_eq!(
        check("[\n{\"uri\": \"a:1\"},\n {\"uri\": \"a:2\"}]\n"),
        both(2, 3)
    );
    assert_eq!(check("[{\"uri\": \"a:1\"},{\"uri\": \"a:2\"}]"), both(1, 1));
    assert_eq!(check("{\"uri\": \"a:1\"} {\"uri\": \"a:2\"}"), both(1, 1));
    assert_eq!(check("[]"), []);
    let tricky = "{\"uri\": \"a:1\", \"slugline\": \"}\\\"{[\\\\\"}\n{\"uri\": \"a:2\"}";
    assert_eq!(check(tricky), both(1, 2));
}

/// What is cut short costs itself alone; a list that is no list ends there.
#[test]
fn cut_short() {
    for broken in [
        "{\"uri\": \"a:1",
        "{\"uri\": \"a:1\"",
        "{\"uri\": \"a:1\", \"headlines\": [{\"value\": \"x\"}]",
        "\"news\"",
        "{\"uri\" \"a\"}",
    ] {
        let read = check(&format!("{broken}\n{{\"uri\": \"a:2\"}}"));
        assert!(
            matches!(&read[..], [(_, Err(_)), (2, Ok(uri))] if uri == "a:2"),
            "{broken}: {read:?}"
        );
    }
    for (list, count) in [
        ("[{}", 2),
        ("[{} {}]", 2),
        ("[,{}]", 1),
        ("[{},3,{}]", 3),
        ("[{}]x", 2),
    ] {
        let read = check(list);
        assert_eq!(read.len(), count, "{list}: {read:?}");
        assert!(read.iter().any(|(_, item)| item.is_err()), "{list}");
    }
}

/// Columns count characters, from the line's begin.
#[test]
fn columns() {
    let of = |text: &str| {
        items("a", text.as_bytes())
            .next()
            .unwrap()
            .place
            .to_string()
    };
    assert_eq!(
        of("  {\"slugline\": \"خبر\", \"urgency\": \"x\"}"),
        "a:1:36"
    );
    assert_eq!(
        of("{\n\"slugline\": \"خبر\", \"urgency\": \"x\"}"),
        "a:2:33"
    );
}

/// A byte order mark is read over; text that is not UTF-8 is refused.
#[test]
fn encodings() {
    assert_eq!(check("\u{FEFF}{\"uri\": \"a:1\"}"), [(1, Ok("a:1".into()))]);
    let bad: Vec<Item> = items("-", &b"{\"uri\": \"\xFF\"}\n{}"[..]).collect();
    assert!(matches!(
        bad[..],
        [Item { parsed: Err(_), .. }, Item { parsed: Ok(_), .. }]
    ));
}

/// Memory is bounded by one object, and junk by a hundred complaints.
#[test]
fn junk() {
    let long = format!(
        "{{\"uri\": \"{}\"}}\n{{\"uri\": \"a:2\"}}",
        "x".repeat(9 << 20)
    );
    assert!(matches!(&check(&long)[..], [(1, Err(_)), (2, Ok(_))]));
    assert_eq!(check(&"junk\n".repeat(1000)).len(), 101);
    let mut bytes = vec![0xFF, 0xFE, 0, b'{', b'"', 0x80];
    bytes.extend((0..=255).cycle().take(100_000));
    assert!(items("junk", &bytes[..]).all(|item| item.parsed.is_err()));
    assert_eq!(check(&"[".repeat(100_000)).len(), 2);
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
