// SPDX-License-Identifier: MPL-2.0

//! What is no video, by its first bytes. GStreamer would say of most that a plugin is missing.

/// Bytes to look at.
pub const HEAD: usize = 4096;

/// What the bytes are the beginning of, in words that follow "found".
pub fn no_video(head: &[u8]) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 9] = [
        (b"%PDF-", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"PK\x05\x06", "a ZIP archive"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!", "a RAR archive"),
        (b"\x7fELF", "a program"),
        (b"\xfd7zXZ\0", "an xz archive"),
        (b"SQLite format 3\0", "a database"),
    ];
    let found = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
    found.map(|(_, what)| *what).or_else(|| text(head))
}

/// An image: most of them decode, to a video of one frame.
pub fn image(head: &[u8]) -> Option<&'static str> {
    let webp = head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP");
    let heif = [b"ftyphei", b"ftypmif", b"ftypavi"];
    let tiff: [&[u8]; 2] = [b"II*\0", b"MM\0*"];
    match head {
        _ if head.starts_with(b"\x89PNG\r\n\x1a\n") => Some("a PNG image"),
        _ if head.starts_with(b"\xff\xd8\xff") => Some("a JPEG image"),
        _ if head.starts_with(b"GIF8") => Some("a GIF image"),
        _ if head.starts_with(b"BM") => Some("a BMP image"),
        _ if webp => Some("a WebP image"),
        _ if tiff.iter().any(|magic| head.starts_with(magic)) => Some("a TIFF image"),
        _ if heif.iter().any(|brand| head.get(4..11) == Some(&brand[..])) => Some("an image"),
        _ => None,
    }
}

fn text(head: &[u8]) -> Option<&'static str> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    // Raw video may look like text for long.
    if head.is_empty() || head.starts_with(b"YUV4MPEG2") {
        return None;
    }
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A letter of several bytes may be cut by the end of what was read.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        Err(_) => latin(head)?,
    };
    if text.chars().any(|c| c.is_control() && !c.is_ascii_whitespace()) {
        return None;
    }
    let start = text.trim_start().to_ascii_lowercase();
    let html = ["<!doctype html", "<html", "<head", "<body", "<script"];
    Some(match start.as_str() {
        // A page may begin with a comment or be XHTML.
        _ if html.iter().any(|tag| start.starts_with(tag)) || start.contains("<html") => "an HTML page",
        _ if start.starts_with("<?xml") => "an XML file",
        _ if start.starts_with(['{', '[']) => "a JSON file",
        _ if start.starts_with("version https://git-lfs") => {
            "a pointer of Git LFS, which stands for a file that was not fetched"
        }
        _ if start.starts_with('<') => "an XML or HTML file",
        _ => "a text file",
    })
}

/// Text in an older encoding: its ASCII part is looked at, if there is a tag that tells what it is.
fn latin(head: &[u8]) -> Option<&str> {
    let ascii = head.iter().position(|b| !b.is_ascii())?;
    let start = std::str::from_utf8(&head[..ascii]).ok()?;
    start.trim_start().starts_with('<').then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_video_is_told_by_its_first_bytes() {
        let expected: [(&[u8], Option<&str>); 12] = [
            (b"\n <!DOCTYPE HTML><p>", Some("an HTML page")),
            (b"<!-- x --><html lang=de>", Some("an HTML page")),
            (b"<html><title>\xe9t\xe9</title>", Some("an HTML page")),
            (b"<?xml version='1.0'?><Error/>", Some("an XML file")),
            (b"{\"error\": 404}", Some("a JSON file")),
            (b"not found\n", Some("a text file")),
            (b"%PDF-1.7\n%\xe2\xe3", Some("a PDF document")),
            (b"PK\x03\x04\x14\0", Some("a ZIP archive")),
            (b"YUV4MPEG2 W16 H16 F25:1\nFRAME\n", None),
            (b"\0\0\0\x18ftypmp42", None),
            (b"RIFF\0\0\0\0AVI LIST", None),
            (b"\x1a\x45\xdf\xa3", None),
        ];
        for (head, what) in expected {
            assert_eq!(no_video(head), what, "{}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn images_are_told_from_containers_that_begin_alike() {
        assert_eq!(image(b"RIFF\x24\0\0\0WEBPVP8 "), Some("a WebP image"));
        assert_eq!(image(b"RIFF\x24\0\0\0AVI LIST"), None);
        assert_eq!(image(b"\0\0\0\x18ftypmif1"), Some("an image"));
        assert_eq!(image(b"\0\0\0\x18ftypisom"), None);
    }
}
