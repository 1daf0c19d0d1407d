//! The commands as a person types them: help, exit codes, and what is said when something is wrong.

use std::{
    net::TcpListener,
    process::{Command, Output},
};

use crate::{
    endpoints,
    support::router::{Router, binary},
};

fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().expect("the binary runs")
}

fn said(done: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let (code, list, _) = said(&run(&["--help"]));
    assert_eq!(code, Some(0));
    for command in ["dev", "serve", "validate", "model", "bench", "get", "describe"] {
        assert!(list.contains(&format!("\n  {command} ")), "{command}: {list}");
        for flag in ["--help", "-h"] {
            let (code, help, errors) = said(&run(&[command, flag]));
            assert_eq!((code, errors.as_str()), (Some(0), ""), "{command}");
            assert!(help.contains(&format!("Usage: modelway {command}")), "{help}");
            assert!(help.contains(&format!("modelway {command} ")), "{help}");
            let (_, example) = help.rsplit_once("Example").expect("an example");
            assert!(example.contains(&format!("modelway {command}")), "{help}");
        }
    }
    assert!(!list.contains("exec"), "what only the router calls is hidden: {list}");
    let (code, version, _) = said(&run(&["--version"]));
    assert_eq!(
        (code, version.as_str()),
        (Some(0), concat!("modelway ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    assert_eq!(said(&run(&[])).0, Some(2));
}

#[test]
fn a_port_in_use_is_named_with_the_flag_that_helps() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = address.rsplit_once(':').unwrap().1;
    for (arguments, flag) in [
        (&["dev", "--admin-port", "0", "--port", port][..], "--port"),
        (&["dev", "--port", "0", "--admin-port", port], "--admin-port"),
        (&["model", "--port", port], "--port"),
    ] {
        let (code, out, errors) = said(&run(arguments));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(errors.starts_with("error: cannot listen on "), "{errors}");
        assert!(errors.contains(&address), "{errors}");
        assert!(errors.contains(&format!("with {flag};")), "{errors}");
        assert!(errors.contains("in use"), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("missing.yaml");
    let name = file.to_str().unwrap();
    for arguments in [
        &["validate", name][..],
        &["dev", "-f", name, "--port", "0", "--admin-port", "0"],
        &["serve", "-f", name, "--port", "0", "--admin-port", "0"],
    ] {
        let (code, out, errors) = said(&run(arguments));
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(out.contains(name) && out.contains("No such file"), "{out}{errors}");
    }
    let (code, _, errors) = said(&run(&["serve", "--port", "0", "--admin-port", "0"]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("give a file with -f"), "{errors}");
}

#[test]
fn validate_tells_all_problems_at_their_place_and_dev_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.yaml");
    std::fs::write(&good, endpoints::chat()).unwrap();
    let (code, out, errors) = said(&run(&["validate", good.to_str().unwrap()]));
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(
        out,
        "endpoint chat is good: one 100 % (default, process), finishing 0 % (process)\n"
    );
    let bad = folder.path().join("bad.yaml");
    let text = endpoints::chat()
        .replace("trafficPercentile: 100", "trafficPercentile: 101")
        .replace("onDisconnect: finish", "onDisconnekt: finish");
    std::fs::write(&bad, text).unwrap();
    let bad = bad.to_str().unwrap();
    let (code, out, errors) = said(&run(&["validate", bad]));
    assert_eq!((code, errors.as_str()), (Some(1), ""));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    for (line, number, word) in
        [(lines[0], 14, "trafficPercentile"), (lines[1], 22, "did you mean `onDisconnect`")]
    {
        assert!(line.starts_with(&format!("{bad}:{number}:")), "{line}");
        assert!(line.contains(word), "{line}");
    }
    let (code, same, errors) = said(&run(&["dev", "-f", bad, "--port", "0", "--admin-port", "0"]));
    assert_eq!((code, same), (Some(1), out));
    assert_eq!(errors, "error: the endpoints have 2 problems, see above\n");
}

#[test]
fn get_and_describe_show_a_running_router() {
    let router = Router::start(&endpoints::chat(), &[]);
    router.await_replicas("one", "ready", 1, crate::asked::SOON);
    let admin = format!("http://{}", router.admin);
    for (arguments, words) in [
        (&["get", "endpoints"][..], &["NAME", "chat", "one=100%"][..]),
        (&["get", "versions"], &["finishing", "0/2"]),
        (&["get", "replicas", "-o", "wide"], &["chat-one-1", "ready", "PID"]),
        (&["get", "decisions"], &["no decisions"]),
        (&["get", "routers", "-o", "yaml"], &["phase: serving"]),
        (&["describe", "endpoint", "chat"], &["Version one", "chat.example", "chat-one-1"]),
    ] {
        let (code, out, errors) = said(&run(&[arguments, &["--admin", &admin]].concat()));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{arguments:?}");
        for word in words {
            assert!(out.contains(word), "{arguments:?}: {word}: {out}");
        }
        assert!(!out.contains('\u{1b}'), "colours where nobody sees them: {out:?}");
    }
    let json = run(&["get", "replicas", "-o", "json", "--admin", &admin]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    let (code, _, errors) = said(&run(&["describe", "endpoint", "nobody", "--admin", &admin]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("no endpoint \"nobody\""), "{errors}");
    // The data port is no admin port, and says so.
    let data = format!("http://{}", router.data);
    let (code, _, errors) = said(&run(&["get", "endpoints", "--admin", &data]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("is a router's port for clients"), "{errors}");
}

#[test]
fn an_admin_port_that_does_not_answer_is_named_with_what_to_do() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let admin = format!("http://{address}");
    for arguments in [&["get", "replicas"][..], &["describe", "endpoint", "demo"]] {
        let (code, out, errors) = said(&run(&[arguments, &["--admin", &admin]].concat()));
        assert_eq!((code, out.as_str()), (Some(1), ""));
        assert!(errors.contains(&format!("nothing answers at {admin}")), "{errors}");
        assert!(errors.contains("is `modelway dev` running?"), "{errors}");
    }
}
