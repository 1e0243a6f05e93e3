// SPDX-License-Identifier: MPL-2.0

//! Streams by chance.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gstsparseadv::model::Metadata;
use gstsparseadv::universal::{Universal, Values};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// What streams are attacked by.
pub struct Models {
    folder: tempfile::TempDir,
    embedded: PathBuf,
}

impl Models {
    pub fn make() -> anyhow::Result<Self> {
        let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/figures-lrcn.pt");
        let folder = tempfile::tempdir()?;
        let (metadata, _) = gstsparseadv::model::archive::read_metadata(&embedded)?;
        noise(metadata).save(&folder.path().join("noise.safetensors"))?;
        Ok(Self { folder, embedded })
    }

    fn noise(&self) -> PathBuf {
        self.folder.path().join("noise.safetensors")
    }
}

fn noise(view: Metadata) -> Universal {
    let mut universal = Universal::nothing(view, "none");
    let [_, _, height, width] = universal.shape;
    universal.values = Values::Added((0..3 * height * width).map(|i| (i * 7 % 21) as i8 - 10).collect());
    universal
}

pub struct Stream {
    pub text: String,
    pub name: String,
    rate: u32,
    /// Formats that its caps may change to.
    pub formats: &'static [&'static str],
}

const FORMATS: [&str; 13] =
    ["I420", "YV12", "NV12", "NV21", "Y42B", "Y444", "RGB", "BGR", "RGBA", "BGRx", "ARGB", "xBGR", "GRAY8"];

impl Stream {
    pub fn random(rng: &mut ChaCha8Rng, n: usize, models: &Models) -> Self {
        let live = rng.random_bool(0.3);
        let rate = *[10, 25, 30, 60, 120].choose(rng).unwrap_or(&25);
        // A second and a half at the most where it is live.
        let frames = if live { rng.random_range(1..=(rate * 3 / 2)) } else { rng.random_range(0..=150) };
        let (width, height) = (rng.random_range(16..=320), rng.random_range(16..=240));
        let format = FORMATS.choose(rng).unwrap_or(&"I420");
        let pattern = ["ball", "smpte", "snow", "gamut", "pinwheel", "black"].choose(rng).unwrap_or(&"ball");
        let properties = properties(rng, models);
        let name = format!("attack{n}");
        let sync = rng.random_bool(0.3) || live;
        let queue = if rng.random_bool(0.5) { "! queue" } else { "" };
        let text = format!(
            "videotestsrc name=source{n} is-live={live} num-buffers={frames} pattern={pattern} ! capsfilter name=caps{n} \
             caps=video/x-raw,format={format},width={width},height={height},framerate={rate}/1 ! sparseadv name={name} \
             {properties} {queue} ! fakesink name=sink{n} sync={sync} qos={}",
            rng.random_bool(0.3)
        );
        Self { text, name, rate, formats: &FORMATS }
    }

    /// How long so many frames last.
    pub fn lasting(&self, frames: u64) -> Duration {
        Duration::from_secs_f64(frames as f64 / f64::from(self.rate))
    }
}

fn properties(rng: &mut ChaCha8Rng, models: &Models) -> String {
    let model = format!("model={}", models.embedded.display());
    let noise = format!("perturbation={}", models.noise().display());
    let asks = rng.random_bool(0.2);
    let mut parts = match rng.random_range(0..7) {
        _ if asks => vec![model],
        0 => vec![noise],
        1 => vec![noise, model],
        2 => vec![model, "mode=causal".into()],
        3 => vec![model, "mode=auto".into()],
        _ => vec![model],
    };
    let mut maybe = |share: f64, text: String, rng: &mut ChaCha8Rng| {
        if rng.random_bool(share) {
            parts.push(text);
        }
    };
    let iterations = rng.random_range(0..6);
    maybe(0.9, format!("max-iterations={iterations}"), rng);
    let stride = rng.random_range(1..40);
    maybe(0.3, format!("stride={stride}"), rng);
    let step = rng.random_range(1..4);
    maybe(0.3, format!("frame-step={step}"), rng);
    maybe(0.3, "tail=passthrough".into(), rng);
    if asks {
        let search = *["squares", "stde", "v-bad", "opt", "sign-opt"].choose(rng).unwrap_or(&"squares");
        maybe(1.0, format!("access=scores search={search}"), rng);
        let queries = rng.random_range(1..60);
        // Without a bound one may ask for minutes.
        maybe(1.0, format!("max-queries={queries}"), rng);
    }
    maybe(if asks { 0.0 } else { 0.2 }, "search=two-stage".into(), rng);
    maybe(0.2, "warm-start=true".into(), rng);
    maybe(0.2, "batch-windows=3".into(), rng);
    let budget = rng.random_range(0..300_000_000u64);
    maybe(0.2, format!("time-budget={budget}"), rng);
    maybe(0.1, "survive=\"jpegenc ! jpegdec\"".into(), rng);
    maybe(0.1, "on-error=passthrough".into(), rng);
    let all = ["gradient", "ifd:3", "random:2", "fixed", "all", "0,5"];
    // A black box has no gradient to choose by.
    let keyframes = *all[usize::from(asks)..].choose(rng).unwrap_or(&"all");
    maybe(0.5, format!("keyframes={keyframes}"), rng);
    parts.join(" ")
}
