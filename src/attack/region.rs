// SPDX-License-Identifier: MPL-2.0

//! Which part of a frame may change: all of it, or what stands out by its spectral residual (Hou and Zhang, *Saliency
//! Detection: A Spectral Residual Approach*, CVPR 2007), as Wei et al. (AAAI 2020) and Wang et al. (IJCAI 2021) have it.

use std::fmt;
use std::str::FromStr;

use tch::{Kind, TchError, Tensor};

use crate::torch;

/// Part of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Region {
    #[default]
    All,
    /// This share of its pixels, in (0, 1]: those that stand out most.
    Salient(f64),
}

/// The share of Wei et al.
const SHARE: f64 = 0.6;
/// Pixels along each side of the picture whose spectrum is looked at, as in the paper.
const SIDE: i64 = 64;

impl FromStr for Region {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let wrong = || format!("expected all, salient, or salient:SHARE with a share in (0, 1], found {s}");
        match s.split_once(':') {
            None if s == "all" => Ok(Self::All),
            None if s == "salient" => Ok(Self::Salient(SHARE)),
            Some(("salient", share)) => match share.parse() {
                Ok(share) if 0.0 < share && share <= 1.0 => Ok(Self::Salient(share)),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Salient(share) => write!(f, "salient:{share}"),
        }
    }
}

impl Region {
    /// 1 where a frame may change, `[1, frames, 1, height, width]`, by the frames' views `[frames, 3, height, width]` in gray
    /// levels. Nothing where all of it may.
    pub fn mask(self, views: &Tensor) -> Result<Option<Tensor>, TchError> {
        let Self::Salient(share) = self else { return Ok(None) };
        let [frames, _, height, width] = views.size()[..] else {
            return Err(TchError::Shape(format!("expected views of frames, found {:?}", views.size())));
        };
        let saliency = saliency(views)?.f_view([frames, height * width])?;
        let kept = ((height * width) as f64 * share).round().clamp(1.0, (height * width) as f64) as i64;
        // Those that stand out most, also where many stand out the same.
        let (_, places) = saliency.f_topk(kept, 1, true, false)?;
        let mask = saliency.f_zeros_like()?.f_scatter_value(1, &places, 1.0)?;
        mask.f_view([1, frames, 1, height, width]).map(Some)
    }
}

/// How much each pixel stands out, `[frames, 1, height, width]`: what of the logarithm of a picture's spectrum is not in the
/// mean of its neighborhood.
fn saliency(views: &Tensor) -> Result<Tensor, TchError> {
    let size = [views.size()[2], views.size()[3]];
    let gray = views.f_mean_dim(&[1i64][..], true, Kind::Float)?;
    let small = gray.f_upsample_bilinear2d([SIDE, SIDE], false, None, None)?;
    let spectrum = small.f_fft_fft2(None::<&[i64]>, [-2i64, -1], "backward")?;
    let amplitude = spectrum.f_abs()?.f_clamp_min(1e-6)?;
    let log = amplitude.f_log()?;
    let residual = log.f_sub(&log.f_avg_pool2d([3, 3], [1, 1], [1, 1], false, true, None)?)?;
    let changed = spectrum.f_mul(&residual.f_exp()?.f_div(&amplitude)?)?;
    let back = changed.f_fft_ifft2(None::<&[i64]>, [-2i64, -1], "backward")?.f_abs()?;
    let blurred = blurred(&back.f_mul(&back)?)?;
    blurred.f_upsample_bilinear2d(size, false, None, None)
}

/// By a Gaussian of 2.5 pixels, that of the common implementation.
fn blurred(pictures: &Tensor) -> Result<Tensor, TchError> {
    const REACH: i64 = 6;
    let weights: Vec<f32> = (-REACH..=REACH).map(|x| (-((x * x) as f32) / (2.0 * 2.5 * 2.5)).exp()).collect();
    let sum: f32 = weights.iter().sum();
    let weights: Vec<f32> = weights.iter().map(|w| w / sum).collect();
    let along = |shape: [i64; 4]| torch::upload(&weights, &shape, pictures.device());
    let (rows, columns) = (along([1, 1, 2 * REACH + 1, 1])?, along([1, 1, 1, 2 * REACH + 1])?);
    let once = pictures.f_conv2d(&rows, None::<&Tensor>, [1, 1], [REACH, 0], [1, 1], 1)?;
    once.f_conv2d(&columns, None::<&Tensor>, [1, 1], [0, REACH], [1, 1], 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_out_is_what_may_change() {
        let (height, width) = (96, 128);
        // A field of stripes, which repeat, and a disk in it, which does not.
        let disk = |y: i64, x: i64| (y - 30).pow(2) + (x - 90).pow(2) < 64;
        let at = |y: i64, x: i64| {
            if disk(y, x) {
                250.0
            } else if x / 4 % 2 == 0 {
                90.0
            } else {
                110.0
            }
        };
        let frame: Vec<f32> = (0..3 * height * width).map(|i| at(i / width % height, i % width)).collect();
        let views = torch::upload(&frame, &[1, 3, height, width], tch::Device::Cpu).expect("a tensor");
        let mask = Region::Salient(0.1).mask(&views).expect("a mask").expect("a mask");
        assert_eq!(mask.size(), [1, 1, 1, height, width]);
        let mask = torch::download(&mask).expect("values");
        let kept = mask.iter().filter(|m| **m == 1.0).count();
        assert_eq!(kept, ((height * width) as f64 * 0.1).round() as usize);
        assert!(mask.iter().all(|m| *m == 0.0 || *m == 1.0));
        let inside = |i: &usize| disk(*i as i64 / width, *i as i64 % width);
        let of_disk = (0..mask.len()).filter(inside).count();
        let found = (0..mask.len()).filter(inside).filter(|i| mask[*i] == 1.0).count();
        // The disk is a sixtieth of the picture, and nearly all of it is in the tenth that stands out.
        assert!(found * 10 > of_disk * 8, "{found} of {of_disk}");
    }

    #[test]
    fn a_region_has_the_share_that_its_name_says() {
        for (text, region) in
            [("all", Region::All), ("salient", Region::Salient(0.6)), ("salient:0.25", Region::Salient(0.25))]
        {
            assert_eq!(text.parse(), Ok(region));
            assert_eq!(region.to_string().parse(), Ok(region));
        }
        for wrong in ["", "salient:0", "salient:1.5", "salient:nan", "saliency", "all:1"] {
            assert!(wrong.parse::<Region>().is_err(), "{wrong}");
        }
    }
}
