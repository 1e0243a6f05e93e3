// SPDX-License-Identifier: MPL-2.0

//! The actions: for each, how the joints turn with the phase of its cycle.

use std::f32::consts::TAU;

use rand::{Rng, rngs::StdRng};

use crate::body::{Limb, Pose};
use crate::rng::around;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Bend,
    Box,
    Jack,
    Jump,
    Kick,
    Run,
    Side,
    Walk,
    Wave1,
    Wave2,
}

impl Action {
    /// In the order of the class numbers.
    pub const ALL: [Self; 10] = [
        Self::Bend,
        Self::Box,
        Self::Jack,
        Self::Jump,
        Self::Kick,
        Self::Run,
        Self::Side,
        Self::Walk,
        Self::Wave1,
        Self::Wave2,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Bend => "Bend",
            Self::Box => "Box",
            Self::Jack => "Jack",
            Self::Jump => "Jump",
            Self::Kick => "Kick",
            Self::Run => "Run",
            Self::Side => "Side",
            Self::Walk => "Walk",
            Self::Wave1 => "Wave1",
            Self::Wave2 => "Wave2",
        }
    }

    pub fn folder(self) -> String {
        self.title().to_lowercase()
    }

    /// Seconds a cycle. All are short enough for a window of 16 frames (0.64 s) to show a good part of one.
    fn period(self) -> f32 {
        match self {
            Self::Bend => 1.5,
            Self::Box => 0.7,
            Self::Jack => 0.85,
            Self::Jump => 0.8,
            Self::Kick => 0.95,
            Self::Run => 0.6,
            Self::Side => 0.6,
            Self::Walk => 1.05,
            Self::Wave1 | Self::Wave2 => 0.65,
        }
    }

    /// Way through the scene, in body heights a second.
    fn speed(self) -> f32 {
        match self {
            Self::Run => 1.7,
            Self::Side => 0.7,
            Self::Walk => 0.75,
            _ => 0.0,
        }
    }

    fn is_frontal(self, rng: &mut StdRng) -> bool {
        match self {
            Self::Jack | Self::Side | Self::Wave1 | Self::Wave2 => true,
            Self::Bend | Self::Box | Self::Kick | Self::Run | Self::Walk => false,
            Self::Jump => rng.random(),
        }
    }
}

/// One performance of an action: its tempo, size and small habits.
pub struct Performance {
    action: Action,
    period: f32,
    phase: f32,
    amplitude: f32,
    frontal: bool,
    /// Which arm or leg acts where only one does.
    leading: usize,
    /// Frequency and phase of a slight sway of each joint.
    sway: [(f32, f32); 9],
    sway_size: f32,
}

impl Performance {
    pub fn new(action: Action, rng: &mut StdRng) -> Self {
        Self {
            action,
            period: action.period() * around(rng, 1.0, 0.18),
            phase: rng.random(),
            amplitude: around(rng, 1.0, 0.12),
            frontal: action.is_frontal(rng),
            leading: rng.random_range(0..2),
            sway: std::array::from_fn(|_| (around(rng, 0.9, 0.5), rng.random())),
            sway_size: rng.random_range(0.0..0.08),
        }
    }

    /// Body heights a second; a quicker step covers more ground.
    pub fn speed(&self) -> f32 {
        self.action.speed() * self.action.period() / self.period
    }

    /// The pose `seconds` into the clip.
    pub fn pose(&self, seconds: f32) -> Pose {
        let mut pose = self.cycle(self.phase + seconds / self.period);
        let mut joints =
            self.sway.iter().map(|(frequency, phase)| self.sway_size * (TAU * (frequency * seconds + phase)).sin());
        let mut sway = || joints.next().unwrap_or_default();
        pose.lean += 0.5 * sway();
        for limb in pose.arms.iter_mut().chain(&mut pose.legs) {
            limb.root += sway();
            limb.bend += sway();
        }
        pose
    }

    fn cycle(&self, phase: f32) -> Pose {
        let a = self.amplitude;
        let wave = |shift: f32| (TAU * (phase + shift)).sin();
        // 0 at rest, 1 at the height of the movement, with a soft turn at both ends.
        let pulse = 0.5 - 0.5 * (TAU * phase).cos();
        let (lead, other) = (self.leading, 1 - self.leading);
        let mut pose = Pose::standing(self.frontal);
        match self.action {
            Action::Walk | Action::Run => {
                let running = self.action == Action::Run;
                let (stride, swing) = if running { (0.8, 0.9) } else { (0.45, 0.45) };
                let (knee, lift) = if running { (0.35, 1.2) } else { (0.08, 0.6) };
                for side in 0..2 {
                    let half = 0.5 * side as f32;
                    pose.legs[side] = Limb {
                        root: a * stride * wave(half) + if running { 0.15 } else { 0.0 },
                        // The leg folds while it swings forward, a quarter of a cycle before it is foremost.
                        bend: -knee - a * lift * wave(half + 0.22).max(0.0),
                    };
                    pose.arms[side] = Limb { root: -a * swing * wave(half), bend: if running { 1.5 } else { 0.3 } };
                }
                pose.lean = if running { 0.22 } else { 0.05 };
                pose.hop = if running { 0.035 * (2.0 * TAU * phase).cos().max(0.0) } else { 0.0 };
            }
            Action::Side => {
                let spread = a * 0.38 * pulse;
                pose.legs = [Limb::straight(0.03 + spread); 2];
                pose.arms = [Limb::straight(0.15 + 0.35 * pulse); 2];
                pose.hop = 0.03 * (1.0 - pulse);
            }
            Action::Jack => {
                pose.arms = [Limb::straight(0.2 + a * 2.6 * pulse); 2];
                pose.legs = [Limb::straight(0.04 + a * 0.42 * pulse); 2];
                pose.hop = 0.05 * wave(0.0).abs();
            }
            Action::Jump => {
                let flight = wave(0.0).max(0.0);
                let crouch = (-wave(0.0)).max(0.0);
                pose.hop = a * 0.24 * flight;
                let knee = a * 0.75 * crouch + 0.25 * flight;
                pose.legs = if self.frontal {
                    // Seen from the front the knees go apart and the feet stay together.
                    [Limb { root: 0.05 + 0.8 * knee, bend: -1.6 * knee }; 2]
                } else {
                    [Limb { root: knee, bend: -1.9 * knee }; 2]
                };
                pose.lean = if self.frontal { 0.0 } else { 0.4 * crouch };
                pose.arms = [Limb { root: 0.15 + 0.5 * flight - 0.3 * crouch, bend: 0.3 }; 2];
            }
            Action::Bend => {
                pose.lean = a * 1.55 * pulse;
                // The hands reach for the toes: the arms hang from the shoulders whatever the torso does.
                pose.arms = [Limb::straight(0.25 * pulse); 2];
                pose.legs = [Limb { root: -0.12 * pulse, bend: -0.06 * pulse }; 2];
            }
            Action::Kick => {
                let swing = wave(0.0);
                pose.legs[lead] = Limb { root: a * (0.45 + 0.95 * swing), bend: -0.9 * wave(0.2).max(0.0) };
                pose.legs[other] = Limb { root: -0.08, bend: -0.08 };
                pose.lean = -0.18 * swing;
                pose.arms[lead] = Limb { root: -0.5 * swing, bend: 0.3 };
                pose.arms[other] = Limb { root: 0.6 * swing, bend: 0.3 };
            }
            Action::Box => {
                for side in 0..2 {
                    let punch = wave(0.5 * side as f32).max(0.0);
                    pose.arms[side] = Limb { root: 0.35 + a * 1.2 * punch, bend: 2.1 * (1.0 - punch) };
                }
                pose.legs = [Limb { root: 0.28, bend: -0.2 }, Limb { root: -0.25, bend: -0.15 }];
                pose.lean = 0.1 + 0.06 * wave(0.1);
            }
            Action::Wave1 | Action::Wave2 => {
                let arm = Limb { root: 2.25 + a * 0.3 * wave(0.0), bend: 0.35 + a * 0.55 * wave(-0.08) };
                pose.arms[lead] = arm;
                if self.action == Action::Wave2 {
                    pose.arms[other] = arm;
                }
            }
        }
        pose
    }
}
