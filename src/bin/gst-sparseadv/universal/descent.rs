// SPDX-License-Identifier: MPL-2.0

//! The steps of learning: each draws windows of training clips, and takes the mean of their gradients.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use gstsparseadv::attack::Query;
use gstsparseadv::attack::criterion::argmax;
use gstsparseadv::element::survive::{Codecs, Survival};
use gstsparseadv::model::{Model, together};
use gstsparseadv::target::{Transport, WindowTarget};
use gstsparseadv::torch;
use gstsparseadv::universal::learn::{Current, Learner};
use gstsparseadv::universal::{Header, Universal};
use indicatif::{ProgressBar, ProgressStyle};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::clips::{Clip, Clips};
use crate::interrupt;

/// How often it is kept where learning stands.
pub const KEEP: Duration = Duration::from_secs(10);

/// A window of less loss than this asks for next to nothing, and no backward pass is made for it: it is changed by odds of
/// more than two hundred to one.
const FLAT: f64 = 1.0 / 256.0;

/// What the steps are.
pub struct Plan<'a> {
    pub steps: u32,
    /// Windows a step.
    pub batch: usize,
    /// A window counts by the exponential of its loss by so much.
    pub focus: f64,
    pub seed: u64,
    /// The places of clips of the one class that is to change, where there is one: every other window is one of theirs, as in
    /// the batches of C-DUP. Few would be drawn otherwise, and nothing would ask for a change.
    pub changed: Vec<usize>,
    /// Bins that a window may go through.
    pub bins: Vec<&'a str>,
    pub header: &'a Header,
    /// The file that says where learning stands, and what the values depend on.
    pub state: PathBuf,
    pub settings: String,
}

/// A window of a batch.
struct Drawn<'a> {
    clip: Arc<Clip>,
    first: usize,
    phase: usize,
    through: Option<&'a str>,
}

/// Takes all steps but those that were taken before. The windows of a step share passes, as many as there are models.
pub fn learn(
    plan: &Plan,
    learner: &mut Learner,
    models: &mut [Model],
    clips: &mut Clips,
    taken: u32,
) -> anyhow::Result<()> {
    let mut kept = Instant::now();
    let mut codecs: Vec<Codecs> = models.iter().map(|_| Codecs::default()).collect();
    let bar = progress(u64::from(plan.steps))?;
    bar.set_position(u64::from(taken));
    for step in taken..plan.steps {
        if kept.elapsed() > KEEP {
            learner.suspend(&plan.state, &plan.settings, step)?;
            kept = Instant::now();
        }
        let batch = plan.batch(learner, models, &mut codecs, clips, step);
        if batch.is_err() {
            // Whatever ended it, and wherever in the step.
            learner.suspend(&plan.state, &plan.settings, step)?;
        }
        let (sum, losses) = batch?;
        if let Some(sum) = sum {
            // Small steps at the end, where large ones only go round.
            let left = 1.0 - step as f32 / plan.steps as f32;
            learner.step(&(sum / plan.batch as f64), (3.0 * left).clamp(0.1, 1.0))?;
        }
        bar.set_message(format!("loss {:.3}", losses / plan.batch as f64));
        bar.inc(1);
    }
    bar.finish_and_clear();
    // Judging takes a while, too.
    learner.suspend(&plan.state, &plan.settings, plan.steps)?;
    Ok(())
}

impl Plan<'_> {
    /// The sum of the gradients of a step's windows, where any asks for something, and of their losses.
    fn batch(
        &self,
        learner: &Learner,
        models: &mut [Model],
        codecs: &mut [Codecs],
        clips: &mut Clips,
        step: u32,
    ) -> anyhow::Result<(Option<Tensor>, f64)> {
        let drawn = self.draw(clips, step)?;
        // What frames before a window leave as, in a stream that goes through a codec.
        let now = if self.bins.is_empty() { None } else { Some(learner.finish(self.header.clone())?) };
        // In the order that they were drawn in, whichever is ready first: the same sum every time.
        let mut losses: Vec<Option<f64>> = Vec::new();
        for some in drawn.chunks(models.len()) {
            interrupt::check()?;
            let items = some.iter().map(|drawn| (drawn, learner.current()));
            let found = together(models.iter_mut(), items, |model, (drawn, current)| drawn.loss(model, &current));
            losses.extend(found.into_iter().collect::<anyhow::Result<Vec<_>>>()?);
        }
        let steep = losses.iter().enumerate().filter(|(_, loss)| loss.is_some_and(|loss| loss >= FLAT));
        let steep: Vec<usize> = steep.map(|(n, _)| n).collect();
        let mut gradients = Vec::new();
        for some in steep.chunks(models.len()) {
            interrupt::check()?;
            let items = some.iter().zip(codecs.iter_mut()).map(|(n, codecs)| (&drawn[*n], codecs, learner.current()));
            let found = together(models.iter_mut(), items, |model, (drawn, codecs, current)| {
                drawn.gradient(model, codecs, &current, now.as_ref())
            });
            for (n, found) in some.iter().zip(found) {
                let Some((loss, gradient)) = found? else { continue };
                losses[*n] = Some(loss);
                gradients.push((loss, gradient));
            }
        }
        // Of windows behind a codec of which nothing is asked, nothing is known.
        let losses: Vec<f64> = losses.into_iter().flatten().filter(|loss| loss.is_finite()).collect();
        let largest = losses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let count = |loss: f64| (self.focus * (loss - largest)).exp();
        let whole = losses.iter().copied().map(count).sum::<f64>() / losses.len() as f64;
        let weighed = gradients.into_iter().map(|(loss, gradient)| gradient.f_mul_scalar(count(loss) / whole));
        // Where nothing more is to change, what the values weigh by themselves still counts.
        let rest = (!losses.is_empty()).then(|| learner.no_gradient());
        let sum = weighed.chain(rest).reduce(|sum, gradient| sum?.f_add(&gradient?)).transpose()?;
        Ok((sum, losses.iter().sum()))
    }

    /// Each step draws its own, so that a run that goes on draws the same.
    fn draw(&self, clips: &mut Clips, step: u32) -> anyhow::Result<Vec<Drawn<'_>>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(u64::from(step));
        let mut drawn = Vec::new();
        while drawn.len() < self.batch {
            let of_class = if drawn.len().is_multiple_of(2) { self.changed.choose(&mut rng).copied() } else { None };
            let place = of_class.unwrap_or_else(|| rng.random_range(0..clips.len()));
            let Some(clip) = clips.get(place)? else {
                ensure!(
                    !clips.is_spent(),
                    "Expected training clips of at least a window that can be read, found none."
                );
                continue;
            };
            let windowing = clip.windowing();
            let first = rng.random_range(0..=clip.frames.len() - windowing.span);
            let phase = rng.random_range(0..windowing.frames);
            let through = !self.bins.is_empty() && rng.random_bool(0.5);
            let through = if through { self.bins.choose(&mut rng).copied() } else { None };
            drawn.push(Drawn { clip, first, phase, through });
        }
        Ok(drawn)
    }
}

impl Drawn<'_> {
    /// The loss, infinite where only a codec could tell it: it is not asked twice. Nothing where nothing is asked of the
    /// window.
    fn loss(&self, model: &mut Model, current: &Current) -> anyhow::Result<Option<f64>> {
        let Self { clip, first, phase, through } = self;
        if through.is_some() {
            return Ok(Some(f64::INFINITY));
        }
        let samples = clip.samples(*first);
        let mut target = WindowTarget::new(model, &clip.stream.view, &samples)?;
        let label = self.label(&mut target, samples.len())?;
        Ok(current.loss(&mut target, label, *phase)?)
    }

    /// The model's label of the clean window.
    fn label(&self, target: &mut WindowTarget, frames: usize) -> anyhow::Result<usize> {
        self.clip.label(self.first, || {
            let real: Vec<usize> = (0..frames).collect();
            Ok(argmax(&torch::download(&target.logits_of(&real)?)?))
        })
    }

    /// The loss and its gradient, behind a codec where it goes through one. `now` is what the frames around it get.
    fn gradient(
        &self,
        model: &mut Model,
        codecs: &mut Codecs,
        current: &Current,
        now: Option<&Universal>,
    ) -> anyhow::Result<Option<(f64, Tensor)>> {
        let Self { clip, first, phase, through } = self;
        let windowing = clip.windowing();
        let samples = clip.samples(*first);
        let through = through.map(|bin| codecs.of(bin, &clip.stream)).transpose()?;
        let (context, buffers) = match now.filter(|_| through.is_some()) {
            Some(now) => (clip.before(*first, *phase, now)?, clip.window(*first, *phase, now)?),
            None => (Vec::new(), Vec::new()),
        };
        let offsets: Vec<usize> = windowing.offsets(windowing.span).collect();
        let survival = through.iter().flat_map(|codecs| codecs.iter()).map(|codec| Survival {
            stream: &clip.stream,
            codec,
            buffers: &buffers,
            offsets: &offsets,
            context: &context,
            canceled: &|| interrupt::check().is_err(),
        });
        let survival: Vec<Survival> = survival.collect();
        let mut target = WindowTarget::new(model, &clip.stream.view, &samples)?;
        let label = self.label(&mut target, samples.len())?;
        target.behind(survival.iter().map(|s| s as &dyn Transport), None);
        Ok(current.gradient(&mut target, label, *phase)?)
    }
}

/// A bar of steps.
pub fn progress(steps: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} [{elapsed_precise}, {eta} left]")?;
    Ok(ProgressBar::new(steps).with_style(style))
}
