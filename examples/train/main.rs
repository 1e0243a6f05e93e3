// SPDX-License-Identifier: MPL-2.0

//! Trains a video classifier, C3D, a 3D ResNet or LRCN, on a folder of clips and exports it for the plugin.
//!
//! `cargo run --release --example train -- DATA --arch c3d --out model.pt` reads UCF-101, HMDB-51 or plain class
//! folders, prints the accuracy on the held-out clips and writes a TorchScript archive with its metadata. The decoded
//! clips stay in memory, at 66 kB a frame of 128x171: see `--max-frames` and `--resize` for large sets.

mod archive;
mod c3d;
mod dataset;
mod export;
mod fit;
mod halve;
mod layers;
mod lrcn;
mod network;
mod resnet;
mod score;
mod video;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use gstsparseadv::dataset::{Clip, DataSet, Options};
use gstsparseadv::model::metadata::{Layout as Axes, Metadata, Resize};
use rand::{SeedableRng, rngs::StdRng};
use tch::{Device, nn};

use dataset::{Cached, Geometry, Skipped, Values};
use network::Network;

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Arch {
    C3d,
    Lrcn,
    Resnet18,
    Resnet34,
    Resnet50,
    Resnet101,
    Resnext101,
}

impl Arch {
    /// The blocks of a 3D ResNet and how many each stage has.
    fn blocks(self) -> Option<(resnet::Kind, [usize; 4])> {
        match self {
            Self::C3d | Self::Lrcn => None,
            Self::Resnet18 => Some((resnet::Kind::Basic, [2, 2, 2, 2])),
            Self::Resnet34 => Some((resnet::Kind::Basic, [3, 4, 6, 3])),
            Self::Resnet50 => Some((resnet::Kind::Bottleneck, [3, 4, 6, 3])),
            Self::Resnet101 => Some((resnet::Kind::Bottleneck, [3, 4, 23, 3])),
            Self::Resnext101 => Some((resnet::Kind::Grouped, [3, 4, 23, 3])),
        }
    }

    fn axes(self) -> Axes {
        if self == Self::Lrcn { Axes::Btchw } else { Axes::Bcthw }
    }

    fn values(self) -> Values {
        match self {
            Self::C3d | Self::Lrcn => Values { white: 1.0, mean: [0.5; 3], deviation: 0.25 },
            _ => Values { white: 255.0, mean: resnet::MEAN, deviation: 1.0 },
        }
    }
}

#[derive(Parser)]
#[command(about = "Trains a C3D, 3D ResNet or LRCN video classifier and exports it for the plugin")]
struct Args {
    /// The data set's folder.
    data: PathBuf,
    #[arg(long)]
    arch: Arch,
    /// The TorchScript archive to write.
    #[arg(long)]
    out: PathBuf,
    /// How the set is laid out: auto, ucf101, hmdb51 or folders.
    #[arg(long, default_value = "auto")]
    layout: String,
    /// Which of the set's three splits.
    #[arg(long, default_value_t = 1)]
    split: u32,
    /// Folder of the split lists, if not in or beside the set.
    #[arg(long)]
    splits: Option<PathBuf>,
    /// Groups (actors, source films) that are the test clips of plain folders, with commas between.
    #[arg(long, value_delimiter = ',')]
    test_groups: Vec<String>,
    /// Channels of the first layer. The published C3D and 3D ResNets have 64.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(i64).range(1..=512))]
    width: i64,
    /// Width of C3D's fc6 and fc7 or of LRCN's fc6 and LSTM; by default 64 x width, which is C3D's published
    /// proportion, or 8 x width.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=65536))]
    hidden: Option<i64>,
    /// Share of the hidden layers' outputs left out of each training step. C3D's published share is 0.5; a 3D ResNet
    /// has no hidden layers.
    #[arg(long, default_value_t = 0.5)]
    dropout: f64,
    /// The layer whose output is exported as features, by which keyframes are weighed; by default C3D's conv3b or a 3D
    /// ResNet's layer1. Of 16 frames the ResNet's conv1 has 16 steps, layer1 8, layer2 4 and layer3 2; layer4 has one, and
    /// is refused, for it would weigh all frames alike.
    #[arg(long)]
    feature_layer: Option<String>,
    /// Frames a window.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(i64).range(1..=1024))]
    window: i64,
    /// Frames of the clip from one frame of a window to the next.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..=64))]
    frame_step: i64,
    /// Height x width that frames are resized to.
    #[arg(long, default_value = "128x171", value_parser = parse_size)]
    resize: [i64; 2],
    /// Side of the square cut from them.
    #[arg(long, default_value_t = 112, value_parser = clap::value_parser!(i64).range(16..=1024))]
    view: i64,
    /// Frames kept of each clip, from its middle.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(i64).range(1..))]
    max_frames: i64,
    #[arg(long, default_value_t = 12)]
    epochs: usize,
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
    #[arg(long, default_value_t = 2e-3)]
    lr: f64,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn parse_size(text: &str) -> Result<[i64; 2], String> {
    text.split_once('x')
        .and_then(|(h, w)| Some([h.parse().ok()?, w.parse().ok()?]))
        .filter(|size: &[i64; 2]| size.iter().all(|side| (16..=4096).contains(side)))
        .ok_or_else(|| format!("expected HEIGHTxWIDTH of 16 to 4096 pixels such as 128x171, found {text}"))
}

fn main() -> Result<()> {
    let args = Args::parse();
    let [height, width] = args.resize;
    ensure!(
        args.view <= height && args.view <= width,
        "expected a view within the resized {height}x{width}, found {0}x{0}: change --view or --resize",
        args.view
    );
    ensure!(args.lr.is_finite() && args.lr > 0.0, "expected a positive learning rate, found {}", args.lr);
    ensure!((0.0..1.0).contains(&args.dropout), "expected a dropout from 0 to below 1, found {}", args.dropout);
    // Hours of training should not end at a folder that does not exist.
    let folder = args.out.parent().filter(|f| !f.as_os_str().is_empty());
    ensure!(folder.is_none_or(Path::is_dir), "expected --out in a folder that exists, found {}", args.out.display());
    gst::init().context("GStreamer could not be started")?;
    tch::manual_seed(args.seed as i64);

    let geometry = Geometry {
        axes: args.arch.axes(),
        window: args.window,
        step: args.frame_step,
        resize: args.resize,
        view: args.view,
        values: args.arch.values(),
    };
    let data = open(&args)?;
    // Built before the clips are decoded, so that a wrong option is reported at once.
    let mut store = nn::VarStore::new(Device::Cpu);
    let mut network = build(&args, &store, data.labels.len())?;
    let parameters: usize = store.trainable_variables().iter().map(|v| v.numel()).sum();
    println!("{:?} of {parameters} parameters", args.arch);

    let (train, test) = load(&data, &geometry, args.max_frames)?;
    let started = Instant::now();
    let plan =
        fit::Plan { epochs: args.epochs, batch: usize::from(args.batch), rate: args.lr, classes: data.labels.len() };
    let mut rng = StdRng::seed_from_u64(args.seed);
    let left_out = fit::fit(&*network, &store, &train, &test, &geometry, &plan, &mut rng)?;
    println!(
        "trained for {:.1} minutes; {left_out} steps left out for gradients that were not finite",
        started.elapsed().as_secs_f64() / 60.0
    );
    score::Score::of(&*network, &test, &geometry, plan.classes, plan.batch)?.print(&data.labels);

    store.freeze();
    let example = [&test[0], &test[test.len() / 2], &test[test.len() - 1]]
        .map(|clip| clip.test_window(&geometry, clip.center(&geometry)))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let metadata = metadata(&args, &geometry, &*network, data.labels);
    let example = dataset::batch(&geometry, &example)?;
    export::write(&mut *network, &example, &metadata, &args.out)?;
    println!(
        "{} ({} kB) holds the network and its metadata",
        args.out.display(),
        std::fs::metadata(&args.out)?.len() / 1000
    );
    Ok(())
}

fn open(args: &Args) -> Result<DataSet> {
    let layout = match args.layout.as_str() {
        "auto" => None,
        name => Some(name.parse().map_err(anyhow::Error::msg)?),
    };
    let Args { split, splits, test_groups, .. } = args;
    let options = Options { layout, split: *split, splits: splits.clone(), test_groups: test_groups.clone() };
    let data = gstsparseadv::dataset::open(&args.data, &options)?;
    data.require_both_sides()?;
    println!("{} as {:?}: {} classes, {} clips", args.data.display(), data.layout, data.labels.len(), data.clips.len());
    for note in std::iter::once(&data.sides).chain(&data.notes) {
        println!("{note}");
    }
    Ok(data)
}

/// The training and the test clips; what cannot be used is listed.
fn load(data: &DataSet, geometry: &Geometry, max_frames: i64) -> Result<(Vec<Cached>, Vec<Cached>)> {
    let missing = data.missing.iter().map(|clip| Skipped { path: clip.path.clone(), reason: clip.reason.clone() });
    let mut skipped: Vec<Skipped> = missing.collect();
    let mut side = |held_out: bool| -> Result<Vec<Cached>> {
        let clips: Vec<&Clip> = data.clips.iter().filter(|clip| clip.held_out == held_out).collect();
        let (cached, unusable) = dataset::load(&clips, geometry, max_frames)?;
        skipped.extend(unusable);
        ensure!(
            !cached.is_empty(),
            "expected clips that can be decoded, found none among {}; the first: {}",
            clips.len(),
            skipped.last().map_or("", |s| s.reason.as_str())
        );
        Ok(cached)
    };
    let (train, test) = (side(false)?, side(true)?);
    for clip in &skipped {
        println!("skipped {}: {}", clip.path.display(), clip.reason);
    }
    println!("{} training clips, {} test clips, {} skipped", train.len(), test.len(), skipped.len());
    Ok((train, test))
}

fn build(args: &Args, store: &nn::VarStore, classes: usize) -> Result<Box<dyn Network>> {
    let (path, classes) = (store.root(), classes as i64);
    let feature_layer = |default| args.feature_layer.as_deref().unwrap_or(default);
    if let Some((kind, blocks)) = args.arch.blocks() {
        let (width, window, feature_layer) = (args.width, args.window, feature_layer(resnet::FEATURE_LAYER));
        let config = resnet::Config { kind, blocks, width, feature_layer, window, classes };
        return Ok(Box::new(resnet::Resnet::new(&path, &config)?));
    }
    Ok(match args.arch {
        Arch::C3d => Box::new(c3d::C3d::new(
            &path,
            &c3d::Config {
                width: args.width,
                hidden: args.hidden.unwrap_or(64 * args.width),
                feature_layer: feature_layer("conv3b"),
                dropout: args.dropout,
                window: args.window,
                view: args.view,
                classes,
            },
        )?),
        _ => Box::new(lrcn::Lrcn::new(
            &path,
            &lrcn::Config {
                width: args.width,
                hidden: args.hidden.unwrap_or(8 * args.width),
                dropout: args.dropout,
                window: args.window,
                view: args.view,
                classes,
            },
        )?),
    })
}

fn metadata(args: &Args, geometry: &Geometry, network: &dyn Network, labels: Vec<String>) -> Metadata {
    let name = args.out.file_stem().map(|stem| stem.to_string_lossy());
    Metadata {
        name: name.unwrap_or_default().into_owned(),
        window: args.window as usize,
        layout: geometry.axes,
        resize: Resize::Exact(args.resize.map(|side| side as usize)),
        crop: [args.view as usize; 2],
        antialias: false,
        channels: "RGB".into(),
        mean: geometry.values.mean,
        std: [geometry.values.deviation; 3],
        range: [0.0, geometry.values.white],
        labels,
        frame_step: args.frame_step as usize,
        feature_layout: Some(network.feature_layout()),
        feature_window: Some(network.feature_window()),
    }
}
