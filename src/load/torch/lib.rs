// SPDX-License-Identifier: MPL-2.0

//! The elements as a library that is linked to libtorch. The plugin, which is not, loads it.

use glib::translate::{IntoGlib, from_glib_borrow};

/// Registers the elements as the plugin's.
///
/// # Safety
///
/// `plugin` is a plugin that GStreamer is loading.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparseadv_register(plugin: *mut gst::ffi::GstPlugin) -> glib::ffi::gboolean {
    // SAFETY: as above.
    let plugin = unsafe { from_glib_borrow(plugin) };
    gstsparseadv::register(&plugin).is_ok().into_glib()
}
