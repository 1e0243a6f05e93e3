// SPDX-License-Identifier: MPL-2.0

//! What every layer needs of libtorch: values on their way to a device and back, and messages without a C++ stack.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use tch::{Device, Kind, TchError, Tensor};

/// A tensor of `values` on a device.
pub fn upload(values: &[f32], shape: &[i64], device: Device) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(values)?.f_view(shape)?.f_to_device(device)
}

/// The same in double precision.
pub fn upload_f64(values: &[f64], shape: &[i64], device: Device) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(values)?.f_view(shape)?.f_to_device(device)
}

/// Frame numbers as an index on a device.
pub fn index(frames: &[usize], device: Device) -> Result<Tensor, TchError> {
    let frames: Vec<i64> = frames.iter().map(|k| *k as i64).collect();
    Tensor::f_from_slice(&frames)?.f_to_device(device)
}

/// What libtorch, or a library that it needs, has by this name.
pub(crate) fn symbol(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: both names end in a zero. RTLD_NOLOAD only looks for what is loaded, and the handle is never closed: the
    // library and those it needs stay.
    unsafe {
        let library = libc::dlopen(c"libtorch_cpu.so".as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_LAZY);
        if library.is_null() {
            return None;
        }
        NonNull::new(libc::dlsym(library, name.as_ptr()))
    }
}

thread_local! {
    static DOWNLOADED: Cell<u64> = const { Cell::new(0) };
}

/// How many values this thread has brought to the host by [`download`], each of which a GPU is waited for.
pub fn downloaded() -> u64 {
    DOWNLOADED.get()
}

/// Counts numbers of an attack that came to the host another way: read where they lay, on the CPU.
pub fn note_download(values: usize) {
    DOWNLOADED.set(DOWNLOADED.get() + values as u64);
}

/// The values of a tensor of any kind and device, counted by [`downloaded`].
pub fn download(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    // First: libtorch says so where there is no memory for it.
    let host = host(&tensor.f_detach()?, Kind::Float)?;
    let mut values = vec![0.0; host.numel()];
    note_download(values.len());
    host.f_copy_data(&mut values, host.numel())?;
    Ok(values)
}

/// The same in double precision.
pub fn download_f64(tensor: &Tensor) -> Result<Vec<f64>, TchError> {
    let host = host(&tensor.f_detach()?, Kind::Double)?;
    let mut values = vec![0.0; host.numel()];
    note_download(values.len());
    host.f_copy_data(&mut values, host.numel())?;
    Ok(values)
}

fn host(tensor: &Tensor, kind: Kind) -> Result<Tensor, TchError> {
    tensor.f_to_device(Device::Cpu)?.f_to_kind(kind)?.f_contiguous()
}

/// Whether a tensor lies in the memory of the host, where loops over rows are the fastest.
pub fn is_on_host(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu
}

/// The values of a contiguous tensor of floats in the host's memory, without a copy.
pub(crate) fn slice(tensor: &Tensor) -> Result<&[f32], TchError> {
    check(tensor)?;
    if tensor.numel() == 0 {
        return Ok(&[]);
    }
    // SAFETY: the memory is the host's, holds `numel` floats one after the other, and lives as long as the tensor. No
    // caller writes to a tensor that shares it while the slice is in use.
    Ok(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) })
}

/// The same, to write to. The tensor must share its memory with no other that is read meanwhile.
pub(crate) fn slice_mut(tensor: &mut Tensor) -> Result<&mut [f32], TchError> {
    check(tensor)?;
    if tensor.numel() == 0 {
        return Ok(&mut []);
    }
    // SAFETY: as above; the tensor is borrowed exclusively.
    Ok(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) })
}

fn check(tensor: &Tensor) -> Result<(), TchError> {
    let found = (tensor.device(), tensor.f_kind()?, tensor.is_contiguous());
    if found == (Device::Cpu, Kind::Float, true) {
        return Ok(());
    }
    Err(TchError::Kind(format!("expected contiguous floats in the host's memory, found {found:?}")))
}

/// The message of a libtorch error without its C++ stack and TorchScript traceback.
pub fn message(error: &TchError) -> String {
    let text = error.to_string();
    // What follows is for those who build libtorch.
    let mut text = text.as_str();
    for end in ["\nException raised", "\nframe #", "Could not find any similar ops", "\n:\n"] {
        text = text.split(end).next().unwrap_or_default();
    }
    let text = text.trim_start_matches("Internal torch error: ");
    // In a traceback the cause stands last.
    let text = match text.rfind("RuntimeError: ").or_else(|| text.rfind("builtins.")) {
        Some(at) => &text[at..],
        None => text,
    };
    let text = text.trim_start_matches("RuntimeError: ").trim();
    let text = match text.strip_prefix("[enforce fail at ") {
        // Between them, in some places, is what was checked.
        Some(rest) => rest.split_once("] ").and_then(|(_, said)| said.split_once(". ")).map_or(text, |(_, said)| said),
        None => text,
    };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    lines.join(" ").trim_end_matches(['.', ':', ' ']).to_string()
}
