// SPDX-License-Identifier: MPL-2.0

//! The plugin that GStreamer finds. It needs no libtorch to be loaded, and loads the library with the elements, which
//! does. Where that fails, elements of the same names say why. A plugin that was itself linked to libtorch could say
//! nothing: GStreamer would note that it cannot be loaded, and tell from then on that there is no such element.

// A panic in a function that GStreamer calls ends the process.
#![deny(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::ffi::{CStr, CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use gst::ffi;
use gst::glib::ffi::gboolean;
use gst::glib::translate::{IntoGlib, from_glib_borrow};
use once_cell::sync::Lazy;

#[path = "../libtorch.rs"]
#[allow(dead_code)]
mod libtorch;
mod missing;

const BUILD: libtorch::Build = libtorch::Build { lib: env!("LIBTORCH_LIB"), version: env!("LIBTORCH_VERSION") };

/// The elements, beside the plugin.
const ELEMENTS: &str = "libsparseadv_torch.so";

type Register = unsafe extern "C" fn(*mut ffi::GstPlugin) -> gboolean;

unsafe extern "C" fn init(plugin: *mut ffi::GstPlugin) -> gboolean {
    // SAFETY: GStreamer calls this with the plugin that it is loading.
    let borrowed = unsafe { from_glib_borrow::<_, gst::Plugin>(plugin) };
    // Links are followed: an installed plugin is a link to the folder where the rest lies.
    let own = borrowed.filename().map(|path| path.canonicalize().unwrap_or(path));
    let home = own.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
    watch(&borrowed, home);
    let library = home.join(ELEMENTS);
    let why = match elements(&library) {
        // SAFETY: the library's function of this name has this type.
        Ok(register) => return unsafe { register(plugin) },
        Err(found) if library.exists() => BUILD.missing(home, &found),
        Err(_) => format!("Expected {}, found none. Build or install the plugin again.", library.display()),
    };
    missing::register(&borrowed, why).is_ok().into_glib()
}

/// GStreamer keeps what it has found in a plugin until the plugin changes, or a file that it names here.
fn watch(plugin: &gst::Plugin, home: &Path) {
    let file = |path: PathBuf, name: &str| {
        if let Some(path) = path.to_str() {
            plugin.add_dependency(&[], &[path], &[name], gst::PluginDependencyFlags::empty());
        }
    };
    file(home.into(), ELEMENTS);
    for place in BUILD.places(home) {
        file(place, "libtorch_cpu.so");
    }
}

/// The function that registers the elements, or why the library cannot be loaded.
fn elements(library: &Path) -> Result<Register, String> {
    let path = CString::new(library.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: both texts end in a zero. The handle is never closed: what is registered stays.
    unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        let symbol = if handle.is_null() { handle } else { libc::dlsym(handle, c"sparseadv_register".as_ptr()) };
        if symbol.is_null() {
            let error = libc::dlerror();
            let error = if error.is_null() { c"no reason" } else { CStr::from_ptr(error) };
            return Err(error.to_string_lossy().into_owned());
        }
        Ok(std::mem::transmute::<*mut libc::c_void, Register>(symbol))
    }
}

/// GStreamer's own tools take a plugin that is older than GStreamer for none: `gst-inspect-1.0 --exists` does. So its
/// version begins with the one of the GStreamer that runs, as GStreamer's own plugins have it, and ours follows.
static VERSION: Lazy<CString> = Lazy::new(|| {
    let (major, minor, micro, _) = gst::version();
    let own = concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID"));
    CString::new(format!("{major}.{minor}.{micro} (sparseadv {own})")).unwrap_or_default()
});

struct Description(ffi::GstPluginDesc);

// SAFETY: what it points to is never changed, and lives as long as the process.
unsafe impl Send for Description {}
// SAFETY: as above.
unsafe impl Sync for Description {}

static DESCRIPTION: Lazy<Description> = Lazy::new(|| {
    Description(ffi::GstPluginDesc {
        // The oldest GStreamer that it works with.
        major_version: 1,
        minor_version: 22,
        name: c"sparseadv".as_ptr(),
        description: text(concat!(env!("CARGO_PKG_DESCRIPTION"), "\0")),
        plugin_init: Some(init),
        version: VERSION.as_ptr(),
        // GStreamer's name of the MPL-2.0.
        license: c"MPL-2.0".as_ptr(),
        source: c"gst-plugin-sparseadv".as_ptr(),
        package: c"gst-plugin-sparseadv".as_ptr(),
        origin: text(concat!(env!("CARGO_PKG_REPOSITORY"), "\0")),
        release_datetime: text(concat!(env!("BUILD_REL_DATE"), "\0")),
        _gst_reserved: [ptr::null_mut(); 4],
    })
});

/// Of a text that ends in a zero.
fn text(text: &'static str) -> *const c_char {
    CStr::from_bytes_with_nul(text.as_bytes()).unwrap_or_default().as_ptr()
}

/// What GStreamer asks a plugin of this file name for.
#[unsafe(no_mangle)]
pub extern "C" fn gst_plugin_sparseadv_get_desc() -> *const ffi::GstPluginDesc {
    &DESCRIPTION.0
}
