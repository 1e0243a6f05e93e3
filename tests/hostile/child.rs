// SPDX-License-Identifier: MPL-2.0

//! The child process: it loads one file after another, by the paths on its standard input, until one ends it.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use gstsparseadv::model::{DeviceChoice, Error, Model, Options, Precision};

use crate::kinds::End;

/// The first argument of a child.
pub const FLAG: &str = "--child";

/// What its lines begin with. A model can print too.
pub const MARK: &str = "hostile-child ";

/// What it says before it loads a file, and before it classifies.
pub const LOADS: &str = "loads";
pub const CLASSIFIES: &str = "classifies";

pub fn run() {
    tch::set_num_threads(1);
    for line in std::io::stdin().lock().lines() {
        let path = PathBuf::from(line.expect("a path"));
        say(LOADS);
        say(&match try_one(path) {
            Ok(()) => "loaded".into(),
            Err(error) => format!("{:?}", end(&error)),
        });
    }
}

fn say(what: &str) {
    println!("{MARK}{what}");
    std::io::stdout().flush().expect("a pipe");
}

fn try_one(path: PathBuf) -> Result<(), Error> {
    let options = Options { path, device: DeviceChoice::Cpu, precision: Precision::F32, ..Options::default() };
    let mut model = Model::load(&options)?;
    say(CLASSIFIES);
    let values = model.input_shape().iter().product::<i64>() as usize;
    let window: Vec<f32> = (0..values).map(|i| (i * 97 % 256) as f32).collect();
    model.classify(&window).map(drop)
}

fn end(error: &Error) -> End {
    let text = error.to_string();
    if ["not enough memory", "bad_alloc", "out of memory"].iter().any(|words| text.contains(words)) {
        return End::OutOfMemory;
    }
    let kind = format!("{error:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
    match error {
        Error::Load { .. } | Error::Run { .. } | Error::Input { .. } => End::ByTorch(kind),
        _ => End::Refused(kind),
    }
}
