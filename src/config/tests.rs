use clap::{CommandFactory as _, Parser as _};

use super::*;

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    layer: Layer,
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn check(
    flags: &[&str],
    variables_given: &[(&str, &str)],
    file: &str,
) -> Result<Settings, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("barid.toml");
    std::fs::write(&path, file).unwrap();
    let layer = Flags::parse_from([&["barid"], flags].concat()).layer;
    load(layer, Some(&path), &variables(variables_given))
}

fn origin(settings: &Settings, key: &str) -> String {
    let shown = settings.shown.iter().find(|shown| shown.key == key);
    let text = shown.unwrap().origin.to_string();
    text.split(' ').next().unwrap().to_owned()
}

/// Without anything said, the documented defaults hold.
#[test]
fn defaults() {
    let settings = check(&[], &[], "").unwrap();
    let serve = &settings.serve;
    assert_eq!(serve.grpc_listen.to_string(), "127.0.0.1:50051");
    assert_eq!(serve.http_listen.to_string(), "127.0.0.1:8080");
    assert_eq!(serve.nats_listen.to_string(), "127.0.0.1:4222");
    assert_eq!((serve.replicas, serve.retain), (1, None));
    assert_eq!(serve.data_dir, PathBuf::from("./barid-data"));
    assert_eq!(serve.drain, Duration::from_secs(3));
    assert!(
        settings
            .shown
            .iter()
            .all(|shown| shown.origin == Origin::Default)
    );
    let keys: Vec<&str> = settings.shown.iter().map(|shown| shown.key).collect();
    assert_eq!(keys, KEYS);
}

/// Flag beats variable beats file beats default, setting by setting, and each knows its origin.
#[test]
fn precedence() {
    let file = "drain = \"9s\"\nretain = \"30d\"\nlog = \"warn\"\nlog_bytes_max = 1048576\n";
    let settings = check(
        &["--drain", "1s"],
        &[
            ("BARID_DRAIN", "5s"),
            ("BARID_RETAIN", "2h"),
            ("PATH", "/bin"),
        ],
        file,
    )
    .unwrap();
    let serve = &settings.serve;
    assert_eq!(serve.drain, Duration::from_secs(1));
    assert_eq!(serve.retain, Some(Duration::from_secs(7200)));
    assert_eq!(serve.log, "warn");
    assert_eq!(serve.log_bytes_max, Some(1 << 20));
    let origins = ["drain", "retain", "log", "output"].map(|key| origin(&settings, key));
    assert_eq!(origins, ["flag", "variable", "file", "default"]);
}

/// Every setting is a flag, a variable and a key of the file.
#[test]
fn one_name_in_three_forms() {
    let command = Flags::command();
    let flags: Vec<String> = command
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .filter(|long| *long != "help")
        .map(|long| format!("--{long}"))
        .collect();
    assert_eq!(flags, KEYS.map(flag_name));
    let every = variables(&[
        ("BARID_GRPC_LISTEN", "127.0.0.1:1"),
        ("BARID_HTTP_LISTEN", "127.0.0.1:2"),
        ("BARID_NATS_URL", "nats://a"),
        ("BARID_REPLICAS", "3"),
        ("BARID_TAXONOMY", "t.toml"),
        ("BARID_RETAIN", "30d"),
        ("BARID_LOG_BYTES_MAX", "64GiB"),
        ("BARID_DRAIN", "1s"),
        ("BARID_RING_BYTES", "1MiB"),
        ("BARID_PATIENCE", "1m"),
        ("BARID_TLS_CERT", "c.pem"),
        ("BARID_TLS_KEY", "k.pem"),
        ("BARID_TLS_CLIENT_CA", "ca.pem"),
        ("BARID_CONNECTIONS_MAX", "1000"),
        ("BARID_CONNECTIONS_PER_ADDRESS_MAX", "10"),
        ("BARID_CONNECTION_RATE_PER_ADDRESS", "5"),
        ("BARID_BEGIN_TIMEOUT", "1s"),
        ("BARID_IDLE_TIMEOUT", "1m"),
        ("BARID_LOG", "debug"),
        ("BARID_LOG_FORMAT", "json"),
        ("BARID_OUTPUT", "json"),
        ("BARID_DANGER_LISTEN_WITHOUT_TLS", "true"),
        ("BARID_DANGER_WITHOUT_KEYS", "true"),
        ("BARID_LOCAL_READS_WITHOUT_KEY", "true"),
        ("BARID_SERVER", "http://127.0.0.1:1"),
        ("BARID_CA", "ca.pem"),
        ("BARID_CLIENT_CERTIFICATE", "c.pem"),
        ("BARID_CLIENT_KEY", "k.pem"),
    ]);
    let layer = from_variables(&every, &mut Vec::new());
    assert_eq!(layer.replicas, Some(3));
    assert_eq!(layer.log_bytes_max, Some(Size(64 << 30)));
    assert_eq!(layer.connections_max, Some(1000));
    assert_eq!(layer.danger_without_keys, Some(true));
    check_variables(&every).unwrap();
}

/// The problems of a file and variables, without the folder.
fn problems(variables_given: &[(&str, &str)], file: &str) -> Vec<String> {
    let ConfigError(problems) = check(&[], variables_given, file).unwrap_err();
    let name = |problem: &Problem| {
        let text = problem.to_string();
        match text.split_once("/barid.toml:") {
            Some((_, rest)) => rest.to_owned(),
            None => text,
        }
    };
    problems.iter().map(name).collect()
}

/// Everything that is wrong is told at once, each with its line and column; keys with the nearest
/// known one.
#[test]
fn all_problems_at_once() {
    let file = "log = \"info\"\n  grpc_listne = \"127.0.0.1:1\"\nreplicas = \"three\"\n\
                drain = \"2h\"\nretain =\nlog_format = 'xml'\n[server]\nport = 1\n";
    let found = problems(
        &[("BARID_LOG_BYTES_MAX", "much"), ("BARID_RETIAN", "1d")],
        file,
    );
    let begins = [
        "5:9: ",
        "2:3: \"grpc_listne\" is no setting; is grpc_listen meant?",
        "3:12: replicas: ",
        "6:14: log_format: unknown variant `xml`",
        "7:2: \"server\" is no setting",
        "BARID_RETIAN is no variable of Barid's; is BARID_RETAIN meant?",
        "BARID_LOG_BYTES_MAX: \"much\" is not a size",
        "4:1: drain: 2h is more than 1h",
    ];
    assert_eq!(found.len(), begins.len(), "{found:#?}");
    for begin in begins {
        let count = found.iter().filter(|text| text.starts_with(begin)).count();
        assert_eq!(count, 1, "{begin}: {found:#?}");
    }
}

/// Columns count characters, not bytes, and bytes that are no text are found.
#[test]
fn places() {
    let found = problems(&[], "log = 'ملف' junk\n");
    assert!(found[0].starts_with("1:13: "), "{found:?}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("barid.toml");
    std::fs::write(&path, b"# \xD9\x85\nlog = '\xFF'").unwrap();
    let of = |path: &Path| load(Layer::default(), Some(path), &[]).unwrap_err().0;
    let [Problem::File { place, .. }] = &of(&path)[..] else {
        panic!("another problem")
    };
    assert_eq!((place.line, place.column), (2, 8));
    for bad in [folder.path(), Path::new("/no/such.toml")] {
        assert!(
            matches!(of(bad)[..], [Problem::Unreadable { .. }]),
            "{bad:?}"
        );
    }
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(matches!(of(&path)[..], [Problem::Unreadable { .. }]));
    std::fs::write(&path, "\u{FEFF}log = 'warn'").unwrap();
    assert_eq!(
        load(Layer::default(), Some(&path), &[]).unwrap().serve.log,
        "warn"
    );
}

/// A value's origin names the line of the file.
#[test]
fn origins() {
    let settings = check(&[], &[], "\nlog = 'warn'\n").unwrap();
    let shown = settings.shown.iter().find(|shown| shown.key == "log");
    let origin = shown.unwrap().origin.to_string();
    assert!(origin.ends_with("barid.toml:2"), "{origin}");
}

/// The example changes nothing as it is, has every setting, and each of its lines can be taken into
/// use by itself.
#[test]
fn example() {
    let text = example::text().unwrap();
    let unchanged = check(&[], &[], &text).unwrap();
    assert_eq!(unchanged.serve, check(&[], &[], "").unwrap().serve);
    let mut keys = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        assert!(line.chars().count() <= 100, "{line}");
        let Some((key, _)) = line
            .strip_prefix('#')
            .and_then(|line| line.split_once(" = "))
        else {
            continue;
        };
        if key.contains(' ') {
            continue;
        }
        keys.push(key);
        let mut used = lines.clone();
        used[index] = line.strip_prefix('#').unwrap();
        // None of these goes alone.
        let together: &[&str] = match key.split_once('_') {
            Some(("tls", _)) => &["tls_cert = 'c.pem'", "tls_key = 'k.pem'"],
            Some(("jwt", _)) => &[
                "jwt_jwks = 'https://id.example/keys'",
                "jwt_issuer = 'https://id.example/'",
                "jwt_audience = 'barid'",
            ],
            Some(_) | None => &[],
        };
        used.extend(together.iter().filter(|line| !line.starts_with(key)));
        let settings = check(&[], &[], &used.join("\n"));
        let settings = settings.unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(origin(&settings, key), "file", "{key}");
    }
    assert_eq!(keys, KEYS);
}

/// All unknown variables are listed, each with the nearest known one.
#[test]
fn unknown_variables() {
    let found = problems(&[("BARID_RETIAN", "1d"), ("BARID_SERVR", "x")], "");
    let near: Vec<&str> = found
        .iter()
        .map(|text| text.rsplit("is ").next().unwrap())
        .collect();
    assert_eq!(near, ["BARID_RETAIN meant?", "BARID_SERVER meant?"]);
    let far = problems(&[("BARID_COLOUR", "1")], "colour = 1\n[server]\n");
    assert_eq!(far.len(), 3, "{far:?}");
    assert!(far.iter().all(|text| !text.contains("meant")), "{far:?}");
    let bad = variables(&[
        ("BARID_DRAIN", "soon"),
        ("BARID_TIMEOUT", "x"),
        ("BARID_SERVER", "a:1"),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("barid.toml");
    std::fs::write(&path, "").unwrap();
    let ConfigError(found) = super::check(Some(&path), &bad).unwrap_err();
    let found: Vec<String> = found.iter().map(Problem::to_string).collect();
    // A server has no use for the clients' variables.
    assert!(load(Layer::default(), Some(&path), &bad[1..]).is_ok());
    let names: Vec<&str> = found
        .iter()
        .map(|text| text.split(':').next().unwrap())
        .collect();
    assert_eq!(names, ["BARID_DRAIN", "BARID_TIMEOUT", "BARID_SERVER"]);
}

/// Each rule is kept, wherever the value comes from.
#[test]
fn rules() {
    let broken = |flags: &[&str]| match &check(flags, &[], "").unwrap_err().0[..] {
        [Problem::Rule { key, .. }] => *key,
        other => panic!("{other:?}"),
    };
    assert_eq!(broken(&["--replicas", "0"]), "replicas");
    assert_eq!(broken(&["--replicas", "3"]), "replicas");
    assert_eq!(broken(&["--retain", "999ms"]), "retain");
    assert_eq!(broken(&["--patience", "999ms"]), "patience");
    assert_eq!(broken(&["--patience", "25h"]), "patience");
    assert_eq!(broken(&["--patience", "99999999999d"]), "patience");
    assert_eq!(broken(&["--log-bytes-max", "1"]), "log_bytes_max");
    assert_eq!(broken(&["--log-bytes-max", "1023KiB"]), "log_bytes_max");
    assert_eq!(broken(&["--nats-url", "localhost:4222"]), "nats_url");
    assert_eq!(broken(&["--log", "barid=loud"]), "log");
    let cluster = ["--nats-url", "nats://a,nats://b:4222"];
    assert_eq!(
        broken(&[&cluster[..], &["--data-dir", "x"]].concat()),
        "data_dir"
    );
    assert_eq!(broken(&["--tls-cert", "c.pem"]), "tls_cert");
    assert_eq!(broken(&["--tls-key", "k.pem"]), "tls_key");
    assert_eq!(broken(&["--tls-client-ca", "ca.pem"]), "tls_client_ca");
    assert_eq!(broken(&["--jwt-issuer", "a"]), "jwt_issuer");
    assert_eq!(broken(&["--jwt-audience", "a"]), "jwt_audience");
    let jwt = ["--jwt-issuer", "a", "--jwt-audience", "b", "--jwt-jwks"];
    let plain = "http://id.example/jwks";
    assert_eq!(broken(&[&jwt[..], &[plain]].concat()), "jwt_jwks");
    assert_eq!(
        broken(&["--jwt-jwks", "jwks.json", "--jwt-issuer", "a"]),
        "jwt_jwks"
    );
    for names in ["", "none", "RS256,HS256"] {
        assert_eq!(broken(&["--jwt-algorithms", names]), "jwt_algorithms");
    }
    assert_eq!(broken(&["--connections-max", "0"]), "connections_max");
    assert_eq!(broken(&["--begin-timeout", "1ms"]), "begin_timeout");
    assert_eq!(broken(&["--idle-timeout", "2d"]), "idle_timeout");
    assert_eq!(broken(&["--nats-listen", "[::]:4222"]), "nats_listen");
    check(&[&cluster[..], &["--replicas", "3"]].concat(), &[], "").unwrap();
    check(&["--grpc-listen", "[::1]:50051"], &[], "").unwrap();
}

/// A listener that other machines reach needs TLS, or the danger by its name.
#[test]
fn dangers() {
    let tls = ["--tls-cert", "c.pem", "--tls-key", "k.pem"];
    let no_tls = ["--danger-listen-without-tls"];
    for (key, listen) in [
        ("grpc_listen", ["--grpc-listen", "0.0.0.0:50051"]),
        ("http_listen", ["--http-listen", "[::]:8080"]),
    ] {
        let check = |more: &[&str]| check(&[&listen[..], more].concat(), &[], "");
        let ConfigError(problems) = check(&[]).unwrap_err();
        let [Problem::Rule { key: named, .. }] = problems.as_slice() else {
            panic!("{problems:?}")
        };
        assert_eq!(*named, key);
        assert!(
            problems[0]
                .to_string()
                .ends_with("--danger-listen-without-tls")
        );
        check(&no_tls).unwrap();
        check(&tls).unwrap();
    }
}

/// Passwords are not shown; paths in a file are relative to the file.
#[test]
fn shown_and_relative() {
    let settings = check(
        &["--nats-url", "nats://user:secret@a:4222,tls://b"],
        &[],
        "",
    )
    .unwrap();
    let shown = settings.shown.iter().find(|shown| shown.key == "nats_url");
    assert_eq!(shown.unwrap().value, "nats://a:4222,tls://b");
    let settings = check(&[], &[], "data_dir = \"data\"").unwrap();
    assert!(settings.serve.data_dir.is_absolute());
}

/// The address that others use is one of a site as a whole; a slash at its end is none of it.
#[test]
fn public_urls() {
    let check = |text: &str| text.parse::<PublicUrl>().ok().map(|url| url.to_string());
    for (text, expected) in [
        ("https://wire.example", "https://wire.example"),
        ("https://Wire.example:443/", "https://wire.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ] {
        assert_eq!(check(text).as_deref(), Some(expected), "{text}");
    }
    for bad in [
        "",
        "wire.example",
        "ftp://wire.example",
        "https://",
        "https://wire.example/wire",
        "https://a@wire.example",
        "https://wire.example?x",
        "https://wire.example/#x",
    ] {
        assert_eq!(check(bad), None, "{bad}");
    }
}

/// Sizes have units of 1000 and 1024, and overflow is an error.
#[test]
fn sizes() {
    let check = |text: &str| text.parse::<Size>().map(|size| size.0).ok();
    assert_eq!(check("64GiB"), Some(64 << 30));
    assert_eq!(check("5 mb"), Some(5_000_000));
    assert_eq!(check("12"), Some(12));
    assert_eq!(check("0"), None);
    assert_eq!(check("GiB"), None);
    assert_eq!(check("99999999999TiB"), None);
    assert_eq!(Size(64 << 30).to_string(), "64GiB");
}
