// SPDX-License-Identifier: MPL-2.0

//! The device a model runs on.

use super::Error;

/// A device as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// The first GPU where there is one, the CPU elsewhere.
    #[default]
    Auto,
    Cpu,
    Cuda(usize),
}

impl std::str::FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        match s {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => s
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| Error::DeviceName { found: s.into() }),
        }
    }
}

impl DeviceChoice {
    /// The device itself, if this machine and this libtorch have it.
    pub fn open(self) -> Result<tch::Device, Error> {
        let count = if tch::Cuda::is_available() { usize::try_from(tch::Cuda::device_count()).unwrap_or(0) } else { 0 };
        match self {
            Self::Auto if count > 0 => Ok(tch::Device::Cuda(0)),
            Self::Auto | Self::Cpu => Ok(tch::Device::Cpu),
            Self::Cuda(n) if n < count => Ok(tch::Device::Cuda(n)),
            Self::Cuda(n) => Err(Error::DeviceMissing {
                wanted: format!("cuda:{n}"),
                found: match count {
                    0 => "no CUDA device".into(),
                    1 => "only cuda:0".into(),
                    _ => format!("only cuda:0 to cuda:{}", count - 1),
                },
            }),
        }
    }
}
