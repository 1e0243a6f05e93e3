// SPDX-License-Identifier: MPL-2.0

//! An installation, as a user makes one, and what is said when its libtorch goes, is another, or is none. The libtorch is
//! a second name of the one in .venv, which is never written to.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Made once, and then copied by name.
static INSTALLED: LazyLock<PathBuf> = LazyLock::new(|| {
    let user = Path::new(env!("CARGO_TARGET_TMPDIR")).join("install/made");
    let _ = fs::remove_dir_all(&user);
    fs::create_dir_all(&user).expect("a folder");
    let output = install(&user, &[]);
    assert!(output.status.success(), "{}", text(&output));
    user
});

/// A folder with an installation, of one test.
struct User(PathBuf);

impl User {
    fn new(name: &str) -> Self {
        let made = INSTALLED.as_path();
        let folder = made.with_file_name(name);
        let _ = fs::remove_dir_all(&folder);
        let copied = Command::new("cp").args(["-al"]).args([made, &folder]).status();
        assert!(copied.expect("cp").success());
        // Its path stands in the link of the plugin.
        let plugin = folder.join(".local/share/gstreamer-1.0/plugins/libgstsparseadv.so");
        fs::remove_file(&plugin).expect("a link");
        std::os::unix::fs::symlink(folder.join(".local/lib/sparseadv/libgstsparseadv.so"), plugin).expect("a link");
        Self(folder)
    }

    fn home(&self) -> PathBuf {
        self.0.join(".local/lib/sparseadv")
    }

    fn torch(&self) -> PathBuf {
        self.home().join("python/torch")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(["100", program]).current_dir(ROOT);
        command.env("HOME", &self.0).env("PATH", format!("{}:{path}", self.0.join(".local/bin").display()));
        command.env("GST_REGISTRY", self.0.join("registry.bin")).env("GST_DEBUG_NO_COLOR", "1");
        for name in ["GST_PLUGIN_PATH", "XDG_DATA_HOME", "LD_LIBRARY_PATH"] {
            command.env_remove(name);
        }
        command
    }

    /// Sends a window through the attack, without a change.
    fn launch(&self) -> Output {
        let report = format!("report-location={}", self.0.join("report.jsonl").display());
        let mut words = vec!["-m", "filesrc", "location=examples/data/figures-walk.mp4", "!", "decodebin", "!"];
        words.extend(["sparseadv", "model=examples/data/figures-c3d.pt", "max-iterations=0", &report, "!", "fakesink"]);
        self.command("gst-launch-1.0").args(words).output().expect("gst-launch-1.0")
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Calls the script with what is built, for a user whose home is `user`.
fn install(user: &Path, arguments: &[&str]) -> Output {
    // What is to be installed is what is to be tested: nothing is built.
    let stubs = user.join("stubs");
    fs::create_dir_all(&stubs).expect("a folder");
    let cargo = stubs.join("cargo");
    fs::write(&cargo, "#!/bin/sh\n").expect("a file");
    assert!(Command::new("chmod").arg("+x").arg(cargo).status().expect("chmod").success());
    let path = std::env::var("PATH").unwrap_or_default();
    let mut script = Command::new("bash");
    script.arg("examples/install.sh").args(arguments).current_dir(ROOT).env("HOME", user);
    script.env("PATH", format!("{}:{path}", stubs.display())).env("GST_REGISTRY", user.join("registry.bin"));
    script.env_remove("LD_LIBRARY_PATH").env_remove("XDG_DATA_HOME").output().expect("bash")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() && !path.is_symlink() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn an_installation_runs_by_itself_and_goes_whole() {
    let user = User::new("whole");
    for name in ["libgstsparseadv.so", "libsparseadv_torch.so", "gst-sparseadv", "gst-sparseadv-torch"] {
        let file = user.home().join(name);
        let size = file.metadata().expect(name).len();
        assert!(size < 20_000_000, "{name} has {size} bytes");
        let section = Command::new("readelf").arg("-d").arg(&file).output().expect("readelf");
        // No folder but its own.
        assert!(text(&section).contains("[$ORIGIN/python/torch/lib]"), "{name}: {}", text(&section));
    }
    let exists = user.command("gst-inspect-1.0").args(["--exists", "sparseadv"]).output().expect("gst-inspect-1.0");
    assert!(exists.status.success(), "{}", text(&exists));
    let ran = user.launch();
    assert!(ran.status.success(), "{}", text(&ran));
    let help = user.command("gst-sparseadv").args(["attack", "--help"]).output().expect("the tool");
    assert!(text(&help).contains("Usage: gst-sparseadv attack"), "{}", text(&help));
    let share = user.0.join(".local/share");
    let page = fs::read_to_string(share.join("man/man1/gst-sparseadv-attack.1")).expect("a manual page");
    assert!(page.contains("model"), "{page}");
    let completions = share.join("bash-completion/completions/gst-sparseadv.bash");
    let script = format!(". {}; complete -p gst-sparseadv", completions.display());
    assert!(Command::new("bash").args(["-c", &script]).status().expect("bash").success());

    // The list has the paths of the installation, not of its copy.
    let made = INSTALLED.as_path();
    let list = user.home().join("installed");
    let paths = fs::read_to_string(&list).expect("a list");
    let paths = paths.replace(&made.display().to_string(), &user.0.display().to_string());
    fs::remove_file(&list).expect("a file");
    fs::write(&list, paths).expect("a list");
    let own = user.0.join(".local/bin/mine");
    fs::write(&own, "").expect("a file");
    let removed = install(&user.0, &["--uninstall"]);
    assert!(removed.status.success(), "{}", text(&removed));
    assert_eq!(files(&user.0.join(".local")), [own]);
    // What it made is gone with it.
    assert!(!user.0.join(".local/lib").exists() && !user.0.join(".local/share").exists());
}

#[test]
fn nothing_of_others_is_overwritten() {
    let user = INSTALLED.with_file_name("others");
    let _ = fs::remove_dir_all(&user);
    let tool = user.join(".local/bin/gst-sparseadv");
    fs::create_dir_all(tool.parent().expect("a folder")).expect("a folder");
    fs::write(&tool, "mine").expect("a file");
    let output = install(&user, &[]);
    assert!(!output.status.success());
    assert!(text(&output).contains(&format!("expected no file at {}", tool.display())), "{}", text(&output));
    assert_eq!(files(&user.join(".local")), std::slice::from_ref(&tool));
    assert_eq!(fs::read_to_string(&tool).expect("a file"), "mine");
    fs::remove_dir_all(user).expect("a folder");
}

#[test]
fn a_libtorch_that_is_gone_is_said_at_every_call_and_found_when_it_is_back() {
    let user = User::new("gone");
    let python = user.home().join("python");
    let remedy = format!("python3 -m pip install --target {} torch==", python.display());
    let away = user.0.join("away");
    // GStreamer has seen it work.
    let inspect = || user.command("gst-inspect-1.0").arg("sparseadv").output().expect("gst-inspect-1.0");
    assert!(text(&inspect()).contains("time-budget"), "{}", text(&inspect()));
    fs::rename(&python, &away).expect("a folder");
    for _ in 0..2 {
        let ran = user.launch();
        assert!(!ran.status.success());
        assert!(text(&ran).contains("Expected libtorch ") && text(&ran).contains(&remedy), "{}", text(&ran));
    }
    // GStreamer has seen nothing of it.
    fs::remove_file(user.0.join("registry.bin")).expect("a registry");
    for _ in 0..2 {
        assert!(text(&inspect()).contains(&remedy), "{}", text(&inspect()));
    }
    // What sets no property hears it on the bus.
    let words = ["videotestsrc", "num-buffers=1", "!", "clipclassifier", "!", "fakesink"];
    let ran = user.command("gst-launch-1.0").args(words).output().expect("gst-launch-1.0");
    let said = text(&ran);
    let error = said.split("ERROR").nth(1).unwrap_or_default();
    assert!(error.contains(&remedy), "{said}");
    let help = user.command("gst-sparseadv").arg("--help").output().expect("the tool");
    assert_eq!(help.status.code(), Some(1));
    assert!(text(&help).contains(&remedy) && text(&help).contains("libtorch_cpu.so"), "{}", text(&help));
    fs::rename(&away, &python).expect("a folder");
    assert!(text(&inspect()).contains("time-budget"), "{}", text(&inspect()));
}

#[test]
fn another_libtorch_is_named_and_one_that_does_not_fit_is_refused_in_words() {
    let user = User::new("other");
    // Another file of that name: the old one is .venv's too.
    let version = user.torch().join("version.py");
    fs::remove_file(&version).expect("a file");
    fs::write(&version, "__version__ = '9.9.9'\n").expect("a file");
    let ran = user.launch();
    assert!(ran.status.success() && text(&ran).contains("found libtorch 9.9.9"), "{}", text(&ran));
    let report = fs::read_to_string(user.0.join("report.jsonl")).expect("a report");
    let line: serde_json::Value = serde_json::from_str(report.lines().next().expect("a line")).expect("JSON");
    assert_eq!(line["libtorch"], "9.9.9");
    let help = user.command("gst-sparseadv").arg("--version").output().expect("the tool");
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stderr).contains("found libtorch 9.9.9 in "), "{}", text(&help));

    // A library without what is called.
    let library = user.torch().join("lib/libtorch_cpu.so");
    fs::remove_file(&library).expect("a file");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-x", "c", "/dev/null", "-Wl,-soname,libtorch_cpu.so", "-o"]).arg(&library);
    assert!(compiler.status().expect("a C compiler").success());
    let ran = user.launch();
    assert!(!ran.status.success());
    assert!(text(&ran).contains("cannot be loaded") && text(&ran).contains("undefined symbol"), "{}", text(&ran));
}

/// What the set-up takes, without a GPU, from an index at that address: the index, and what it says.
fn index(address: &str, before: &str) -> (String, String) {
    let script = format!(
        "say() {{ printf '%s\\n' \"$*\" >&2; }}; . .ci/torch.sh; has_nvidia_gpu() {{ false; }}; cpu_index={address}; {before} torch_index python3"
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(ROOT).env_remove("SPARSEADV_TORCH_INDEX");
    // The address is this machine's.
    let output = bash.env("no_proxy", "*").output().expect("bash");
    let [out, err] = [output.stdout, output.stderr].map(|b| String::from_utf8(b).expect("UTF-8"));
    (out.trim().into(), err)
}

#[test]
fn cpu_wheels_are_taken_where_no_gpu_is_and_their_index_answers() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", server.local_addr().expect("an address"));
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("a request");
        let mut request = [0; 1000];
        let read = stream.read(&mut request).expect("a request");
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").expect("an answer");
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let (taken, said) = index(&address, "");
    assert_eq!(taken, address, "{said}");
    assert!(answering.join().expect("a server").starts_with("HEAD /torch/ "));
    // Nobody listens there any more.
    let (taken, said) = index(&address, "");
    assert_eq!(taken, "");
    assert!(said.contains("does not answer") && said.contains("ordinary package index"), "{said}");
    let (taken, said) = index(&address, "has_nvidia_gpu() { true; };");
    assert_eq!(taken, "", "{said}");
    assert_eq!(index(&address, "SPARSEADV_TORCH_INDEX=https://own.example;").0, "https://own.example");
}
