use clap::Parser as _;

use super::*;

#[derive(Debug, clap::Parser)]
struct Words {
    #[command(flatten)]
    explain: ExplainArgs,
}

/// A file that exists is a file, whatever it is called; else an id or a uri is a story.
#[test]
fn targets() {
    let is_story = |text: &str| matches!(Target::of(text), Target::Story(..));
    for text in [
        "tag:wire.example,2026:1",
        "0f3a9c1b-9d2c-4f0a-8a53-3f6f3c0e1b11",
        "https://wire.example/1",
    ] {
        assert!(is_story(text), "{text}");
    }
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("tag:wire.example,2026:1");
    std::fs::write(&path, "").unwrap();
    for text in ["-", "story.json", "/no/such", path.to_str().unwrap()] {
        assert!(!is_story(text), "{text}");
    }
}

/// What can't be asked together is told before anything is read or sent.
#[test]
fn misuse() {
    let told = |words: &[&str]| {
        let all = ["explain"].iter().chain(words);
        Words::try_parse_from(all).unwrap().explain.misuse()
    };
    for (words, remedy) in [
        (&["--since", "24h"][..], "--taxonomy FILE"),
        (
            &["--since", "24h", "--taxonomy", "a", "b"],
            "leave out --since",
        ),
        (&["--taxonomy", "a"], "--since 24h"),
        (&[], "name files"),
        (&["a.json", "--topics", "ict"], "--since"),
    ] {
        assert!(told(words).unwrap().contains(remedy), "{words:?}");
    }
    for words in [
        &["a.json", "--taxonomy", "b", "--no-inference"][..],
        &["--since", "24h", "--taxonomy", "a", "--topics", "ict"],
    ] {
        assert_eq!(told(words), None, "{words:?}");
    }
}

/// A taxonomy is read up to its limit; one that can't be sent is told with its name.
#[test]
fn taxonomy_files() {
    let dir = tempfile::TempDir::new().unwrap();
    let read = |bytes: &[u8]| {
        let path = dir.path().join("new.toml");
        std::fs::write(&path, bytes).unwrap();
        TaxonomyFile::read(path.to_str().unwrap()).map_err(|error| error.to_string())
    };
    let most = vec![b'#'; TAXONOMY_BYTES_MAX];
    assert_eq!(read(&most).unwrap().text.len(), TAXONOMY_BYTES_MAX);
    for (bytes, why) in [
        ([&most[..], b"#"].concat(), "more than 1048576 bytes"),
        ("é".repeat(TAXONOMY_BYTES_MAX).into_bytes(), "more than"),
        (b"\xff".to_vec(), "not UTF-8"),
        (b" \n".to_vec(), "empty"),
    ] {
        let error = read(&bytes).unwrap_err();
        assert!(error.contains(why) && error.contains("new.toml"), "{error}");
    }
    for name in ["/no/such.toml", dir.path().to_str().unwrap()] {
        assert!(
            TaxonomyFile::read(name)
                .unwrap_err()
                .to_string()
                .contains(name)
        );
    }
}
