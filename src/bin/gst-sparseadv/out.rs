// SPDX-License-Identifier: MPL-2.0

//! Output to whoever reads it. Where nobody does any more, `inspect MODEL | head` for instance, the work goes on in
//! silence.

use std::fmt::Arguments;
use std::io::{Write, stderr, stdout};

/// A line for the standard output.
pub fn line(text: Arguments) {
    let mut out = stdout().lock();
    // The reader has gone, or the disk is full: there is nobody to tell.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A line for the standard error output.
pub fn error(text: Arguments) {
    let _ = writeln!(stderr().lock(), "{text}");
}

macro_rules! outln {
    ($($text:tt)*) => { $crate::out::line(format_args!($($text)*)) };
}
macro_rules! errln {
    ($($text:tt)*) => { $crate::out::error(format_args!($($text)*)) };
}
pub(crate) use {errln, outln};
