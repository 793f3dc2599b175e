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
    fs::write(&path, file).unwrap();
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
        ("BARID_LOG", "debug"),
        ("BARID_LOG_FORMAT", "json"),
        ("BARID_OUTPUT", "json"),
        ("BARID_DANGER_LISTEN_WITHOUT_AUTHENTICATION", "true"),
        ("BARID_SERVER", "http://127.0.0.1:1"),
    ]);
    let layer = from_variables(&every).unwrap();
    assert_eq!(layer.replicas, Some(3));
    assert_eq!(layer.log_bytes_max, Some(Size(64 << 30)));
    assert_eq!(layer.danger_listen_without_authentication, Some(true));
    check_variables(&every).unwrap();
}

/// Unknown keys and values of the wrong kind name line and column, and the nearest key.
#[test]
fn file_errors() {
    let error = check(
        &[],
        &[],
        "log = \"info\"\n  grpc_listne = \"127.0.0.1:1\"\n",
    )
    .unwrap_err();
    let text = error.to_string();
    let ConfigError::File { line, column, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((line, column), (2, 3));
    assert!(text.contains("grpc_listen meant"), "{text}");
    let error = check(&[], &[], "\nreplicas = \"three\"\n").unwrap_err();
    assert!(
        matches!(error, ConfigError::File { line: 2, .. }),
        "{error:?}"
    );
    let missing = load(Layer::default(), Some(Path::new("/no/such.toml")), &[]);
    assert!(matches!(missing, Err(ConfigError::Read { .. })));
}

/// All unknown variables are listed, each with the nearest known one.
#[test]
fn unknown_variables() {
    let error = check(&[], &[("BARID_RETIAN", "1d"), ("BARID_SERVR", "x")], "").unwrap_err();
    let ConfigError::UnknownVariables { names } = error else {
        panic!("{error:?}")
    };
    let near: Vec<&str> = names.iter().map(|(_, near)| near.as_str()).collect();
    assert_eq!(near, ["BARID_RETAIN", "BARID_SERVER"]);
    let error = check(&[], &[("BARID_DRAIN", "soon")], "").unwrap_err();
    assert!(matches!(error, ConfigError::Variable { name, .. } if name == "BARID_DRAIN"));
}

/// Each rule is kept, wherever the value comes from.
#[test]
fn rules() {
    let broken = |flags: &[&str]| match check(flags, &[], "").unwrap_err() {
        ConfigError::Rule { key, .. } => key,
        other => panic!("{other:?}"),
    };
    assert_eq!(broken(&["--replicas", "0"]), "replicas");
    assert_eq!(broken(&["--replicas", "3"]), "replicas");
    assert_eq!(broken(&["--retain", "999ms"]), "retain");
    assert_eq!(broken(&["--patience", "999ms"]), "patience");
    assert_eq!(broken(&["--nats-url", "localhost:4222"]), "nats_url");
    assert_eq!(broken(&["--log", "barid=loud"]), "log");
    let cluster = ["--nats-url", "nats://a,nats://b:4222"];
    assert_eq!(
        broken(&[&cluster[..], &["--data-dir", "x"]].concat()),
        "data_dir"
    );
    assert_eq!(broken(&["--grpc-listen", "0.0.0.0:50051"]), "grpc_listen");
    assert_eq!(broken(&["--http-listen", "0.0.0.0:8080"]), "http_listen");
    assert_eq!(broken(&["--nats-listen", "[::]:4222"]), "nats_listen");
    check(&[&cluster[..], &["--replicas", "3"]].concat(), &[], "").unwrap();
    let danger = "--danger-listen-without-authentication";
    check(&["--grpc-listen", "[::]:50051", danger], &[], "").unwrap();
    check(&["--http-listen", "[::]:8080", danger], &[], "").unwrap();
    check(&["--grpc-listen", "[::1]:50051"], &[], "").unwrap();
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
    assert_eq!(shown.unwrap().value, "a:4222,tls://b");
    let settings = check(&[], &[], "data_dir = \"data\"").unwrap();
    assert!(settings.serve.data_dir.is_absolute());
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
