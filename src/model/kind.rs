// SPDX-License-Identifier: MPL-2.0

//! What a file is that is no TorchScript archive: by its first bytes, or by the members of a zip.

/// What was found, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub what: &'static str,
    pub remedy: &'static str,
}

/// How many of a file's first bytes [`of_bytes`] looks at.
pub const HEAD: usize = 1024;

pub const EXPORT: &str = "Export the model with torch.jit.save, as examples/python/export_model.py does.";
const FRAMEWORK: &str = "Only PyTorch models can be attacked: build the model in PyTorch with these weights, and export it with torch.jit.save.";
const WEIGHTS: &str = "It holds weights alone: load them into the model in Python, and export that with torch.jit.save, as examples/python/export_model.py --weights does.";
const UNPACK: &str = "Unpack it, and name the model inside, written by torch.jit.save.";
const DOWNLOAD: &str = "Download the model again, whole; if it was exported here, export it again with torch.jit.save.";
const EAGER: &str = "It holds no code: build the model in Python, load this into it, and export that with torch.jit.save, as examples/python/export_model.py --weights does.";
const PROGRAM: &str =
    "Export the model from Python with torch.jit.save instead, as examples/python/export_model.py does.";
const NAME_MODEL: &str = "Name the model's file, written by torch.jit.save.";

const fn found(what: &'static str, remedy: &'static str) -> Found {
    Found { what, remedy }
}

pub const EMPTY: Found = found("an empty file", DOWNLOAD);
pub const SPECIAL: Found = found("a device, pipe or socket", NAME_MODEL);

/// A folder, by the names in it.
pub fn of_directory(names: &[String]) -> Found {
    let has = |name: &str| names.iter().any(|n| n == name);
    if has("saved_model.pb") {
        found("a directory, a TensorFlow SavedModel", FRAMEWORK)
    } else if has("constants.pkl") {
        found("a directory, an unpacked archive", "Name the archive itself, as torch.jit.save wrote it.")
    } else {
        found("a directory", NAME_MODEL)
    }
}

/// A zip archive that is no TorchScript, by its members.
pub fn of_members(names: &[String]) -> Found {
    let ends = |end: &str| names.iter().any(|n| n.ends_with(end));
    let part = |part: &str| names.iter().any(|n| n.contains(part));
    if ends("serialized_exported_program.json")
        || ends("/models/model.json")
        || ends("archive_format")
        || part("data/aotinductor/")
    {
        found("a program of torch.export (.pt2), which the attack cannot take gradients of", PROGRAM)
    } else if ends("/.data/extern_modules") {
        found("a package of torch.package", PROGRAM)
    } else if ends("data.pkl") {
        found("a state_dict or pickled module (torch.save) without code", EAGER)
    } else if ends("model.weights.h5") || ends("keras_metadata.pb") {
        found("a Keras model", FRAMEWORK)
    } else if ends(".npy") {
        found("NumPy arrays (.npz)", WEIGHTS)
    } else if ends("saved_model.pb") {
        found("a packed TensorFlow SavedModel", FRAMEWORK)
    } else if [".pt", ".pth", ".ts", ".torchscript"].iter().any(|e| ends(e)) {
        found("a zip archive with a model inside it", UNPACK)
    } else {
        found("a zip archive of something else", EXPORT)
    }
}

/// Signatures at the start of a file.
const STARTS: &[(&[u8], Found)] = &[
    (
        b"version https://git-lfs.github.com/spec/",
        found(
            "a Git LFS pointer, not the file that it stands for",
            "Run `git lfs pull` in its repository, or download the model itself; it must be written by torch.jit.save.",
        ),
    ),
    // The number with which torch.save began a file until PyTorch 1.6.
    (
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
        found(
            "a state_dict or module in the old, legacy format of torch.save (before PyTorch 1.6), without code",
            EAGER,
        ),
    ),
    (b"\x89HDF\r\n\x1a\n", found("an HDF5 file, as Keras and h5py write it", FRAMEWORK)),
    (b"\x93NUMPY", found("a NumPy array", WEIGHTS)),
    (b"GGUF", found("a GGUF file of weights", FRAMEWORK)),
    (b"ftrt", found("a TensorRT engine", FRAMEWORK)),
    (b"\x7fELF", found("an ELF program or library", EXPORT)),
    (b"\x1f\x8b", found("a gzip archive", UNPACK)),
    (b"BZh", found("a bzip2 archive", UNPACK)),
    (b"\xfd7zXZ\0", found("an xz archive", UNPACK)),
    (b"\x28\xb5\x2f\xfd", found("a zstd archive", UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", found("a 7z archive", UNPACK)),
    (b"Rar!", found("a RAR archive", UNPACK)),
    (b"\x1a\x45\xdf\xa3", found("a video, a Matroska or WebM file", NAME_MODEL)),
    (b"OggS", found("a video or sound, an Ogg file", NAME_MODEL)),
    (b"FLV", found("a video, a Flash file", NAME_MODEL)),
    (b"RIFF", found("a video or sound, a RIFF file such as AVI", NAME_MODEL)),
    (b"\0\0\x01\xba", found("a video, an MPEG program stream", NAME_MODEL)),
    (b"\x89PNG", found("a PNG picture", NAME_MODEL)),
    (b"\xff\xd8\xff", found("a JPEG picture", NAME_MODEL)),
    (b"GIF8", found("a GIF picture", NAME_MODEL)),
    (b"%PDF", found("a PDF document", NAME_MODEL)),
    (b"PK\x03\x04", found("a truncated zip archive, whose end is missing", DOWNLOAD)),
];

/// The same further on: offset, signature.
const LATER: &[(usize, &[u8], Found)] = &[
    (4, b"ftyp", found("a video, an MP4 or QuickTime file", NAME_MODEL)),
    (4, b"TFL3", found("a TensorFlow Lite model", FRAMEWORK)),
    (4, b"PTMF", found("a mobile model (.ptl) in PyTorch's flatbuffer format", PROGRAM)),
    (4, b"ET1", found("an ExecuTorch program (.pte)", PROGRAM)),
    (257, b"ustar", found("a tar archive", UNPACK)),
    // safetensors: the length of a JSON header, and the header.
    (8, b"{\"", found("a safetensors file", WEIGHTS)),
    (188, b"G", found("a video, an MPEG transport stream", NAME_MODEL)),
];

/// A file that is no zip archive, by its first [`HEAD`] bytes.
pub fn of_bytes(head: &[u8]) -> Found {
    if let Some((_, found)) = STARTS.iter().find(|(start, _)| head.starts_with(start)) {
        return *found;
    }
    let later = |(at, mark, _): &&(usize, &[u8], Found)| {
        head.get(*at..).is_some_and(|rest| rest.starts_with(mark))
            && (*at != 188 || head[0] == b'G')
            && (*at != 8 || head[3..8] == [0; 5])
    };
    if let Some((_, _, found)) = LATER.iter().find(later) {
        return *found;
    }
    if let Some(found) = of_protobuf(head) {
        return found;
    }
    if head.starts_with(b"\x80") && head.get(1).is_some_and(|v| (2..=5).contains(v)) {
        return found("a Python pickle, as torch.save or pickle writes it", EAGER);
    }
    of_text(head).unwrap_or(found("a file that is no zip archive and of no known kind, or a damaged one", EXPORT))
}

/// ONNX and TensorFlow have no signature, but a known first field each.
fn of_protobuf(head: &[u8]) -> Option<Found> {
    match head {
        // Its second field is a message, where that of ONNX is a name.
        [0x08, 2..=30, 0x12, _, 0x0a | 0x52 | 0xa2, ..] => Some(found("a Core ML model", FRAMEWORK)),
        [0x08, 1, 0x12, ..] => Some(found("a TensorFlow SavedModel", FRAMEWORK)),
        // The format's version, then the name of the program that wrote it or the next field there.
        [0x08, 2..=30, 0x12 | 0x1a | 0x22 | 0x28 | 0x3a | 0x42, ..] => Some(found(
            "an ONNX model",
            "ONNX models cannot be attacked: export the PyTorch model that it was made from with torch.jit.save, as \
             examples/python/export_model.py does.",
        )),
        // A graph's first node, whose first field is its name.
        [0x0a, _, 0x0a, ..] | [0x0a, 0x80..=0xff, 0x01..=0x7f, 0x0a, ..] => {
            Some(found("a TensorFlow graph", FRAMEWORK))
        }
        _ => None,
    }
}

fn of_text(head: &[u8]) -> Option<Found> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The end may cut a letter.
        Err(e) if e.valid_up_to() + 4 > head.len() && e.valid_up_to() > 0 => {
            std::str::from_utf8(&head[..e.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.to_lowercase();
    Some(if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        found("an HTML page, as a failed download leaves", DOWNLOAD)
    } else if text.starts_with('<') {
        found("an XML text, as a failed download or OpenVINO leaves", DOWNLOAD)
    } else if text.starts_with('{') || text.starts_with('[') {
        found("a JSON text", NAME_MODEL)
    } else {
        found("a text file, which is no zip archive", EXPORT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as the programs that write these files begin them.
    #[test]
    fn files_are_known_by_their_first_bytes() {
        let mut tar = vec![0; 512];
        tar[..8].copy_from_slice(b"model.pt");
        tar[257..262].copy_from_slice(b"ustar");
        let mut ts = vec![0xff; 400];
        (ts[0], ts[188]) = (b'G', b'G');
        let cases: &[(&[u8], &str)] = &[
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
            (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "legacy"),
            (b"\x80\x04\x95\x10\0\0\0", "pickle"),
            (b"\x58\0\0\0\0\0\0\0{\"__metadata__\":{}}", "safetensors"),
            (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0", "ONNX"),
            (b"\x08\x01\x12\x9a\x05\x0a", "TensorFlow SavedModel"),
            (b"\x89HDF\r\n\x1a\n\0", "HDF5"),
            (b"\x20\0\0\0TFL3", "TensorFlow Lite"),
            (b"\n <!DOCTYPE html>\n<html>", "HTML"),
            (b"<html><head>", "HTML"),
            (b"<?xml version='1.0'?><Error>", "XML"),
            (b"{\"window\": 16}", "JSON"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"7z\xbc\xaf\x27\x1c\0\x04", "7z"),
            (b"\0\0\0\x20ftypisom", "MP4"),
            (b"RIFF\0\0\0\0AVI LIST", "AVI"),
            (b"PK\x03\x04\0\0", "truncated"),
            (b"import torch\n", "text file"),
            (&tar, "tar"),
            (&ts, "transport stream"),
            (b"\xfe\xfe\xfe\xfe", "no known kind"),
        ];
        for (head, words) in cases {
            let what = of_bytes(head).what;
            assert!(what.contains(words), "{words}: {what}");
        }
    }
}
