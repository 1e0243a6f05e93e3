// SPDX-License-Identifier: MPL-2.0

//! Which muxer and encoder make the kind of file that a name asks for.

use std::path::Path;

use anyhow::bail;

/// Extensions, muxer, and an encoder whose frames that takes.
const CONTAINERS: [(&[&str], &str, &str); 8] = [
    (&["mp4", "m4v"], "mp4mux", "x264enc"),
    (&["mov"], "qtmux", "x264enc"),
    (&["3gp"], "3gppmux", "x264enc"),
    (&["mkv"], "matroskamux", "x264enc"),
    // The encoder's own rate is so low that no attack would be left.
    (&["webm"], "webmmux", "vp8enc deadline=1 end-usage=cq cq-level=10 target-bitrate=20000000"),
    // AVI has no times to put B-frames in order by.
    (&["avi"], "avimux", "x264enc bframes=0"),
    (&["ts"], "mpegtsmux", "x264enc"),
    (&["flv"], "flvmux", "x264enc"),
];

/// Encoder and muxer for a file's name; what the user has named goes first.
pub fn chosen(output: &Path, encoder: Option<&str>, muxer: Option<&str>) -> anyhow::Result<(String, String)> {
    let extension = output.extension().unwrap_or_default().to_string_lossy();
    let extension = extension.to_lowercase();
    let by_name = CONTAINERS.iter().find(|(names, ..)| names.contains(&extension.as_str()));
    match (by_name, encoder, muxer) {
        (Some((_, by_name, fits)), encoder, None) => Ok((encoder.unwrap_or(fits).into(), (*by_name).into())),
        (_, encoder, Some(muxer)) => Ok((fitting(encoder, muxer), muxer.into())),
        (None, ..) => {
            let known: Vec<String> =
                CONTAINERS.iter().flat_map(|(names, ..)| names.iter().map(|n| format!(".{n}"))).collect();
            bail!(
                "Expected an output whose name ends in {}, found {}. Rename it, or name a muxer with --muxer.",
                known.join(" "),
                output.display()
            )
        }
    }
}

/// The encoder for a muxer that the user has named.
fn fitting(encoder: Option<&str>, muxer: &str) -> String {
    let name = muxer.split_whitespace().next().unwrap_or_default();
    let fits = CONTAINERS.iter().find(|(_, known, _)| *known == name);
    let fits = fits.map_or("x264enc", |(.., fits)| fits);
    encoder.unwrap_or(fits).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_which_container() {
        let muxer = |name: &str| chosen(Path::new(name), None, None).map(|(_, muxer)| muxer);
        assert_eq!(muxer("a.MKV").expect("known"), "matroskamux");
        assert_eq!(muxer("a.b.mp4").expect("known"), "mp4mux");
        let unknown = muxer("a.xyz").expect_err("unknown").to_string();
        assert!(unknown.contains(".webm") && unknown.contains("a.xyz"), "{unknown}");
        let named = chosen(Path::new("a.xyz"), None, Some("avimux")).expect("a muxer");
        assert_eq!(named.0, "x264enc bframes=0");
    }
}
