use super::*;

fn place(line: usize) -> Place {
    Place {
        file: "a.jsonl".to_owned(),
        line,
        column: 0,
    }
}

/// The summary groups by reason and sentence, names some places and counts the others.
#[test]
fn summary() {
    let mut tally = Tally::new(Output::Text, &["-".to_owned()]);
    tally.refuse(&place(1), "expected value", 9).unwrap();
    for line in 2..22 {
        tally.refuse(&place(line), "has no headline", 9).unwrap();
    }
    for line in 100..130 {
        tally
            .fail(&place(line), &format!("sentence {line}\nand more"), None)
            .unwrap();
    }
    let text = tally.summary();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "51 of 51 articles were not accepted");
    assert_eq!(lines[1], "  not answered (30)");
    assert_eq!(lines[2], "    sentence 100");
    assert_eq!(lines[3], "    and more");
    assert_eq!(lines[4], "      at a.jsonl:100");
    assert_eq!(lines[62], "    and 10 more");
    assert_eq!(lines[63], "  not readable as an article (21)");
    assert_eq!(lines[64], "    expected value");
    assert_eq!(lines[65], "      at a.jsonl:1");
    assert_eq!(lines[66], "    has no headline");
    assert_eq!(
        lines[67],
        "      at a.jsonl:2, :3, :4, :5, :6, :7, :8, :9 and 12 more"
    );
    assert_eq!(lines.len(), 68);
}

/// Only invalid input is bad use; anything else is a failure.
#[test]
fn judgement() {
    let of = |unanswered_count: usize, refused_count: usize| {
        let mut tally = Tally::new(Output::Text, &[]);
        for line in 0..refused_count {
            tally.refuse(&place(line), "bad", 1).unwrap();
        }
        for line in 0..unanswered_count {
            tally.fail(&place(line), "away", None).unwrap();
        }
        tally.finish().map_err(|error| error.is::<BadUse>())
    };
    assert_eq!(of(0, 0), Err(true));
    assert_eq!(of(0, 3), Err(true));
    assert_eq!(of(1, 3), Err(false));
}
