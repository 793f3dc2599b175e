//! The command line as people and scripts meet it: the real binary, its output and exit codes.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

use barid::wire::proto::v1::Action;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Node, article, article_of, barid, eventually, everything, noted, request};

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end, with bytes on stdin.
pub fn run(args: &[&str], stdin: &[u8]) -> Said {
    run_with(barid(), args, stdin)
}

fn run_with(mut command: Command, args: &[&str], stdin: &[u8]) -> Said {
    let mut child = command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut pipe, stdin) = (child.stdin.take().unwrap(), stdin.to_vec());
    let writer = thread::spawn(move || {
        // A command that does not read its stdin may have ended before.
        let _gone = pipe.write_all(&stdin);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A running command, killed when dropped.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = barid()
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Everything else that it prints, and its exit code.
    fn rest(mut self) -> Said {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.lines.read_to_string(&mut stdout).unwrap();
        let mut pipe = self.child.stderr.take().unwrap();
        pipe.read_to_string(&mut stderr).unwrap();
        Said {
            code: self.child.wait().unwrap().code(),
            stdout,
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

pub fn server(node: &Node) -> String {
    format!("--server=http://{}", node.grpc)
}

pub fn ninjs(uri: &str, headline: &str) -> Value {
    json!({"uri": uri, "language": "en", "headlines": [{"value": headline}]})
}

/// Cursor, uri and revision of every delivery in the log.
async fn log(node: &Node) -> Vec<(String, String, u32)> {
    let mut reader = node.subscribe(everything()).await.unwrap();
    let history = reader.history().await;
    history
        .iter()
        .map(|delivery| {
            let uri = article_of(delivery).uri;
            (delivery.cursor.clone(), uri, delivery.revision)
        })
        .collect()
}

/// Proves that `tail` waits for a server that is not there yet, and over kills of the server in the
/// middle of publishing shows every revision exactly once, in order.
#[tokio::test]
async fn tail_is_exact_over_kills_of_the_server() {
    const ARTICLES: usize = 300;
    let mut node = Node::start();
    node.kill();
    let server_flag = server(&node);
    let args = [
        "tail",
        "--from",
        "earliest",
        "--output",
        "json",
        "--timeout",
        "60s",
    ];
    let mut tail = Running::start(&[&args[..], &[&server_flag]].concat());
    let mut notices = BufReader::new(tail.child.stderr.take().unwrap());
    let mut notice = String::new();
    notices.read_line(&mut notice).unwrap();
    assert!(notice.contains("no server answers"), "{notice}");
    node.start_again().await;
    let reading = thread::spawn(move || {
        let mut seen = Vec::new();
        while seen.len() < ARTICLES {
            let frame = tail.json();
            if frame["frame"] == "delivery" {
                seen.push((
                    frame["cursor"].as_str().unwrap().to_owned(),
                    frame["article"]["uri"].as_str().unwrap().to_owned(),
                    u32::try_from(frame["revision"].as_u64().unwrap()).unwrap(),
                ));
            }
        }
        (seen, tail)
    });
    for number in 0..ARTICLES {
        if number % 100 == 50 {
            node.kill();
            node.start_again().await;
        }
        let uri = format!("tag:wire.example,2026:{number}");
        let request = request(Action::Publish, article(&uri, "headline"));
        eventually("an answer", async || {
            node.publisher().publish(request.clone()).await.is_ok()
        })
        .await;
    }
    let (seen, mut tail) = tokio::task::spawn_blocking(|| reading.join().unwrap())
        .await
        .unwrap();
    let all = log(&node).await;
    assert_eq!(all.len(), ARTICLES);
    assert_eq!(seen, all);
    // Nor does anything come twice after all the others: the next one is the next.
    let last = noted("tag:wire.example,2026:0", "why");
    node.publish(Action::Kill, last).await.unwrap();
    let next = loop {
        let frame = tail.json();
        if frame["frame"] == "delivery" {
            break frame;
        }
    };
    assert_eq!(next["action"], "kill");
    tail.child.kill().unwrap();
    // Two kills may look like one to a tail that was still waiting, but the last one is over.
    notices.read_to_string(&mut notice).unwrap();
    assert!(notice.contains("the server is back"), "{notice}");
}

/// Proves that the scripts' `tail` gives up on a server that stays away, and says which.
#[test]
fn tail_until_caught_up_gives_up() {
    // Bound and closed again: nobody is there.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = format!("--server=http://{port}");
    let said = run(
        &["tail", "--until-caught-up", "--timeout", "1s", &server],
        b"",
    );
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains(&port.to_string()), "{said:?}");
    assert_eq!(said.stdout, "");
}

/// Proves that a pipe gets plain lines with RFC 3339 times, also when colours are forced, and that a
/// reader who goes away is no failure.
#[tokio::test]
async fn tail_in_a_pipe() {
    let node = Node::start();
    let headline = "دمشق وعمّان";
    let flash = barid::wire::proto::v1::Article {
        urgency: 1,
        ..article("tag:wire.example,2026:1", headline)
    };
    node.publish(Action::Publish, flash).await.unwrap();
    let server = server(&node);
    let args = ["list", &server];
    let mut command = barid();
    command.env("CLICOLOR_FORCE", "1");
    let said = run_with(command, &args, b"");
    let (time, rest) = said.stdout.split_once("  ").unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{said:?}");
    assert!(
        rest.starts_with("1  publish   en  دمشق وعمّان  general  "),
        "{rest:?}"
    );
    assert!(!said.stdout.contains('\u{1b}'), "{said:?}");
    let relative = run(&["list", "--time", "relative", &server], b"");
    assert!(relative.stdout.starts_with("now  1  ") || relative.stdout.contains("s ago  1  "));

    // The reader goes away while lines come, and on a quiet wire, where no line would tell it.
    for article_count in [0, 40] {
        for number in 0..article_count {
            let uri = format!("tag:wire.example,2026:x{number}");
            let article = article(&uri, &"x".repeat(100));
            node.publish(Action::Publish, article).await.unwrap();
        }
        let mut shell = Command::new("bash");
        shell
            .env_remove("BARID_TEST_NATS_SERVER")
            .env_remove("BARID_TEST_PYTHON");
        let line = format!(
            "set -o pipefail; {} tail --from earliest {server} | head -n 1",
            env!("CARGO_BIN_EXE_barid")
        );
        let said = run_with(shell, &["-c", &line], b"");
        assert_eq!(
            (said.code, said.stdout.lines().count()),
            (Some(0), 1),
            "{said:?}"
        );
        assert_eq!(said.stderr, "");
    }
}

/// Proves what `publish` says of good, doubtful and bad articles, and with which exit codes.
#[tokio::test]
async fn publish_says_what_failed_and_why() {
    let node = Node::start();
    let server = server(&node);
    let dir = TempDir::new().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let publish =
        |files: &[&str], stdin: &[u8]| run(&[&["publish", &server][..], files].concat(), stdin);
    let good = ninjs("tag:wire.example,2026:1", "one").to_string();
    let unknown = json!({
        "uri": "tag:wire.example,2026:2", "language": "en", "headlines": [{"value": "two"}],
        "subjects": [{"rel": "topic", "literal": "ict.cybersecurty"}],
    });
    let mixed = format!("{good}\n{unknown}\nnews\n{unknown}\n");
    let mixed = file("mixed.jsonl", mixed.as_bytes());

    let said = publish(&[&mixed], b"");
    assert_eq!(said.code, Some(2), "{said:?}");
    assert_eq!(said.stdout.lines().count(), 1, "{said:?}");
    assert!(
        said.stderr.contains("3 of 4 articles were not accepted"),
        "{said:?}"
    );
    assert!(said.stderr.contains("TOPIC_UNKNOWN (2)"), "{said:?}");
    assert!(
        said.stderr.contains(&format!("at {mixed}:2, :4\n")),
        "{said:?}"
    );
    assert!(said.stderr.contains("ict.cybersecurity"), "{said:?}");
    assert!(said.stderr.contains(&format!("{mixed}:3:")), "{said:?}");

    // Again: nothing new, and each failure an object for programs.
    let said = publish(&[&mixed, "--output", "json"], b"");
    let lines: Vec<Value> = said
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4, "{said:?}");
    let published: Vec<&Value> = lines
        .iter()
        .filter(|line| line["result"] == "published")
        .collect();
    assert_eq!(
        (published.len(), &published[0]["duplicate"]),
        (1, &json!(true))
    );

    // A story that does not exist is no invalid input: 1, also beside one that is.
    let said = publish(
        &["--action", "update", "-"],
        ninjs("tag:x.example,2026:9", "x").to_string().as_bytes(),
    );
    assert_eq!(said.code, Some(1), "{said:?}");
    let two = format!("{}\nnews", ninjs("tag:x.example,2026:9", "x"));
    assert_eq!(
        publish(&["--action", "update", "-"], two.as_bytes()).code,
        Some(1)
    );

    // Layouts.
    let list = json!([
        ninjs("tag:l.example,2026:1", "a"),
        ninjs("tag:l.example,2026:2", "b")
    ]);
    let pretty = serde_json::to_string_pretty(&ninjs("tag:l.example,2026:3", "c")).unwrap();
    let list = file("list.json", list.to_string().as_bytes());
    let pretty = file(
        "pretty.json",
        format!("\u{FEFF}{pretty}\n{good}").as_bytes(),
    );
    let said = publish(&[&list, &pretty], b"");
    assert_eq!(
        (said.code, said.stdout.lines().count()),
        (Some(0), 4),
        "{said:?}"
    );

    // What is no article at all.
    let junk: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let long = ninjs("tag:x.example,2026:10", &"x".repeat(3 << 20)).to_string();
    let directory = dir.path().to_str().unwrap().to_owned();
    let cases: [(&str, &[&str], &[u8], &str); 9] = [
        ("empty", &["-"], b"", "no article"),
        ("blank", &["-"], b"\n \n", "no article"),
        ("junk", &["-"], &junk, "-:1"),
        ("zeros", &["-"], &[0; 1000], "-:1"),
        ("not UTF-8", &["-"], b"{\"uri\": \"\xff\"}", "UTF-8"),
        ("3 MB", &["-"], long.as_bytes(), "headline"),
        ("a directory", &[&directory], b"", &directory),
        (
            "no file",
            &["/no/such.json"],
            b"",
            "can't read /no/such.json: no such file\n",
        ),
        ("a list of numbers", &["-"], b"[1, 2]", "-:1:2"),
    ];
    for (case, files, stdin, expected) in cases {
        let said = publish(files, stdin);
        assert_eq!(said.code, Some(2), "{case}: {said:?}");
        assert!(said.stderr.contains(expected), "{case}: {said:?}");
        assert!(!said.stderr.contains("panicked"), "{case}: {said:?}");
    }
}

/// Proves that `publish` goes on after kills of the server in the middle of a stream: all is
/// accepted, and every article exactly once.
#[tokio::test]
async fn publish_goes_on_over_kills_of_the_server() {
    const ARTICLES: usize = 3000;
    let mut node = Node::start();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("many.jsonl");
    let lines: Vec<String> = (0..ARTICLES)
        .map(|number| ninjs(&format!("tag:wire.example,2026:{number}"), "headline").to_string())
        .collect();
    fs::write(&path, lines.join("\n")).unwrap();
    let server = server(&node);
    let args = [
        "publish",
        path.to_str().unwrap(),
        "--timeout",
        "60s",
        "--output",
        "json",
    ];
    // Random ids would make every repetition of an accepted article a revision of its own.
    let mut publish = Running::start(&[&args[..], &["--again", &server]].concat());
    let mut answered = Vec::new();
    for _ in 0..2 {
        for _ in 0..500 {
            answered.push(publish.json());
        }
        node.kill();
        node.start_again().await;
    }
    let said = publish.rest();
    assert_eq!(said.code, Some(0), "{said:?}");
    answered.extend(
        said.stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()),
    );
    assert_eq!(answered.len(), ARTICLES);
    assert!(
        said.stderr.contains("again"),
        "the stream was never broken: {said:?}"
    );
    let mut revisions: BTreeMap<String, u32> = BTreeMap::new();
    for (_, uri, revision) in log(&node).await {
        *revisions.entry(uri).or_default() += 1;
        assert_eq!(revision, 1);
    }
    assert_eq!(revisions.len(), ARTICLES);
    assert!(revisions.values().all(|count| *count == 1));
}

/// Proves that `publish` gives up after --timeout without an answer, and says what was not
/// answered; the same command then finishes the work.
#[tokio::test]
async fn publish_gives_up_after_its_timeout() {
    let mut node = Node::start();
    let server = server(&node);
    let dir = TempDir::new().unwrap();
    let fifo = dir.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let args = [
        "publish",
        fifo.to_str().unwrap(),
        "--timeout",
        "2s",
        "--output",
        "json",
    ];
    let mut publish = Running::start(&[&args[..], &[&server]].concat());
    let mut pipe = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let [one, two] = [1, 2].map(|number| ninjs(&format!("tag:wire.example,2026:{number}"), "x"));
    writeln!(pipe, "{one}").unwrap();
    assert_eq!(publish.json()["result"], "published");
    node.kill();
    writeln!(pipe, "{two}").unwrap();
    drop(pipe);
    let said = publish.rest();
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stderr.contains("run the same command again"),
        "{said:?}"
    );
    assert!(said.stderr.contains("sent, but not answered"), "{said:?}");
    node.start_again().await;
    let both = format!("{one}\n{two}");
    let said = run(&["publish", "-", &server], both.as_bytes());
    assert_eq!(
        (said.code, said.stdout.lines().count()),
        (Some(0), 2),
        "{said:?}"
    );
    assert!(
        said.stderr.contains("of which 1 had been before"),
        "{said:?}"
    );
    assert_eq!(log(&node).await.len(), 2);
}

/// Proves that `publish` sends an article as soon as stdin has it, and that Ctrl-C ends it.
#[tokio::test]
async fn publish_from_a_slow_pipe() {
    let node = Node::start();
    let server = server(&node);
    let mut child = barid()
        .args(["publish", "-", &server])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let mut publish = Running { child, lines };
    for number in 0..3 {
        let article = ninjs(&format!("tag:wire.example,2026:{number}"), "x");
        writeln!(stdin, "{article}").unwrap();
        assert!(publish.line().starts_with("published "));
    }
    kill_process(Pid::from_child(&publish.child), Signal::INT).unwrap();
    let said = publish.rest();
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("3 articles were accepted"), "{said:?}");
    drop(stdin);
}

/// Proves that `config check` tells every problem with its line and column, and that the example
/// is a good file which changes nothing.
#[test]
fn config_files() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("barid.toml");
    let check = |variables: &[(&str, &str)]| {
        let mut command = barid();
        command
            .envs(variables.iter().copied())
            .current_dir(dir.path());
        run_with(command, &["config", "check", path.to_str().unwrap()], b"")
    };
    fs::write(
        &path,
        "# ملف\ndrian = '1s'\nlog = 5\n  replicas = 'x'\nretain = \"1ms\"\n",
    )
    .unwrap();
    let said = check(&[("BARID_LGO", "x"), ("BARID_DRAIN", "soon")]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    let shown = path.display();
    for expected in [
        "6 problems".to_owned(),
        format!("{shown}:2:1: \"drian\" is no setting; is drain meant?"),
        format!("{shown}:3:7: log: "),
        format!("{shown}:4:14: replicas: "),
        format!("{shown}:5:1: retain: 1ms is less"),
        "BARID_LGO is no variable of Barid's; is BARID_LOG meant?".to_owned(),
        "BARID_DRAIN: ".to_owned(),
    ] {
        assert!(said.stderr.contains(&expected), "{expected}: {said:?}");
    }

    let example = run(&["config", "example"], b"");
    assert_eq!(example.code, Some(0));
    fs::write(&path, &example.stdout).unwrap();
    assert_eq!(check(&[]).code, Some(0), "{:?}", check(&[]));
    let used = example.stdout.replace("#retain = ", "retain = ");
    fs::write(&path, used).unwrap();
    let mut command = barid();
    command.current_dir(dir.path()).env("BARID_DRAIN", "9s");
    let said = run_with(command, &["config", "show", "--log", "warn"], b"");
    let line = |key: &str| {
        let found = said
            .stdout
            .lines()
            .find(|line| line.split(' ').next() == Some(key));
        found
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert!(line("retain").contains("file barid.toml:"));
    assert_eq!(line("drain"), "drain 9s variable BARID_DRAIN");
    assert_eq!(line("log"), "log warn flag --log");
    assert!(line("replicas").ends_with("1 default"));

    for (case, bytes) in [("not UTF-8", &b"log = '\xff'"[..]), ("junk", &[0; 64])] {
        fs::write(&path, bytes).unwrap();
        let said = check(&[]);
        assert_eq!(said.code, Some(2), "{case}: {said:?}");
        assert!(
            said.stderr.contains(&format!("{shown}:1:")),
            "{case}: {said:?}"
        );
    }
    let said = run(&["config", "check", dir.path().to_str().unwrap()], b"");
    assert_eq!(said.code, Some(2), "{said:?}");
}

/// Every command that people see, by its words.
fn commands() -> Vec<Vec<String>> {
    fn beneath(path: &[String], found: &mut Vec<Vec<String>>) {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let said = run(&args, b"");
        assert_eq!(said.code, Some(0), "{path:?}");
        assert!(
            said.stdout.contains("\nExamples:\n  "),
            "{path:?}: {}",
            said.stdout
        );
        found.push(path.to_vec());
        let Some((_, list)) = said.stdout.split_once("\nCommands:\n") else {
            return;
        };
        for line in list.lines().take_while(|line| !line.is_empty()) {
            // A long description goes on in lines that are indented deeper.
            let Some(word) = line
                .strip_prefix("  ")
                .filter(|line| !line.starts_with(' '))
            else {
                continue;
            };
            let word = word.split_whitespace().next().unwrap();
            if word != "help" {
                beneath(&[path, &[word.to_owned()]].concat(), found);
            }
        }
    }
    let mut found = Vec::new();
    beneath(&[], &mut found);
    found
}

/// Proves that every command has examples in its help, a manual page with them, and a place in the
/// completions of every shell; and that bash and man can read what is for them.
#[test]
fn help_manual_and_completions() {
    let commands = commands();
    assert!(commands.len() > 18, "{commands:?}");
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("man/man1");
    let said = run(&["man", "--dir", folder.to_str().unwrap()], b"");
    assert_eq!(said.code, Some(0), "{said:?}");
    let written = fs::read_dir(&folder).unwrap().count();
    assert_eq!(written, commands.len());
    for words in &commands {
        let name = [&["barid".to_owned()], &words[..]].concat().join("-");
        let page = fs::read_to_string(folder.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".SH EXAMPLES\n.nf\nbarid "), "{name}: {page}");
        assert!(page.starts_with(".ie") || page.starts_with(".TH"), "{name}");
    }
    let said = run(&["man", "--dir", "/proc/no/such"], b"");
    assert_eq!(said.code, Some(1), "{said:?}");

    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = run(&["completions", shell], b"");
        assert_eq!(said.code, Some(0), "{said:?}");
        for words in &commands {
            let last = words.last().map_or("barid", String::as_str);
            assert!(said.stdout.contains(last), "{shell}: {words:?}");
        }
        assert!(!said.stdout.contains("nats-guard"), "{shell}");
        let script = dir.path().join(shell);
        fs::write(&script, &said.stdout).unwrap();
        if shell == "bash" {
            bash_completes(&script);
        }
    }
    assert_eq!(run(&["completions", "tcsh"], b"").code, Some(2));
}

/// bash reads the script, and completes a command and a file by it.
fn bash_completes(script: &Path) {
    let script = script.to_str().unwrap();
    let said = run_with(Command::new("bash"), &["-n", script], b"");
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let completes = format!(
        "source {script}; COMP_WORDS=(barid conf); COMP_CWORD=1; _barid barid conf barid; \
         echo \"${{COMPREPLY[*]}}\""
    );
    let said = run_with(Command::new("bash"), &["-c", &completes], b"");
    assert_eq!(said.stdout.trim(), "config", "{said:?}");
}

/// Proves that what is asked wrongly is told with its name and a remedy, with exit code 2.
#[test]
fn bad_use_is_told() {
    let cases: [(&[&str], &str); 14] = [
        (
            &["publish", "-", "/no/such"],
            "barid: can't read /no/such: no such file\n",
        ),
        (
            &["explain", "nope"],
            "barid: can't read nope: no such file, and a story's id is",
        ),
        (
            &["explain", "-", "--taxonomy", "/no/such"],
            "barid: can't read the taxonomy /no/such: no such file\n",
        ),
        (&["correct", "a:1", "/no/such", "--note", "x"], "/no/such"),
        (&["correct", "a:1", "/", "--note", "x"], "can't read /"),
        (&["tail", "--from", "yesterday"], "last:20"),
        (&["tail", "--server", "localhost:1"], "--server"),
        (&["tail", "--urgency", "10"], "1..=9"),
        (&["get", "news"], "news"),
        (&["publish", "--request-id", "x", "-"], "--request-id"),
        (&["publish"], "FILE"),
        (&["demo", "--speed", "0"], "--speed"),
        (&["serve", "--retain", "soon"], "30d"),
        (&["tial"], "tail"),
    ];
    for (args, expected) in cases {
        let said = run(args, b"");
        assert_eq!(said.code, Some(2), "{args:?}: {said:?}");
        assert!(said.stderr.contains(expected), "{args:?}: {said:?}");
        assert_eq!(said.stdout, "", "{args:?}");
    }
}

/// Proves that publishing the original of a killed story again says what became of it, and that a
/// refusal names the fields as their author knows them.
#[tokio::test]
async fn authors_are_told_in_their_own_words() {
    let node = Node::start();
    let server = server(&node);
    let publish = |story: &Value| run(&["publish", "-", &server], story.to_string().as_bytes());
    let story = ninjs("a:1", "A story");
    let said = publish(&story);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let said = publish(&story);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let killed = run(&["kill", "a:1", "--note", "false", "--yes", &server], b"");
    assert_eq!(killed.code, Some(0), "{killed:?}");
    let said = publish(&story);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr.contains("killed since, by revision 2"),
        "{said:?}"
    );

    let said = publish(&ninjs("a:2", ""));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("headlines[0].value: "), "{said:?}");
    let mut unknown = ninjs("a:2", "A story");
    unknown["subjects"] = json!([{"rel": "topic", "literal": "oil"}]);
    let said = run(&["explain", "-", &server], unknown.to_string().as_bytes());
    assert!(
        said.stderr.contains("subjects with rel \"topic\": oil"),
        "{said:?}"
    );
    assert!(!said.stderr.contains("article."), "{said:?}");
}

/// The libraries' lines obey the filter, too, but for those that would show articles.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_errors_has_no_other_lines() {
    let node = Node::start_with(&["--log", "error"]);
    let story = article("a:1", "A story");
    node.publish(Action::Publish, story).await.unwrap();
    let lines = node.log();
    assert!(!lines.contains(" INFO "), "{lines}");
}
