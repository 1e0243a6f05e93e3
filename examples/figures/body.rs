// SPDX-License-Identifier: MPL-2.0

//! From joint angles to joint positions.
//!
//! Lengths are in body heights; x points the way the figure faces (or to the right, seen from the front), y points down
//! and the ground is y = 0.

use std::f32::consts::{FRAC_PI_2, PI};

use rand::rngs::StdRng;

use crate::rng::around;

pub type Point = [f32; 2];

/// Two segments: an arm or a leg. 0 hangs straight down; positive angles turn forwards or, seen from the front,
/// outwards.
#[derive(Clone, Copy, Debug)]
pub struct Limb {
    /// Angle of the upper segment.
    pub root: f32,
    /// What elbow or knee add to it for the lower segment.
    pub bend: f32,
}

impl Limb {
    pub const fn straight(root: f32) -> Self {
        Self { root, bend: 0.0 }
    }
}

#[derive(Clone, Debug)]
pub struct Pose {
    pub frontal: bool,
    /// How far the torso leans forwards (sideways, seen from the front).
    pub lean: f32,
    /// Height of the lowest foot above the ground.
    pub hop: f32,
    pub arms: [Limb; 2],
    pub legs: [Limb; 2],
}

impl Pose {
    pub fn standing(frontal: bool) -> Self {
        Self {
            frontal,
            lean: 0.0,
            hop: 0.0,
            arms: [Limb { root: 0.1, bend: 0.1 }; 2],
            legs: [Limb::straight(if frontal { 0.06 } else { 0.0 }); 2],
        }
    }
}

pub struct Body {
    pub head: f32,
    neck: f32,
    torso: f32,
    arm: [f32; 2],
    leg: [f32; 2],
    foot: f32,
    pub shoulders: f32,
    pub hips: f32,
}

/// Where the joints are, the far side first where one side is farther.
pub struct Skeleton {
    pub head: Point,
    pub shoulders: [Point; 2],
    pub hips: [Point; 2],
    /// Shoulder, elbow, hand.
    pub arms: [[Point; 3]; 2],
    /// Hip, knee, ankle, toe.
    pub legs: [[Point; 4]; 2],
}

impl Body {
    pub fn new(rng: &mut StdRng) -> Self {
        let mut length = |mean: f32| around(rng, mean, 0.1 * mean);
        Self {
            head: length(0.068),
            neck: length(0.1),
            torso: length(0.3),
            arm: [length(0.17), length(0.17)],
            leg: [length(0.245), length(0.235)],
            foot: length(0.065),
            shoulders: length(0.105),
            hips: length(0.06),
        }
    }

    pub fn skeleton(&self, pose: &Pose) -> Skeleton {
        // Seen from the side, the two shoulders and hips nearly cover each other.
        let width = if pose.frontal { 1.0 } else { 0.2 };
        let up = PI - pose.lean;
        let chest = step([0.0, 0.0], up, self.torso);
        let head = step(chest, up, self.neck);
        let sides = [-1.0, 1.0];
        let across = |center: Point, half: f32| {
            sides.map(|s| {
                [center[0] + s * half * width * pose.lean.cos(), center[1] + s * half * width * pose.lean.sin()]
            })
        };
        let shoulders = across(chest, self.shoulders);
        let hips = across([0.0, 0.0], self.hips);
        let outwards = sides.map(|s| if pose.frontal { s } else { 1.0 });
        let arms = [0, 1].map(|i| {
            let limb = pose.arms[i];
            let elbow = step(shoulders[i], outwards[i] * limb.root, self.arm[0]);
            let hand = step(elbow, outwards[i] * (limb.root + limb.bend), self.arm[1]);
            [shoulders[i], elbow, hand]
        });
        let legs = [0, 1].map(|i| {
            let limb = pose.legs[i];
            let shin = outwards[i] * (limb.root + limb.bend);
            let knee = step(hips[i], outwards[i] * limb.root, self.leg[0]);
            let ankle = step(knee, shin, self.leg[1]);
            let foot = if pose.frontal { 0.45 * self.foot } else { self.foot };
            let toe = step(ankle, shin + outwards[i] * FRAC_PI_2, foot);
            [hips[i], knee, ankle, toe]
        });
        let mut skeleton = Skeleton { head, shoulders, hips, arms, legs };
        skeleton.stand(pose.hop);
        skeleton
    }
}

impl Skeleton {
    /// Puts the lowest foot on the ground, or `hop` above it: the body rises and falls with its legs by itself.
    fn stand(&mut self, hop: f32) {
        let lowest = self.legs.iter().flatten().map(|p| p[1]).fold(f32::MIN, f32::max);
        let shift = -lowest - hop;
        let points = [&mut self.head]
            .into_iter()
            .chain(&mut self.shoulders)
            .chain(&mut self.hips)
            .chain(self.arms.iter_mut().flatten())
            .chain(self.legs.iter_mut().flatten());
        for point in points {
            point[1] += shift;
        }
    }
}

/// The point `length` from `from` in the direction of `angle`: 0 is down, positive turns towards x.
fn step(from: Point, angle: f32, length: f32) -> Point {
    [from[0] + length * angle.sin(), from[1] + length * angle.cos()]
}
