// SPDX-License-Identifier: MPL-2.0

//! What the model said before the attack: from the meta of an upstream sparseadv, or from its report.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::element::meta;
use crate::files::{self, LONGEST_LINE};
use crate::tally::Labels;
use crate::window::report::WindowReport;

/// What a frame's meta says, where nothing between has dropped it: the frame's place in the attacker's window, and that
/// window's labels.
pub fn of_meta(buffer: &gst::BufferRef) -> Option<(usize, Labels)> {
    let info = meta::read(buffer)?;
    info.labels.clean.map(|_| (info.frame as usize, info.labels))
}

/// A report of sparseadv, finished or still growing.
#[derive(Debug)]
pub struct AttackReport {
    path: PathBuf,
    /// Opened at the first frame: an element upstream may begin it only then. Kept, as it changes its name when it is
    /// whole.
    file: Option<File>,
    /// What follows the last whole line, and whether it is more than a line has.
    rest: Vec<u8>,
    overlong: bool,
    windows: Vec<AttackedWindow>,
    unreadable: usize,
}

/// What is kept of a window's report.
#[derive(Debug)]
struct AttackedWindow {
    first_frame: u64,
    /// Running times, in nanoseconds.
    times: Option<Range<u64>>,
    labels: Labels,
}

impl From<WindowReport> for AttackedWindow {
    fn from(report: WindowReport) -> Self {
        let length = report.end_pts.zip(report.start_pts).map(|(end, start)| end.saturating_sub(start));
        Self {
            first_frame: report.first_frame,
            times: report.start_time.zip(length).map(|(start, length)| start..start.saturating_add(length)),
            labels: Labels { last: None, ..report.labels() },
        }
    }
}

/// A window to find in the report.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Number of its first frame, where the stream is known to have begun with the attacker's first frame.
    pub first_frame: Option<u64>,
    /// Stream frames from its first to its last.
    pub span: u64,
    /// Running time of its middle, in nanoseconds.
    pub time: Option<u64>,
}

impl AttackReport {
    pub fn open(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            file: None,
            rest: Vec::new(),
            overlong: false,
            windows: Vec::new(),
            unreadable: 0,
        }
    }

    /// Reads on where the file has grown.
    pub fn read(&mut self) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => files::open_growing(&self.path)?,
        };
        let read = self.take(&file);
        self.file = Some(file);
        read
    }

    /// Takes what follows in the report, up to its end: whole lines, and the beginning of one that is still being written.
    /// No more than a line of it is held at a time.
    pub fn take(&mut self, more: impl Read) -> io::Result<()> {
        let mut more = BufReader::new(more);
        loop {
            let room = LONGEST_LINE.saturating_sub(self.rest.len() as u64);
            let read = (&mut more).take(room).read_until(b'\n', &mut self.rest)?;
            if self.rest.ends_with(b"\n") {
                self.line();
            } else if self.rest.len() as u64 >= LONGEST_LINE {
                self.overlong = true;
                self.rest.clear();
            } else if read == 0 {
                return Ok(());
            }
        }
    }

    /// Ends a line.
    fn line(&mut self) {
        let line = self.rest.strip_suffix(b"\n").unwrap_or(&self.rest);
        if std::mem::take(&mut self.overlong) {
            self.unreadable += 1;
        } else if !line.is_empty() {
            match serde_json::from_slice::<WindowReport>(line) {
                Ok(report) => self.windows.push(report.into()),
                Err(_) => self.unreadable += 1,
            }
        }
        self.rest.clear();
    }

    /// The attacker's window that a window shows. Frames are counted where both streams begin together: encoders and
    /// muxers move times, and some make new ones. Elsewhere running times have to do.
    pub fn at(&mut self, place: Place) -> io::Result<Option<Labels>> {
        if self.find(place).is_none() {
            self.read()?;
        }
        Ok(self.known(place))
    }

    /// The same in what was read.
    pub fn known(&self, place: Place) -> Option<Labels> {
        self.find(place).map(|window| window.labels).filter(|labels| labels.clean.is_some())
    }

    fn find(&self, place: Place) -> Option<&AttackedWindow> {
        let Some(first) = place.first_frame else {
            let time = place.time?;
            // After a seek the same times come again: those written last are meant.
            return self.windows.iter().rev().find(|w| w.times.as_ref().is_some_and(|times| times.contains(&time)));
        };
        let nearest = self.windows.iter().min_by_key(|w| w.first_frame.abs_diff(first))?;
        // The next one may not be written yet.
        (nearest.first_frame.abs_diff(first) <= place.span / 2).then_some(nearest)
    }

    /// What there is to say of a report in which `missed` of the stream's `windows` windows were not found.
    pub fn complaint(&self, windows: u64, missed: u64) -> Option<String> {
        let path = self.path.display();
        let found = match (self.windows.len(), self.unreadable) {
            (0, 0) => "an empty file".to_string(),
            (0, unreadable) => format!("{unreadable} lines that are no windows' reports"),
            (lines, 0) => format!("{lines} windows, none of which is at their place"),
            (lines, unreadable) => format!("{lines} windows and {unreadable} lines that are none"),
        };
        match missed {
            0 => None,
            missed if missed == windows => Some(format!(
                "Expected the windows of this stream in the report {path}, found {found}: nothing is compared with it. Give the report of \
                 the attack on this very video as reference-location."
            )),
            missed => Some(format!(
                "{missed} of {windows} windows are not in the report {path}: they are compared with nothing. Is it the report of the attack \
                 on this very video, and do window-size, stride and frame-step agree?"
            )),
        }
    }
}

/// What an element says of a report that it cannot read.
pub fn unreadable(report: &AttackReport, error: &io::Error) -> gst::ErrorMessage {
    gst::error_msg!(
        gst::ResourceError::OpenRead,
        (
            "Expected the report of a sparseadv as reference-location, but {} cannot be read: {error}. Check the path.",
            report.path.display()
        )
    )
}
