// SPDX-License-Identifier: MPL-2.0

//! The model's view of perturbed frames, and the gradient's way back, in tensor operations: for devices other than the
//! CPU, many windows at a time.
//!
//! The way to the view is that of the row kernels, operation by operation and in their order. No operation holds both a
//! product and a sum, so that a device cannot fuse them: the view is the same to the bit. The way back is matrix
//! products, which sum in any order: the gradient is the same up to the rounding of single precision.

mod maps;

use std::ops::Range;

use tch::{Device, Kind, TchError, Tensor};

use self::maps::{Mix, Resample, Upload, upload};
use super::layout::Color;
use super::view::{Samples, View};

/// Windows of frames on a device, as one reader of the stream sees them.
pub struct DeviceView {
    groups: Vec<Group>,
    /// The view from the touched pixels.
    resize: Resample,
    /// Gray levels from the components without their offsets, and the components' change from that of gray levels; none
    /// where the components are gray levels.
    matrices: Option<[Mix; 2]>,
    frames: i64,
    /// The frames that were observed last.
    selected: Vec<usize>,
    /// Where the last observation clipped: 1 where a color did not, else 0.
    inside: Option<Tensor>,
}

/// Components of the same size, `m` of them, with `rows` * `cols` touched samples each.
struct Group {
    components: Range<usize>,
    /// `[W, T, m, rows, cols]` in bytes.
    samples: Tensor,
    /// Nominal range and offset of each, `[m, 1, 1]`.
    lo: Tensor,
    hi: Tensor,
    offset: Tensor,
    /// The change of the touched samples from that of the view.
    render: Resample,
    /// The touched pixels from the touched samples.
    upsample: Resample,
    selected: Option<Selected>,
    /// Where the last observation's samples followed the perturbation.
    free: Option<Tensor>,
}

/// The samples of the frames under observation, `[W, n, m, rows, cols]`, and how far each may go.
struct Selected {
    samples: Tensor,
    lo: Tensor,
    hi: Tensor,
}

impl DeviceView {
    /// `windows`: the samples of each window's frames, in order, T in each of W windows. They have to come from `view`.
    pub fn new(view: &View, windows: &[&[Samples]], device: Device) -> Result<Self, TchError> {
        Self::with_upload(view, windows, &|tensor| tensor.f_to_device(device))
    }

    /// The same on the device to which `to_device` brings a tensor. All others are made of those that came from it.
    pub fn with_upload(view: &View, windows: &[&[Samples]], to_device: &Upload) -> Result<Self, TchError> {
        let frames = windows.first().map_or(0, |window| window.len());
        if frames == 0 || windows.iter().any(|window| window.len() != frames) {
            let found: Vec<usize> = windows.iter().map(|window| window.len()).collect();
            return Err(TchError::Shape(format!("expected windows of as many frames each, found {found:?}")));
        }
        let size = [windows.len() as i64, frames as i64];
        let mut end = 0;
        let alike = view.layout.components.chunk_by(|a, b| (a.shift_x, a.shift_y) == (b.shift_x, b.shift_y));
        let groups = alike.map(|alike| {
            let components = end..end + alike.len();
            end = components.end;
            Group::new(view, components, windows, size, to_device)
        });
        let groups = groups.collect::<Result<_, _>>()?;
        let (to_rgb, from_rgb, m) = (view.matrix.to_rgb, view.matrix.from_rgb, view.components.len());
        let matrices = match view.layout.color {
            Color::Rgb => None,
            _ => Some([Mix::new(to_rgb, [3, m], to_device)?, Mix::new(from_rgb, [m, 3], to_device)?]),
        };
        let taps = [Some(&view.observe_rows), Some(&view.observe_cols)];
        let resize = Resample::new(taps, [view.touched.0, view.touched.1], to_device)?;
        Ok(Self { groups, resize, matrices, frames: frames as i64, selected: Vec::new(), inside: None })
    }

    /// The model's view of the frames as they are, `[W, T, 3, h, w]` in gray levels.
    pub fn clean(&self) -> Result<Tensor, TchError> {
        tch::no_grad(|| {
            // A frame at a time: of large frames many samples are held on the way.
            let views = (0..self.frames).map(|frame| {
                let samples = self.groups.iter().map(|group| {
                    let samples = group.samples.f_narrow(1, frame, 1)?;
                    group.pixels(&samples.f_to_kind(Kind::Float)?)
                });
                let (view, _) = self.view(&samples.collect::<Result<Vec<_>, _>>()?)?;
                Ok(view)
            });
            Tensor::f_cat(&views.collect::<Result<Vec<_>, TchError>>()?, 1)
        })
    }

    /// The model's view of the frames `frames` of each window with `delta`, `[B, n, 3, h, w]` in gray levels, rendered
    /// into them: of the same shape. W is B, or 1 for as many perturbations of one window. Keeps what
    /// [`DeviceView::backward`] needs.
    pub fn observe(&mut self, frames: &[usize], delta: &Tensor) -> Result<Tensor, TchError> {
        tch::no_grad(|| {
            if self.selected != frames {
                self.selected.clear();
                for group in &mut self.groups {
                    group.select(frames)?;
                }
                self.selected = frames.to_vec();
            }
            let change = match &self.matrices {
                None => delta.shallow_clone(),
                Some([_, from_rgb]) => from_rgb.forward(delta)?,
            };
            let pixels = self.groups.iter_mut().map(|group| group.perturbed(&change));
            let pixels = pixels.collect::<Result<Vec<_>, _>>()?;
            let (view, inside) = self.view(&pixels)?;
            self.inside = Some(inside);
            Ok(view)
        })
    }

    /// The gradient with respect to the perturbation of the last [`DeviceView::observe`] from the one with respect to
    /// its view, `[B, n, 3, h, w]` both. Rounding counts as the identity (straight-through), clipping as what it is.
    pub fn backward(&self, grad_view: &Tensor) -> Result<Tensor, TchError> {
        tch::no_grad(|| {
            let grad = self.resize.adjoint(grad_view)?.f_mul(observed(&self.inside)?)?;
            let grad = match &self.matrices {
                None => grad,
                Some([to_rgb, _]) => to_rgb.adjoint(&grad)?,
            };
            let changes = self.groups.iter().map(|group| group.adjoint(&grad));
            let grad = Tensor::f_cat(&changes.collect::<Result<Vec<_>, _>>()?, 2)?;
            match &self.matrices {
                None => Ok(grad),
                Some([_, from_rgb]) => from_rgb.adjoint(&grad),
            }
        })
    }

    /// The view, and where colors were not clipped, of each group's pixels.
    fn view(&self, pixels: &[Tensor]) -> Result<(Tensor, Tensor), TchError> {
        let components = Tensor::f_cat(pixels, 2)?;
        let colors = match &self.matrices {
            None => components,
            Some([to_rgb, _]) => to_rgb.forward(&components)?,
        };
        // Half a gray level of slack: a value that rounds to black or white is not clipped.
        let inside = colors.f_clamp(-0.5, 255.5)?.f_eq_tensor(&colors)?;
        let colors = colors.f_clamp(0.0, 255.0)?.f_round()?;
        Ok((self.resize.forward(&colors)?, inside))
    }
}

impl Group {
    fn new(
        view: &View,
        components: Range<usize>,
        windows: &[&[Samples]],
        [w, t]: [i64; 2],
        to_device: &Upload,
    ) -> Result<Self, TchError> {
        let axes = &view.components[components.start];
        let m = components.len() as i64;
        let sites = [axes.rows.sites.len(), axes.cols.sites.len()];
        let mut bytes = Vec::new();
        for samples in windows.iter().copied().flatten() {
            samples.0[components.clone()].iter().for_each(|plane| bytes.extend_from_slice(plane));
        }
        let of_each = |values: [f32; 3]| upload(&values[components.clone()], &[m, 1, 1], to_device);
        Ok(Self {
            samples: upload(&bytes, &[w, t, m, sites[0] as i64, sites[1] as i64], to_device)?,
            lo: of_each(view.matrix.lo)?,
            hi: of_each(view.matrix.hi)?,
            offset: of_each(view.matrix.offset)?,
            components: components.clone(),
            render: Resample::new([Some(&axes.rows.render), Some(&axes.cols.render)], view.size, to_device)?,
            upsample: Resample::new([axes.rows.upsample.as_ref(), axes.cols.upsample.as_ref()], sites, to_device)?,
            selected: None,
            free: None,
        })
    }

    /// Takes up the frames to be observed.
    fn select(&mut self, frames: &[usize]) -> Result<(), TchError> {
        let samples = frames.iter().map(|frame| self.samples.f_select(1, *frame as i64));
        let samples = Tensor::f_stack(&samples.collect::<Result<Vec<_>, _>>()?, 1)?.f_to_kind(Kind::Float)?;
        // A sample outside the nominal range may stay where it is, but goes no further out.
        let (lo, hi) = (samples.f_minimum(&self.lo)?, samples.f_maximum(&self.hi)?);
        self.selected = Some(Selected { samples, lo, hi });
        Ok(())
    }

    /// The touched pixels of the selected frames, given the change of all components at the view's resolution.
    fn perturbed(&mut self, change: &Tensor) -> Result<Tensor, TchError> {
        let Selected { samples, lo, hi } = observed(&self.selected)?;
        let change = self.render.forward(&self.of_all(change)?)?;
        let value = samples.f_add(&change)?;
        let clipped = value.f_maximum(lo)?.f_minimum(hi)?;
        self.free = Some(clipped.f_eq_tensor(&value)?);
        self.pixels(&clipped.f_round()?)
    }

    /// The touched pixels of samples, without the components' offsets.
    fn pixels(&self, samples: &Tensor) -> Result<Tensor, TchError> {
        self.upsample.forward(samples)?.f_sub(&self.offset)
    }

    /// This group's planes of those of all components.
    fn of_all(&self, planes: &Tensor) -> Result<Tensor, TchError> {
        planes.f_narrow(2, self.components.start as i64, self.components.len() as i64)
    }

    /// The gradient by the change of its components, given that by the pixels of all.
    fn adjoint(&self, grad: &Tensor) -> Result<Tensor, TchError> {
        let free = observed(&self.free)?;
        let grad = self.upsample.adjoint(&self.of_all(grad)?)?;
        self.render.adjoint(&grad.f_mul(free)?)
    }
}

/// What an observation leaves behind.
fn observed<T>(left: &Option<T>) -> Result<&T, TchError> {
    left.as_ref().ok_or_else(|| TchError::Torch("expected an observation before its gradient, found none".into()))
}
