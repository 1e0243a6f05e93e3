// SPDX-License-Identifier: MPL-2.0

/**
 * SECTION:element-sparseadv
 * @see_also: clipclassifier
 *
 * `sparseadv` attacks a video classifier with the video that passes through it. It cuts the stream into windows of
 * frames, as many as the classifier sees at once. In each window it perturbs a few keyframes until the classifier gives
 * another label. Then it makes the perturbation as small as it can. All other frames leave untouched.
 *
 * The element is for testing the robustness of your own models. A TorchScript file is a program and runs as one, so
 * load only files you trust. With `model-sha256` no other file is loaded than the one you have looked at. The contract
 * that a model must fit is in `examples/README.md`.
 *
 * ## Example launch lines
 *
 * Attack a file and write a report:
 * |[
 * gst-launch-1.0 filesrc location=a.mp4 ! decodebin ! sparseadv model=c3d.pt report-location=b.jsonl ! x264enc ! \
 *     mp4mux ! filesink location=b.mp4
 * ]|
 * Fool the classifier behind the encoder too:
 * |[
 * gst-launch-1.0 filesrc location=a.mp4 ! decodebin ! \
 *     sparseadv model=c3d.pt survive="x264enc pass=qual quantizer=23 ! avdec_h264" ! \
 *     x264enc pass=qual quantizer=23 ! mp4mux ! filesink location=b.mp4
 * ]|
 *
 * ## Formats
 *
 * The element takes raw 8-bit video of 16x16 pixels and more, and gives it back in the same format. It takes YUV in
 * 4:2:0, 4:2:2 and 4:4:4, packed RGB with and without alpha, and gray. `gst-inspect-1.0` lists the formats. The caps
 * say the matrix (BT.601, BT.709 and others) and the range (limited or full). Frames are never converted: only samples
 * of keyframes change, within the part of the picture that the model sees. Alpha is left alone.
 *
 * No converter is needed in front of the element or behind it. A converter behind it takes part of the perturbation
 * away.
 *
 * ## Windows
 *
 * A window has `window-size` frames, `frame-step` stream frames apart. The next window begins `stride` frames later.
 * Where a property is 0, the model's metadata decide; a `stride` of 0 lays windows side by side. End of stream, a caps
 * change, a new segment and a discontinuity end a window early. With `tail=pad` a window that is not full is attacked
 * all the same: the model sees its last frame repeated. With `tail=passthrough` its frames leave clean.
 *
 * With a `stride` smaller than the window, windows overlap. The perturbation of a frame carries over into the next
 * window, and stays as it is where it fools that window too. A later window may change frames that an earlier one
 * stands on. So an overlapping window is classified once more when its last frame has left, and it is reported then.
 * Keyframes and sizes in its report are those of its own attack. Its `success` and its final label are of the frames
 * that left, in the first of the readings.
 *
 * ## What counts as a success
 *
 * A window is fooled when the model's label is not the true one, or is the target's if `target-label` is set. Without
 * the property `label`, the model's own label of the clean window takes the place of the true one. The label is that of
 * the bytes that are pushed, rounded to 8 bits and read back as a decoder would. The wrong label must lead by
 * `confidence`, since other decoders round otherwise. The same must hold when subsampled chroma is interpolated instead
 * of repeated. When the frames leave, the rendered bytes are read back once more and compared with what was judged.
 *
 * A window is already fooled when the model is wrong about it before the attack, or gives the target. Such a window is
 * not attacked, and no rate counts it.
 *
 * ## Keyframes
 *
 * `keyframes` says which frames are perturbed:
 *
 * * `gradient`: the frames with the largest weights, until they reach the share `boundary` of the sum of all weights.
 *   The weights come from the model's gradient: by its feature map where it has one, else by its input.
 *   `gradient:features`, `gradient:net`, `gradient:input` and `gradient:loss` are variants.
 * * `fixed` (the peer SA): the first frames. `ifd`: the frames that differ most from the one before. `heuristic`: the
 *   frames whose removal lowers the label's probability most. `random`: by `seed`. Each takes a number, such as
 *   `ifd:4`.
 * * `agent:FILE`: those that a trained agent picks. It asks the model nothing, and works with any `access`. The section
 *   "Black box" says more.
 * * `all`, or frame numbers such as `0,5,7`.
 *
 * With `grow-after`, more frames become keyframes while the attack has no success. A selection by gradient weighs the
 * frames anew where the attack stands; another one goes on in its own order.
 *
 * ## Search
 *
 * `search` says how the perturbation of the keyframes is found:
 *
 * * `walk`: along the boundary between two labels. `norm` says in what the perturbation is small. In `l1` few samples
 *   change, each by a lot. In `l21` few frames do. In `linf` no sample changes by a lot. `l2` is between these. Where
 *   fifteen iterations bring no success, `two-stage` with its defaults takes over.
 * * `two-stage`: the paper's. It descends until the window is fooled, and then makes the perturbation small. It takes
 *   more calls of the model, and its perturbations are larger.
 * * `weighted-sum`: that of the peer SA.
 *
 * `learning-rate` and `optimizer` matter to the last two alone, `learning-rate-decay` and `loss` to `two-stage`.
 * `patience`, `grow-after` and `confidence` are by default what suits the search.
 *
 * ## Black box
 *
 * `access` says what the attack may know of the model. Below `gradient` it is a black box, which answers questions:
 *
 * * `logits`: the logits of all classes. `scores`: the label and its probability. `label`: the label alone.
 *
 * What a level hides is not there for the attack: each level is a type of its own, and an attack is written for one.
 * These searches need answers alone, and may be had with any access that suffices:
 *
 * * `squares` needs labels alone, and gains by scores. It is a random search for the signs of squares (Andriushchenko et
 *   al., ECCV 2020). Its bound is large, and grows until the window is fooled, unless `epsilon` sets it. Then frames and
 *   parts of the picture are left clean. In the end squares are turned while all becomes smaller, as long as the window
 *   stays fooled. With a `surrogate` and no target it begins with what leads that one away from its own label.
 *   It may do so by 2 gray levels at first and by 64 at last, a query for each bound. `stop-early` leaves out all but the first. `trail_queries` and `trail_map` in reports tell how many
 *   queries each smaller success took.
 * * `v-bad` needs scores. It is V-BAD (Jiang et al., ACM MM 2019). Its tentative direction comes from the gradient of
 *   `surrogate`, or is drawn at random. Its bound is 12.75 gray levels, unless `epsilon` sets it. It ends with the
 *   first success. With a target it begins at a clip of `donors` that has it, and draws the bound in from there.
 *   `probes` is the number of queries for one estimate of a gradient, `probe-size` how far from the perturbation they
 *   are. The paper's probes, of a quarter of a gray level and less, round to nothing in 8 bits.
 * * `stde` needs labels alone. It is STDE (Jiang et al., ICCV 2023): a patch of a clip of `donors` in few frames.
 *   Differential evolution makes both small. Without clips the patch shows stripes.
 * * `i2v` asks once more than about the clean window. It is I2V (Wei et al., CVPR 2022): each frame is led away from
 *   what `surrogate` sees in it. Its bound is 16 gray levels, unless `epsilon` sets it.
 * * `opt` and `sign-opt` need labels alone. They seek the direction that fools at the least radius, from stripes of
 *   random signs. `opt` is the search of Wei et al. (AAAI 2020), with a search for each slope. `sign-opt` is that of
 *   Wang et al. (IJCAI 2021), with one query for each. `region=salient` keeps to the pixels that stand out, and
 *   `keyframes=deletion` leaves frames out, as Wei et al. do. `donors` names clips to begin with instead. A targeted
 *   attack needs some that the model gives the target's label.
 *
 * Wang et al. have a trained agent pick the frames. Their attack is `search=sign-opt region=salient
 * keyframes=agent:FILE`, with `donors`. `gst-sparseadv learn --kind agent` trains an agent on a model and a data set,
 * by labels alone. The file is TorchScript. It is a program and runs as one, as a model does: name only files you
 * trust. It is given a window as `[1, 6, T, height, width]`, in the model's size. The first three channels are the
 * frames, from 0 to 1. The others are the first donor less the frames, or zero without donors. It returns a
 * probability for each frame, `[T]`. A window that is cut short has fewer frames. Those above one half are keyframes,
 * at least one; the others follow by their probability.
 *
 * The abstract of that paper says what the agent sees, and that the model's answers reward it. No size of a network
 * and no formula of the reward were found. These are taken from its published neighbors: SVA (Wei, Yan and Li, arXiv
 * 2001.03754, IJCV 2022) and EARL (ACM MM 2021). Features a frame go through an LSTM in both directions, to one
 * probability each. Five sets are drawn of a window. The reward is `exp(-MAP / 0.05)` where the window is fooled, and
 * -1 where it is not. Other than there, the features come from three small convolutions that learn along, as no
 * weights of a ResNet-18 are shipped. The attack that rewards is short: the radius towards a donor, in eight queries.
 * SVA draws five sets when it attacks too, and takes the smallest. Here nothing is drawn then, so that a window gets
 * the same keyframes every time.
 *
 * A `surrogate` is a TorchScript classifier of pictures or of video, and runs as a program too. It sees what the
 * model sees, brought to its own size. Metadata of pictures say `BCHW`. Without metadata a surrogate is taken for one
 * that torchvision trained on ImageNet. Its passes are no queries.
 *
 * Every view that the model is shown counts as a query, also where several go through it at once. So do those for the
 * clean window, for keyframes, and for the readings that confirm a success. `max-queries` bounds them all, but for
 * the one by which an overlapping window is judged when it has left. By default all frames are attacked. Keyframes by
 * a gradient are refused; `heuristic` needs scores. With logits the wrong label has to lead by `confidence`;
 * otherwise the label decides.
 *
 * ## Precision
 *
 * `precision` is that of the passes that gradients come from. `bf16` is bfloat16, by libtorch's autocast. `auto`
 * measures both when the model is loaded, where the device has such arithmetic: a GPU, or a CPU with AVX512-BF16. It
 * takes bfloat16 where that is faster by a quarter and the gradients agree. The clean label and the success that is
 * rendered are always those of the model as it is. A gradient that is not finite is taken again, as the model is.
 * Behind the codecs of `survive` all passes are as the model is. On a GPU that is single precision without TF32, which
 * loading a model turns off for the process.
 *
 * ## Windows together
 *
 * Where nothing is live, windows that lie side by side are attacked together: one pass of the model is of all of them.
 * `batch-windows` says of how many at the most. Automatically it is four of the size of C3D's on a CPU, and sixteen on a
 * GPU. It is fewer of a larger model, and no more than a quarter of a gigabyte of raw frames. A window waits a tenth of a
 * second for others. Windows leave in order. Their results are those that each has alone, up to the rounding of sums in
 * another order. That may now and then send an attack another way. The seconds of such a window count the time of all.
 *
 * Windows that overlap, windows far apart, and those with `survive` or a `time-budget` are attacked one by one.
 *
 * Elements of one process that load the same file, on the same device and in the same way, share one model. Where none of
 * them is live their passes are made together too, and which ones depends on who asks when. A pass of one element waits
 * for the passes of the others.
 *
 * ## Live pipelines
 *
 * The element answers the LATENCY query with the time that a window takes to gather, plus the time budget. In a live
 * pipeline the budget is by default the time until the next window is due. At its deadline a window leaves with the
 * best perturbation found so far, or clean if there is none. It is counted as an overrun. A window whose frames come
 * late is not waited for: it is attacked short. No frame is dropped or late for it, even if one pass of the model takes
 * longer than that. An attack that the deadline cut short reports the calls of the model up to then. A window that
 * had to leave before the model saw it is counted as unclassified.
 *
 * `enabled=false` lets frames pass at once, and may be switched while playing.
 *
 * A live sink that waits longer than this element's latency needs a `queue` in front of it, as `pipelines/camera.sh`
 * has.
 *
 * ## Universal perturbations
 *
 * A universal perturbation fools a model on whatever the stream shows. `gst-sparseadv learn` makes one of a data set. With
 * `perturbation=FILE` the element searches for nothing, and puts that into every frame. Each frame leaves before the next
 * one comes: the element adds no latency. The file says what the model sees of a frame, so that the size and the format of
 * the stream do not matter. A file of several frames is repeated over and over, from the first frame of the stream on.
 * Where the model takes every second frame only, each of them is put into two.
 *
 * No model is needed, and without one none is loaded. With `model` each window that has left is classified twice, as it
 * came and as it left, and is reported. `stride=1` judges windows at every offset. A live stream waits for no model:
 * windows that find it busy are counted as unclassified. Any other stream waits. No property of the search and no `tail`
 * has an effect then, frames carry no meta, and `stats` has no means: nothing was searched for.
 *
 * ## Causal mode
 *
 * With `mode=causal` frames leave at once, and the element learns of those that have passed. It takes steps on the last
 * windows of the stream, and puts what it has found so far into the frames that come. That is one perturbation for any
 * frame, of at most `epsilon` gray levels, or 10. It begins with nothing, or with the file in `perturbation`. It rests
 * while windows are fooled, and begins to learn anew where another scene begins. Windows are judged as those of a
 * universal perturbation are. The mode is for live streams: what a file gets depends on how fast it is read.
 *
 * With `mode=auto` the model's speed decides. A forward pass is timed once, before the stream begins. An attack is
 * reckoned to take as long as ten iterations of a walk, or forty of another search. Where frames are live and that is
 * longer than from one window to the next, the mode is causal. Otherwise, and with `survive`, it is by windows. The
 * choice is made with the first caps and holds until the element stops. The message `sparseadv-mode` says which it is,
 * and so do `settings` in reports.
 *
 * ## Warm start
 *
 * With `warm-start=true` a window first tries what the window before it got. In a steady scene that mostly holds, and
 * costs two forward passes, or three and a backward where chroma is subsampled. Where it does not hold, a `walk` goes on
 * from there for a few steps. That takes fewer calls than a walk from the clean window. The perturbation is larger, and
 * stays so as long as it holds. Where the walk fails too, and where another scene begins, the attack begins anew.
 * Windows are attacked one by one then.
 *
 * ## Errors
 *
 * An attack that fails ends the stream with an error. Reasons are a model that fails on some input, or a codec of `survive`
 * that stalls or dies. With `on-error=passthrough` the window leaves clean instead, and `failures` in `stats` counts it.
 * The first one is said in a warning.
 *
 * ## Behind a codec
 *
 * An encoder takes part of a small perturbation away. With `survive` the codec runs inside the attack. Every iteration
 * sends the window through the bin and asks the model about what comes back. The gradient passes straight through. A
 * success is then one behind the codec, and the attack shrinks towards the smallest perturbation that survives. Several
 * bins with `|` between them must all be survived. A rescaler is such a bin too, and stands for another program's
 * resize.
 *
 * An encoder predicts from frames it has coded before, so some frames before the window go through the codec with it.
 * The loop still encodes each window by itself, while a file is encoded as a whole. What holds in the loop mostly holds
 * in the file, and not always. `confidence` is larger by default with `survive` for this reason. An attack that
 * survives need not fool the undamaged stream. A success behind a codec holds with chroma repeated and with chroma
 * interpolated.
 *
 * A bin is one chain of elements. Demuxers and `decodebin` make their pads while they run, and cannot be in it. A bin
 * is an error if it misses an element, does not link, loses frames, changes their size, or stalls for half a minute.
 * With overlapping windows, the last look at a window is at the pushed bytes, not behind the codecs. An encoder that
 * does not repeat itself, such as x264enc with its macroblock tree, makes results differ from run to run.
 *
 * ## Reports
 *
 * Each window is reported by an element message `sparseadv-window`, which `gst-launch-1.0 -m` shows, and by a JSON line
 * in the file `report-location`. A line has:
 *
 * * the window: its number, first frame, number of frames, timestamps and running time;
 * * the labels: the true one, the target, the model's before and after the attack, with names and probabilities;
 * * the verdict: `success` (absent for a window that no rate counts), `already_fooled`, `overrun`, and `zero_gradient`.
 *   The last marks a window whose gradient was zero throughout. That the attack failed on it is no robustness;
 * * the cost: `queries`, `forwards`, `backwards`, `codec_runs`, `iterations`, and the queries and iterations up to the
 *   first success. A query is a forward pass of the model, with or without its backward, or a further backward.
 *   `queries_clean`, `queries_selection`, `queries_start`, `queries_search` and `queries_confirmation` say what they were
 *   for, and add up. `out_of_queries` says that `max-queries` ended the attack;
 * * the keyframes, the weights of all frames, and the sizes of the perturbation in gray levels. `map` is the mean over
 *   all frames as the model sees what was pushed. `map_keyframes` is over the keyframes, `map_float` before rendering;
 * * the provenance: model and its SHA-256, input, properties that are not at their defaults, versions, and the version
 *   of the line's format.
 *
 * A flush, as a seek makes one, drops the window that is on its way. It is in no line and no total, though frames of it
 * may have left.
 *
 * The report grows as `FILE.part`, and takes its name when the stream has ended well. After an error or an early stop
 * it is kept as `FILE.incomplete`, and an older `FILE` stays. A report replaces nothing but an older report.
 *
 * The property `stats` has the totals, and the message `sparseadv-stats` carries them at the end of the stream. Among
 * them are the paper's four metrics: `fooling-rate`, `mean-queries`, `map` and `sparse-rate`, the share of frames left
 * clean. Means are over fooled windows. Rates are absent while there is nothing to count. `labels` says whose labels
 * the rates are of: `ground-truth`, `model` or `mixed`. `clean-accuracy` and `robust-accuracy` are the shares of
 * windows that the model gets right before and after the attack.
 *
 * Each frame of a window carries the custom meta `GstSparseAdvMeta`: window, place in it, keyframe or not, weight,
 * verdict, labels.
 *
 * ## Frames and events
 *
 * As many frames leave as come in, with their timestamps, flags and metas. Clean frames leave as the same memory. QoS
 * events go no further upstream: a decoder would drop late frames by them, and the windows would change. Frames lie in
 * system memory, with any strides that a GstVideoMeta may say, bottom-up included. A layout that reaches out of its
 * buffer, rows shorter than the picture, and planes that share bytes are errors.
 *
 * ## Limits
 *
 * * At most two windows of frames wait inside, and with `batch-windows` as many more as are attacked together. In a live
 *   pipeline as many wait as arrive within the latency, and a window more. A large window of large frames takes much memory. The element asks for as many buffers in ALLOCATION,
 *   and copies the frames of a pool that has fewer.
 * * A GstVideoCropMeta is passed on and otherwise ignored: the attack is on the frame that the caps describe.
 *   Interlaced frames are treated as progressive.
 * * Behind an element that negotiates by itself (`capsfilter`, `identity`, `videorate`), refused caps get that
 *   element's own message.
 * * The model must be differentiable. A model that is random, or keeps a state from call to call, is refused.
 *
 * Since: 0.1
 */
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::aids::Aids;
use super::attack::Last;
use super::pursue::Window;
use super::settings::{OnError, Settings};
use super::state::State;
use super::stats::Stats;
use crate::attack::{Access, Loss, Norm, Region, Search, Selection, optimizer};
use crate::element::bell::Bell;
use crate::element::format;
use crate::element::lock;
use crate::element::report_file::ReportFile;
use crate::element::settings::{AUTO, Shared, get, set, with_stats};
use crate::element::survive::Codecs;
use crate::model::{self, Metadata, Model, Precision};
use crate::provenance::settings_of;
use crate::universal::pursuit::Pursuit;
use crate::window::{Mode, Tail};

pub(super) static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new("sparseadv", gst::DebugColorFlags::empty(), Some("Sparse adversarial attack"))
});

/// A loaded model and what it was loaded by.
pub(super) struct Loaded {
    pub model: Model,
    /// The same for windows that are attacked together with the first.
    pub others: Vec<Model>,
    pub options: model::Options,
    /// How long a forward pass takes, once that was asked.
    pub forward: Option<Duration>,
    pub codecs: Codecs,
    /// What is learned on the stream in causal mode.
    pub pursuit: Option<Pursuit<Window>>,
    /// When frames were last given what was learned.
    pub published: Option<Instant>,
    /// What the last window got, for the next one to try.
    pub last: Option<Last>,
}

#[derive(glib::Properties)]
#[properties(wrapper_type = super::SparseAdv)]
pub struct SparseAdv {
    pub(super) sinkpad: gst::Pad,
    pub(super) srcpad: gst::Pad,
    #[property(name = "model", type = Option<PathBuf>, get = get!(common.model), set = set!(common.model),
        mutable_ready, nick = "Model",
        blurb = "TorchScript classifier to attack. It is a program and runs as one: load only files you trust")]
    #[property(name = "model-sha256", type = Option<String>, get = get!(common.model_sha256), set = set!(common.model_sha256),
        mutable_ready, nick = "SHA-256 of the model",
        blurb = "SHA-256 that the model's file must have: any other is refused before it is loaded")]
    #[property(name = "device", type = Option<String>, default = Some(AUTO), set = set!(common.device), mutable_ready,
        get = |this: &Self| this.settings.snapshot().common.device.clone().or(Some(AUTO.into())),
        nick = "Device", blurb = "Device the model runs on: auto, cpu, cuda or cuda:N")]
    #[property(name = "precision", type = Precision, default, mutable_ready,
        get = get!(precision), set = set!(precision), nick = "Precision",
        blurb = "Of the passes that gradients come from. Labels and successes are those of the model as it is")]
    #[property(name = "batch-windows", type = u32, maximum = 64, mutable_ready,
        get = get!(batch_windows), set = set!(batch_windows), nick = "Batch windows",
        blurb = "Windows of the stream that are attacked together at the most, in passes of all of them, where nothing is live (0 = \
            automatic, by the size of the model's input)")]
    #[property(name = "window-size", type = u32, maximum = 1024, mutable_ready,
        get = get!(common.window_size), set = set!(common.window_size),
        nick = "Window size", blurb = "Frames the model sees at once (0 = the model's own, 16 if it does not say)")]
    #[property(name = "stride", type = u32, maximum = 65536, mutable_ready,
        get = get!(common.stride), set = set!(common.stride), nick = "Stride",
        blurb = "Frames from one window to the next (0 = window-size * frame-step: windows side by side)")]
    #[property(name = "frame-step", type = u32, maximum = 256, mutable_ready,
        get = get!(common.frame_step), set = set!(common.frame_step), nick = "Frame step",
        blurb = "Frames of the stream from one frame of a window to the next (0 = the model's own, 1 if it does not \
            say)")]
    #[property(name = "keyframes", type = Option<String>, set = set!(keyframes), mutable_ready,
        get = |this: &Self| this.settings.snapshot().keyframes.clone().or(Some(Selection::default().to_string())),
        default = Some(Selection::default().to_string().as_str()), nick = "Keyframes",
        blurb = "Which frames to perturb: gradient, gradient:features, gradient:net, gradient:input, gradient:loss, \
            fixed[:N], ifd[:N], heuristic[:N], random[:N], all, deletion[:LEVELS], agent:FILE, or frame numbers such as \
            0,5,7. FILE is a program and runs as one: name only files you trust")]
    #[property(name = "region", type = Option<String>, set = set!(region), mutable_ready,
        get = |this: &Self| this.settings.snapshot().region.clone().or(Some(Region::default().to_string())),
        default = Some(Region::default().to_string().as_str()), nick = "Region",
        blurb = "What of a frame search=opt and sign-opt may change: all, or salient[:SHARE] for the share of pixels that stand out most")]
    #[property(name = "donors", type = Option<PathBuf>, mutable_ready,
        get = get!(donors), set = set!(donors), nick = "Donors",
        blurb = "Folder of videos, or a video, that a black-box search begins with: of the target's class, or of others")]
    #[property(name = "surrogate", type = Option<PathBuf>, mutable_ready,
        get = get!(surrogate), set = set!(surrogate), nick = "Surrogate",
        blurb = "TorchScript classifier of pictures or video whose gradients search=squares, v-bad and i2v look at. It is a program and is run")]
    #[property(name = "boundary", type = f64, minimum = 0.0, maximum = 1.0, mutable_ready,
        get = get!(boundary), set = set!(boundary), nick = "Boundary",
        blurb = "Share of the gradient's weight that the keyframes reach together (0 = 0.3 untargeted, 0.4 targeted)")]
    #[property(name = "max-iterations", type = i32, minimum = -1, default = -1, mutable_playing,
        get = get!(max_iterations), set = set!(max_iterations), nick = "Maximum iterations",
        blurb = "Updates of a window's perturbation at the most (-1 = 500 untargeted, 1000 targeted)")]
    #[property(name = "max-queries", type = u32, mutable_playing, default = 0,
        get = get!(max_queries), set = set!(max_queries), nick = "Maximum queries",
        blurb = "Queries of a window's attack at the most; the best result by then is the window's (0 = no limit)")]
    #[property(name = "patience", type = i32, minimum = -1, default = -1, mutable_playing,
        get = get!(patience), set = set!(patience), nick = "Patience",
        blurb = &format!("The attack of a fooled window ends after this many iterations without a smaller success (0 = \
            use all iterations, -1 = {} of a walk, {} of another search). A walk takes fewer where the perturbation is \
            very small, and up to four times as many where it is large", Search::Walk.default_patience(),
            Search::TwoStage.default_patience()))]
    #[property(name = "stop-early", type = bool, default = Settings::default().attack.stop_early, mutable_playing,
        get = get!(attack.stop_early), set = set!(attack.stop_early), nick = "Stop early",
        blurb = "Take the first success: fewest calls of the model, larger perturbation")]
    #[property(name = "grow-after", type = i32, minimum = -1, default = -1, mutable_playing,
        get = get!(grow_after), set = set!(grow_after), nick = "Grow after",
        blurb = &format!("Iterations without success after which more frames become keyframes (0 = never, -1 = {} of a \
            walk, {} of another search)", Search::Walk.default_grow_after(), Search::TwoStage.default_grow_after()))]
    #[property(name = "grow-by", type = u32, minimum = 1, default = Settings::default().attack.grow_by, mutable_playing,
        get = get!(attack.grow_by), set = set!(attack.grow_by), nick = "Grow by",
        blurb = "Frames that become keyframes then: those of the next largest weight. A selection by gradient weighs \
            the frames anew")]
    #[property(name = "time-budget", type = Option<gst::ClockTime>, default = u64::MAX, mutable_playing,
        get = get!(time_budget), set = set!(time_budget), nick = "Time budget",
        blurb = "Time for a window's attack in ns; at its end the window leaves with the best result so far (0 = no \
            limit, -1 = automatic: what keeps up with a live stream, no limit elsewhere)")]
    #[property(name = "search", type = Search, default, mutable_playing,
        get = get!(attack.search), set = set!(attack.search), nick = "Search",
        blurb = "How the perturbation is searched for: along the decision boundary, or by descent as the paper and SA \
            do")]
    #[property(name = "access", type = Access, default, mutable_ready,
        get = get!(attack.access), set = set!(attack.access), nick = "Access",
        blurb = "What the attack may know of the model: less than gradients is a black box, and what the level hides it cannot reach")]
    #[property(name = "probes", type = u32, mutable_playing, default = 0, maximum = 100_000,
        get = get!(probes), set = set!(probes), nick = "Probes",
        blurb = "Probes of a black box for one estimate of a gradient: a query each, and with search=opt a search each (0 = the search's own)")]
    #[property(name = "probe-size", type = f32, mutable_playing, default = 0.0, minimum = 0.0, maximum = 255.0,
        get = get!(probe_size), set = set!(probe_size), nick = "Probe size",
        blurb = "Size of such a probe in gray levels: what rounds to nothing in 8 bits tells nothing (0 = the search's own)")]
    #[property(name = "norm", type = Norm, default, mutable_playing, get = get!(attack.norm), set = set!(attack.norm),
        nick = "Norm", blurb = "What a walk makes small; descent makes l21 small")]
    #[property(name = "learning-rate", type = f32, default = Settings::default().attack.learning_rate, mutable_playing,
        minimum = 1e-6, maximum = 255.0, get = get!(attack.learning_rate), set = set!(attack.learning_rate),
        nick = "Learning rate", blurb = "Step of the optimizer in gray levels, where the search descends")]
    #[property(name = "learning-rate-decay", type = f32, default = Settings::default().attack.learning_rate_decay,
        minimum = 0.01, maximum = 1.0, mutable_playing,
        get = get!(attack.learning_rate_decay), set = set!(attack.learning_rate_decay), nick = "Learning rate decay",
        blurb = "Factor of the step each time a fooled window gets its label back (1 = constant)")]
    #[property(name = "optimizer", type = optimizer::Kind, default, mutable_playing,
        get = get!(attack.optimizer), set = set!(attack.optimizer),
        nick = "Optimizer", blurb = "How the perturbation is updated, where the search descends")]
    #[property(name = "loss", type = Loss, default, mutable_playing,
        get = get!(attack.loss), set = set!(attack.loss),
        nick = "Loss", blurb = "The class term of search=two-stage, which is descended while the label holds")]
    #[property(name = "epsilon", type = f32, default = Settings::default().attack.epsilon, mutable_playing,
        minimum = 0.0, maximum = 255.0, get = get!(attack.epsilon), set = set!(attack.epsilon), nick = "Epsilon",
        blurb = "Bound on what is added to any value of the model's view in whole gray levels (0 = none, fractions are cut \
            off). What YUV samples make of that may be up to twice as much")]
    #[property(name = "confidence", type = f32, default = -1.0, minimum = -1.0, maximum = 1000.0, mutable_playing,
        get = get!(confidence), set = set!(confidence), nick = "Confidence",
        blurb = &format!("Margin that counts as success: the logit of the wrong (or target) label leads by this much. A \
            margin outlasts the rounding of other decoders, a larger one what an encoder of the whole file does (-1 = {} \
            of a walk and {} of another search, or {} and {} with survive)", Search::Walk.default_confidence(),
            Search::TwoStage.default_confidence(), Search::Walk.surviving_confidence(),
            Search::TwoStage.surviving_confidence()))]
    #[property(name = "survive", type = Option<String>, mutable_ready, get = get!(survive), set = set!(survive),
        nick = "Survive",
        blurb = "Bins that take and give raw video, such as \"x264enc ! avdec_h264\", with | between: the attack \
            succeeds when the window is fooled behind each of them")]
    #[property(name = "label", type = Option<String>, get = get!(common.label), set = set!(common.label), mutable_ready,
        nick = "Label",
        blurb = "True label by name or index, which all rates are against; windows that the model gets wrong before \
            the attack are left alone (unset = the model's own label of the clean window)")]
    #[property(name = "target-label", type = Option<String>, get = get!(target_label), set = set!(target_label),
        mutable_ready, nick = "Target label",
        blurb = "Label by name or index that the model shall give, beside the true label or without it (unset = \
            untargeted)")]
    #[property(name = "seed", type = u64, default = Settings::default().attack.seed, mutable_ready,
        get = get!(attack.seed), set = set!(attack.seed),
        nick = "Seed", blurb = "Seed of keyframes=random, of the searches of a black box, and of what mode=causal begins with")]
    #[property(name = "tail", type = Tail, default, get = get!(common.tail), set = set!(common.tail), mutable_ready,
        nick = "Tail", blurb = "What becomes of frames at the end of a stream that fill no window")]
    #[property(name = "enabled", type = bool, default = true, get = get!(enabled), set = set!(enabled), mutable_playing,
        nick = "Enabled", blurb = "Attack; pass frames through at once when false")]
    #[property(name = "perturbation", type = Option<PathBuf>, mutable_ready,
        get = get!(perturbation), set = set!(perturbation), nick = "Perturbation",
        blurb = "File of a universal perturbation, as gst-sparseadv learn writes it: every frame gets it at once, and no \
            model is needed")]
    #[property(name = "mode", type = Mode, default, mutable_ready, get = get!(mode), set = set!(mode), nick = "Mode",
        blurb = "When frames get what was found: their window's own attack, after it, or at once what frames before them had")]
    #[property(name = "warm-start", type = bool, default = false, mutable_playing, get = get!(warm_start),
        set = set!(warm_start), nick = "Warm start",
        blurb = "Try the last window's perturbation first, unless the scene has changed; windows are attacked one by one")]
    #[property(name = "on-error", type = OnError, default, mutable_playing, get = get!(on_error), set = set!(on_error),
        nick = "On error", blurb = "What becomes of the stream when the attack of a window fails, as a codec of survive may")]
    #[property(name = "report-location", type = Option<PathBuf>, mutable_ready,
        get = get!(common.report_location), set = set!(common.report_location),
        nick = "Report location", blurb = "File that gets one JSON line a window; an older one is replaced")]
    settings: Shared<Settings>,
    state: Mutex<State>,
    /// For threads that wait in the middle of something, and for those that have nothing to do.
    pub(super) changed: Condvar,
    pub(super) bell: Arc<Bell>,
    /// Here between READY and PAUSED, with the worker while it runs.
    pub(super) loaded: Mutex<Option<Loaded>>,
    pub(super) worker: Mutex<Option<JoinHandle<Option<Loaded>>>>,
    pub(super) model_metadata: Mutex<Option<Arc<Metadata>>>,
    pub(super) report: Mutex<Option<ReportFile>>,
    pub(super) aids: Mutex<Aids>,
}

impl SparseAdv {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The settings in force. They stay as they are for whoever holds them.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.snapshot()
    }

    /// The metadata of the model in use.
    pub(super) fn metadata(&self) -> Option<Arc<Metadata>> {
        lock(&self.model_metadata).clone()
    }

    /// Takes over what a property has changed.
    fn settings_changed(&self) {
        let mut state = self.state();
        // Both read under the lock: of two changes at a time the later one counts.
        let settings = self.settings();
        // What a window is reported with is what was in force when it was decided.
        state.provenance_mut().change(settings_of(&*self.obj()));
        // Frames shall not wait for an attack that nobody wants any more.
        state.apply(&settings);
        drop(state);
        gst::debug!(CAT, imp = self, "Enabled {}, time budget {:?}", settings.enabled, settings.time_budget);
        self.tell();
        self.tell_latency();
    }

    /// Tells every thread of a change of the state.
    pub(super) fn tell(&self) {
        self.changed.notify_all();
        self.bell.ring();
    }

    /// Waits for a change of the state.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let result = self.changed.wait(state);
        result.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn post(&self, structure: gst::Structure) {
        let message = gst::message::Element::builder(structure).src(&*self.obj());
        let _ = self.obj().post_message(message.build());
    }
}

#[glib::object_subclass]
impl ObjectSubclass for SparseAdv {
    const NAME: &'static str = "GstSparseAdv";
    type Type = super::SparseAdv;
    type ParentType = gst::Element;

    fn with_class(klass: &Self::Class) -> Self {
        let pad = |name: &str| {
            let template = klass.pad_template(name);
            gst::Pad::builder_from_template(&template.unwrap_or_else(|| unreachable!("{name}")))
        };
        let sinkpad = pad("sink")
            .chain_function(|_, parent, buffer| {
                Self::catch_panic_pad_function(parent, || Err(gst::FlowError::Error), |this| this.sink_chain(buffer))
            })
            .event_full_function(|pad, parent, event| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |this| this.sink_event(pad, event),
                )
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_query(pad, query))
            })
            .flags(gst::PadFlags::PROXY_CAPS)
            .build();
        let srcpad = pad("src")
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_query(pad, query))
            })
            .activatemode_function(|pad, parent, mode, active| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::loggable_error!(CAT, "Panic")),
                    |this| match mode {
                        gst::PadMode::Push => this.src_activate(pad, active),
                        _ => Err(gst::loggable_error!(CAT, "Only push mode is supported")),
                    },
                )
            })
            .flags(gst::PadFlags::PROXY_CAPS | gst::PadFlags::FIXED_CAPS)
            .build();
        Self {
            sinkpad,
            srcpad,
            settings: Shared::default(),
            state: Mutex::new(State::stopped(Stats::default())),
            changed: Condvar::new(),
            bell: Arc::default(),
            loaded: Mutex::new(None),
            worker: Mutex::new(None),
            model_metadata: Mutex::new(None),
            report: Mutex::new(None),
            aids: Mutex::default(),
        }
    }
}

#[glib::derived_properties]
impl ObjectImpl for SparseAdv {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
            with_stats(
                SparseAdv::derived_properties(),
                "Fooling rate, mean queries, mean absolute perturbation, sparse rate and counts so far",
            )
        });
        &PROPERTIES
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => self.state().stats.structure().to_value(),
            _ => self.derived_property(id, pspec),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        // Nothing here can fail: the pads are new and have no parent.
        let _ = obj.add_pad(&self.sinkpad);
        let _ = obj.add_pad(&self.srcpad);
    }

    fn dispose(&self) {
        self.stop_worker();
    }

    fn set_property(&self, id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.derived_set_property(id, value, pspec);
        self.settings_changed();
    }
}

impl GstObjectImpl for SparseAdv {}

impl ElementImpl for SparseAdv {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "Sparse adversarial attack",
                "Filter/Effect/Video",
                "Perturbs keyframes so that a video classifier errs, to test its robustness",
                "The sparseadv developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(format::pad_templates);
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            format::forget_refused_caps(self.obj().upcast_ref());
        }
        let prepared = match transition {
            gst::StateChange::NullToReady => self.prepare().and_then(|_| self.open_report()),
            // Anew, as the totals are, and where the property says by now.
            gst::StateChange::ReadyToPaused => self.open_report().and_then(|()| self.start_worker()),
            _ => Ok(()),
        };
        if let Err(message) = prepared {
            self.post_error_message(message);
            return Err(gst::StateChangeError);
        }
        if transition == gst::StateChange::PausedToReady {
            // Before the pads are deactivated, which waits for their threads.
            self.state().stop_working();
            self.stop_flow();
        }
        let result = self.parent_change_state(transition);
        match transition {
            gst::StateChange::ReadyToPaused if result.is_err() => {
                self.stop_worker();
                *lock(&self.report) = None;
            }
            gst::StateChange::PausedToReady => {
                self.stop_worker();
                self.close_report();
            }
            gst::StateChange::ReadyToNull => {
                *lock(&self.loaded) = None;
                lock(&self.aids).forget();
                *lock(&self.model_metadata) = None;
                *lock(&self.report) = None;
            }
            _ => {}
        }
        result
    }
}
