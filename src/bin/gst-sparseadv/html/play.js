// Plays the videos of a clip in step, and shows where in the time line they are.
for (const clip of document.querySelectorAll(".clip")) {
  const videos = [...clip.querySelectorAll("video")];
  const [lead, ...others] = videos;
  const frames = Number(clip.dataset.frames);
  const [play, range, slow, at] = [".play", "input[type=range]", ".slow", ".at"].map((s) => clip.querySelector(s));
  const windows = [...clip.querySelectorAll(".timeline li")];
  const follow = () => {
    for (const video of others) {
      if (Math.abs(video.currentTime - lead.currentTime) > 0.03) video.currentTime = lead.currentTime;
    }
    const frame = Math.min(frames - 1, Math.floor((frames * lead.currentTime) / (lead.duration || 1)));
    range.value = frame;
    at.textContent = "frame " + frame;
    const now = windows.findLast((window) => Number(window.dataset.first) <= frame);
    for (const window of windows) window.classList.toggle("now", window === now);
    if (!lead.paused) requestAnimationFrame(follow);
  };
  const seek = (frame) => {
    // The middle of a frame, so that rounding leads to no other.
    for (const video of videos) video.currentTime = ((frame + 0.5) * video.duration) / frames;
  };
  const run = (on) => {
    for (const video of videos) {
      video.playbackRate = slow.checked ? 0.25 : 1;
      if (on) video.play();
      else video.pause();
    }
  };
  for (const video of videos) {
    video.controls = false;
    video.addEventListener("click", () => run(lead.paused));
  }
  lead.addEventListener("play", () => { play.textContent = "Pause"; follow(); });
  lead.addEventListener("pause", () => { play.textContent = "Play"; follow(); });
  lead.addEventListener("seeked", follow);
  lead.addEventListener("loadedmetadata", follow);
  play.addEventListener("click", () => run(lead.paused));
  slow.addEventListener("change", () => run(!lead.paused));
  range.addEventListener("input", () => { run(false); seek(Number(range.value)); });
  for (const window of windows) {
    window.querySelector(".seek").addEventListener("click", () => seek(Number(window.dataset.first)));
  }
  clip.querySelector(".controls").hidden = false;
  follow();
}
