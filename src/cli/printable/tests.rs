use super::*;

/// Escapes, separators, overrides and invisible tags don't pass; joiners of Persian and emoji do.
#[test]
fn what_passes() {
    assert_eq!(printable("a\x1b[2Jb\u{9b}31mc\r\nd\0"), "a [2Jb 31mc  d");
    assert_eq!(
        printable("a\u{202E}b\u{2067}c\u{2069}d\u{2028}e\u{E0041}f"),
        "a b c d e f"
    );
    assert_eq!(printable("می\u{200C}خواهم"), "می\u{200C}خواهم");
    assert_eq!(printable("👩\u{200D}🔬"), "👩\u{200D}🔬");
    assert_eq!(
        paragraphs("one\x07\n  two\r\n\nthree \n"),
        "one\n  two\n\nthree"
    );
}

/// A stack of accents is one replacement character; the Arabic ones of one letter stay.
#[test]
fn stacks() {
    let stack = format!("a{}b", "\u{0301}".repeat(1000));
    assert_eq!(printable(&stack), "\u{FFFD}b");
    assert_eq!(printable("مُحَمَّدٌ"), "مُحَمَّدٌ");
}

/// Cutting counts columns, never parts a letter from its marks, and fits any width.
#[test]
fn cuts() {
    assert_eq!(cut("Damascus", 8), "Damascus");
    assert_eq!(cut("Damascus", 7), "Damasc…");
    assert_eq!(cut("Dam ascus", 5), "Dam…");
    assert_eq!(cut("大马士革", 5), "大马…");
    assert_eq!(cut("e\u{0301}e\u{0301}e\u{0301}", 2), "e\u{0301}…");
    for text in [
        "دمشق وعمّان تبحثان",
        "大马士革和安曼",
        "Damascus and Amman",
        "👩\u{200D}🔬👩\u{200D}🔬",
    ] {
        for room in 0..20 {
            assert!(width_of(&cut(text, room)) <= room, "{text} in {room}");
            assert_eq!(width_of(&cell(text, room)), room, "{text} in {room}");
        }
    }
}

/// Lam and alef take a column each; marks take none, wide characters two.
#[test]
fn widths() {
    assert_eq!(width_of("الاستثمار"), 9);
    assert_eq!(width_of("عمّان"), 4);
    assert_eq!(width_of("大马"), 4);
    assert_eq!(width_of("\u{2068}a\u{2069}"), 1);
}

/// Only what may run right to left is isolated, and the isolate is closed before the filling.
#[test]
fn isolates() {
    assert_eq!(cell("Head", 6), "Head  ");
    assert_eq!(cell("خبر", 6), "\u{2068}خبر\u{2069}   ");
    assert_eq!(isolated("Syria: سوريا"), "\u{2068}Syria: سوريا\u{2069}");
    assert_eq!(isolated("Genève 2026"), "Genève 2026");
}
