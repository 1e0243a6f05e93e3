// SPDX-License-Identifier: MPL-2.0

//! Passes in bfloat16: libtorch's autocast, by which convolutions and matrix products cast what they are given, and what
//! needs more precision does not. It works on any module, whether its weights are parameters or constants of its code.
//! tch has a switch for float16 on a GPU alone.

use std::ffi::c_void;
use std::sync::LazyLock;

use tch::Device;

use crate::torch;

/// `at::autocast::set_autocast_enabled(c10::DeviceType, bool)`, and `set_autocast_dtype(c10::DeviceType,
/// c10::ScalarType)`. Both enumerations are of one byte. The flags they set are the calling thread's.
type Enable = extern "C" fn(i8, bool);
type Choose = extern "C" fn(i8, i8);
/// `at::autocast::clear_cache()`.
type Clear = extern "C" fn();

/// That of `c10::ScalarType`.
const BFLOAT16: i8 = 15;

struct Switch {
    enable: Enable,
    choose: Choose,
    clear: Clear,
}

/// That of the libtorch that is loaded, if it has one.
static SWITCH: LazyLock<Option<Switch>> = LazyLock::new(|| {
    let enable = torch::symbol(c"_ZN2at8autocast20set_autocast_enabledEN3c1010DeviceTypeEb")?.as_ptr();
    let choose = torch::symbol(c"_ZN2at8autocast18set_autocast_dtypeEN3c1010DeviceTypeENS1_10ScalarTypeE")?.as_ptr();
    let clear = torch::symbol(c"_ZN2at8autocast11clear_cacheEv")?.as_ptr();
    // SAFETY: mangled names have the types of the arguments in them: a symbol that is found is a function of that type.
    unsafe {
        Some(Switch {
            enable: std::mem::transmute::<*mut c_void, Enable>(enable),
            choose: std::mem::transmute::<*mut c_void, Choose>(choose),
            clear: std::mem::transmute::<*mut c_void, Clear>(clear),
        })
    }
});

/// While this lives, what the thread computes on a device is computed in bfloat16 where that is safe.
pub(super) struct Autocast {
    switch: &'static Switch,
    device: i8,
}

impl Autocast {
    /// `None` where this libtorch or this device has no such thing.
    pub fn on(device: Device) -> Option<Self> {
        let device = match device {
            Device::Cpu => 0,
            Device::Cuda(_) => 1,
            _ => return None,
        };
        let switch = SWITCH.as_ref()?;
        (switch.choose)(device, BFLOAT16);
        (switch.enable)(device, true);
        Some(Self { switch, device })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        (self.switch.enable)(self.device, false);
        // Of weights that were cast. They may be another model's by the next pass.
        (self.switch.clear)();
    }
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn products_are_of_bfloat16_while_it_lives() {
        let matrix = Tensor::f_full([4, 4], 0.1, (Kind::Float, Device::Cpu)).unwrap();
        let kind = || matrix.f_matmul(&matrix).unwrap().kind();
        assert_eq!(kind(), Kind::Float);
        let reduced = Autocast::on(Device::Cpu).expect("libtorch has an autocast");
        assert_eq!(kind(), Kind::BFloat16);
        drop(reduced);
        assert_eq!(kind(), Kind::Float);
    }
}
