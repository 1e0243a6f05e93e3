// SPDX-License-Identifier: MPL-2.0

//! What downstream has answered, and what upstream has heard of it.

use gst::{FlowError, FlowSuccess};

/// What has become of the last caps. Downstream must not be asked what it would allocate for any but those it took:
/// x264enc crashes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caps {
    Taken,
    UnderWay,
    Refused,
}

pub(super) struct Downstream {
    flow: Result<FlowSuccess, FlowError>,
    /// No more frames are wanted before a new segment or stream.
    ended: bool,
    /// Upstream has been told of the error, by the answer to a frame.
    told: bool,
    /// Linked again: the next frame does not follow on the last.
    relinked: bool,
    /// Something was linked since the push under way began: its answer may be from before.
    overtaken: bool,
    caps: Caps,
}

impl Default for Downstream {
    fn default() -> Self {
        Self {
            flow: Err(FlowError::Flushing),
            ended: false,
            told: false,
            relinked: false,
            overtaken: false,
            caps: Caps::Taken,
        }
    }
}

impl Downstream {
    pub fn flow(&self) -> Result<FlowSuccess, FlowError> {
        self.flow
    }

    pub fn is_flushing(&self) -> bool {
        self.flow == Err(FlowError::Flushing)
    }

    /// What a frame is answered.
    pub fn hear(&mut self) -> Result<(), FlowError> {
        self.told |= self.flow.is_err();
        self.flow?;
        if self.ended { Err(FlowError::Eos) } else { Ok(()) }
    }

    /// The error that upstream has not heard of, where no frame follows that could be answered with it.
    pub fn unheard(&self) -> Option<FlowError> {
        self.flow.err().filter(|error| *error != FlowError::Flushing && !self.told)
    }

    pub fn set_flushing(&mut self) {
        self.flow = Err(FlowError::Flushing);
    }

    pub fn resume(&mut self) {
        self.flow = Ok(FlowSuccess::Ok);
    }

    /// Frames are wanted again.
    pub fn begin(&mut self) {
        self.ended = false;
    }

    /// No more frames before a new segment or stream.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Takes over the error that a push was answered with. Returns whether that stands.
    pub fn fail(&mut self, error: FlowError) -> bool {
        if error == FlowError::NotLinked && self.overtaken {
            self.relinked = true;
            return false;
        }
        self.flow = Err(error);
        self.told = false;
        true
    }

    /// A frame is pushed. What is linked from here on may come too late for its answer.
    pub fn push_frame(&mut self) {
        self.overtaken = false;
    }

    /// Something was linked behind. Returns whether nothing was.
    pub fn relink(&mut self) -> bool {
        self.overtaken = true;
        let unlinked = self.flow == Err(FlowError::NotLinked);
        if unlinked {
            self.resume();
            self.told = false;
            // Upstream's frames were refused meanwhile.
            self.relinked = true;
        }
        unlinked
    }

    /// Whether the next frame is the first one after a gap.
    pub fn take_relinked(&mut self) -> bool {
        std::mem::take(&mut self.relinked)
    }

    pub fn push_caps(&mut self) {
        self.caps = Caps::UnderWay;
    }

    pub fn caps_pushed(&mut self, taken: bool) {
        self.caps = if taken { Caps::Taken } else { Caps::Refused };
    }

    pub fn caps_under_way(&self) -> bool {
        self.caps == Caps::UnderWay
    }

    /// Whether it can be asked about its caps.
    pub fn took_caps(&self) -> bool {
        self.caps == Caps::Taken
    }
}
