// SPDX-License-Identifier: MPL-2.0

//! The linear maps of a view in tensor operations on planes, `[B, n, m, rows, cols]`.

use tch::{TchError, Tensor};

use crate::video::taps::Taps;

/// Brings a tensor to a device.
pub type Upload<'a> = dyn Fn(&Tensor) -> Result<Tensor, TchError> + 'a;

/// The only way by which numbers of this program become tensors.
pub fn upload<T: tch::kind::Element>(data: &[T], size: &[i64], to_device: &Upload) -> Result<Tensor, TchError> {
    to_device(&Tensor::f_from_slice(data)?.f_view(size)?)
}

/// Colors from components or the other way round.
pub struct Mix {
    /// `[outputs, inputs, 1, 1]`.
    matrix: Tensor,
}

impl Mix {
    /// The first `outputs` rows and `inputs` columns of a matrix.
    pub fn new(matrix: [[f32; 3]; 3], [outputs, inputs]: [usize; 2], to_device: &Upload) -> Result<Self, TchError> {
        let values: Vec<f32> = matrix[..outputs].iter().flat_map(|row| &row[..inputs]).copied().collect();
        Ok(Self { matrix: upload(&values, &[outputs as i64, inputs as i64, 1, 1], to_device)? })
    }

    pub fn forward(&self, planes: &Tensor) -> Result<Tensor, TchError> {
        self.sum(1, planes)
    }

    pub fn adjoint(&self, grad: &Tensor) -> Result<Tensor, TchError> {
        self.sum(0, grad)
    }

    /// Each plane by its weights, which `axis` of the matrix counts.
    fn sum(&self, axis: i64, planes: &Tensor) -> Result<Tensor, TchError> {
        let planes = planes.f_split(1, 2)?;
        let products = planes.iter().zip(0..).map(|(plane, i)| plane.f_mul(&self.matrix.f_select(axis, i)?));
        in_order(products)
    }
}

/// A sum from left to right.
fn in_order(mut terms: impl Iterator<Item = Result<Tensor, TchError>>) -> Result<Tensor, TchError> {
    let first = terms.next().ok_or_else(|| TchError::Shape("expected terms of a sum, found none".into()))??;
    terms.try_fold(first, |sum, term| sum.f_add(&term?))
}

/// Rows, then columns of planes from others; none where they stay what they are.
pub struct Resample([Option<Axis>; 2]);

impl Resample {
    /// From planes of `inputs` rows and columns.
    pub fn new(taps: [Option<&Taps>; 2], inputs: [usize; 2], to_device: &Upload) -> Result<Self, TchError> {
        let axis = |axis: usize| {
            let taps = taps[axis].filter(|taps| !taps.is_identity(inputs[axis]));
            taps.map(|taps| Axis::new(taps, axis, inputs[axis], to_device)).transpose()
        };
        Ok(Self([axis(0)?, axis(1)?]))
    }

    pub fn forward(&self, planes: &Tensor) -> Result<Tensor, TchError> {
        self.0.iter().flatten().try_fold(planes.shallow_clone(), |planes, axis| axis.forward(&planes))
    }

    pub fn adjoint(&self, grad: &Tensor) -> Result<Tensor, TchError> {
        self.0.iter().flatten().rev().try_fold(grad.shallow_clone(), |grad, axis| axis.adjoint(&grad))
    }
}

/// One axis: as taps for the way there, whose order of terms counts, as a matrix for the way back.
struct Axis {
    /// Of the rows or columns in planes.
    dim: usize,
    taps: i64,
    /// Inputs of all outputs' first taps, then of their second ones, and so on; missing ones weigh nothing.
    index: Tensor,
    weight: Tensor,
    /// `[outputs, inputs]`.
    matrix: Tensor,
}

impl Axis {
    fn new(taps: &Taps, axis: usize, inputs: usize, to_device: &Upload) -> Result<Self, TchError> {
        let outputs = taps.outputs();
        let most = (0..outputs).map(|i| taps.row(i).0.len()).max().unwrap_or(0).max(1);
        let (mut index, mut weight) = (vec![0i64; most * outputs], vec![0f32; most * outputs]);
        let mut matrix = vec![0f32; outputs * inputs];
        for o in 0..outputs {
            let (from, by) = taps.row(o);
            for (tap, (i, w)) in from.iter().zip(by).enumerate() {
                (index[tap * outputs + o], weight[tap * outputs + o]) = (i64::from(*i), *w);
                matrix[o * inputs + *i as usize] += *w;
            }
        }
        let all = index.len() as i64;
        Ok(Self {
            dim: 3 + axis,
            taps: most as i64,
            index: upload(&index, &[all], to_device)?,
            weight: upload(&weight, &[[all, 1], [1, all]][axis], to_device)?,
            matrix: upload(&matrix, &[outputs as i64, inputs as i64], to_device)?,
        })
    }

    fn forward(&self, planes: &Tensor) -> Result<Tensor, TchError> {
        let mut at = vec![None; self.dim];
        at.push(Some(&self.index));
        let taps = planes.f_index(&at)?.f_mul(&self.weight)?.f_chunk(self.taps, self.dim as i64)?;
        in_order(taps.into_iter().map(Ok))
    }

    fn adjoint(&self, grad: &Tensor) -> Result<Tensor, TchError> {
        match self.dim {
            3 => self.matrix.f_transpose(0, 1)?.f_matmul(grad),
            _ => grad.f_matmul(&self.matrix),
        }
    }
}
