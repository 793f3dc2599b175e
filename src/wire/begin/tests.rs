use super::*;

fn check(text: &str) -> Result<From, BeginError> {
    text.parse::<Begin>().map(|begin| begin.0)
}

/// Each form of `--from` is told apart.
#[test]
fn begins() {
    assert_eq!(check("now"), Ok(From::Now(())));
    assert_eq!(check("earliest"), Ok(From::Earliest(())));
    assert_eq!(check("last:20"), Ok(From::Last(20)));
    assert_eq!(check("abcdefgh-42"), Ok(From::After("abcdefgh-42".into())));
    let since = prost_types::Timestamp {
        seconds: 1_782_882_000,
        nanos: 0,
    };
    assert_eq!(check("2026-07-01T08:00:00+03:00"), Ok(From::Since(since)));
}

/// What is none of them is refused with what would be right.
#[test]
fn no_begins() {
    for last in ["last:0", "last:1001", "last:", "last:-1", "last:x"] {
        assert_eq!(check(last), Err(BeginError::Last), "{last}");
    }
    let time = check("2026-07-01T08:00:00");
    assert!(matches!(time, Err(BeginError::Time(_))), "{time:?}");
    for unknown in ["", "yesterday", "abcdefgh-", "abcdefgh-042", "NOW"] {
        assert_eq!(check(unknown), Err(BeginError::Unknown), "{unknown}");
    }
}
