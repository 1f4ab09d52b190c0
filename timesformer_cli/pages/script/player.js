// A video with what was said of it: bars of its labels at each moment, a time line, a list of segments.

// `segments` as for a time line; `said(seconds)` gives what the bars show then, as
// { when, predictions, labels }; with `colours` they are those of the time line. Without `address` there is no video to play, and all else works.
function player({ address, start = 0, end = null, left = 0, right = 0, segments = [], cuts = [], said, colours = false, picture = null, more = [] }) {
  const shown = el("div", { class: "said-now" });
  const place = el("div", {});
  const video = address === null ? null : el("video", { controls: true, preload: "metadata", playsinline: true });
  let line = null;
  let last = null;

  function tell(time) {
    line?.move(time);
    const now = said?.(time);
    if (!now || now.predictions === last) return;
    last = now.predictions;
    shown.replaceChildren(el("p", { class: "when" }, now.when), bars(now.predictions, { said: now.labels, colours }));
  }
  function seek(time) {
    if (video?.readyState) video.currentTime = time;
    tell(time);
  }
  // Again when the video's own length is known, where nothing else says how far the line goes.
  function draw(until) {
    if (until <= left) return;
    line = timeLine({ left, right: until, segments, cuts, picture, seek });
    place.replaceChildren(line.element);
  }
  function follow() {
    tell(video.currentTime);
    if (!video.paused && !video.ended && video.isConnected) requestAnimationFrame(follow);
  }

  if (segments.length || right > left) draw(right || Math.max(...segments.map((segment) => segment.end)));
  if (video) {
    video.src = address + (start || end ? `#t=${start}${end === null ? "" : `,${end}`}` : "");
    for (const event of ["seeked", "timeupdate"]) video.addEventListener(event, () => tell(video.currentTime));
    video.addEventListener("play", follow);
    video.addEventListener("loadedmetadata", () => {
      if (!right && segments.length && Number.isFinite(video.duration)) draw(video.duration);
      tell(video.currentTime);
    });
    video.addEventListener("error", () => video.replaceWith(el("p", { class: "note" },
      "This browser cannot play the video: it is not at ", el("code", {}, plain(addressed(address))),
      ", or of a kind that the browser does not know. All else here works without it.")));
  }
  tell(start || left);
  return el("div", { class: "player" },
    el("div", { class: "seen" }, video, shown), place, segmentList(segments, seek), more);
}

function addressed(address) {
  try {
    return decodeURI(address);
  } catch {
    return address; // bytes that are no UTF-8
  }
}

// Segments in words; each begins with a button that goes there.
function segmentList(segments, seek) {
  if (segments.length < 2) return null;
  const fits = segments.some(({ similarity }) => typeof similarity === "number");
  const row = ({ start, end, label, score, similarity, runner_up: second }) => el("tr", {},
    el("td", {}, el("button", { type: "button", class: "time", onclick: () => seek(start) }, `${clock(start)}\u2013${clock(end)}`)),
    el("td", {}, el("span", { class: `dot ${colourOf(label)}`, "aria-hidden": "true" }), word(label)),
    el("td", { class: "number" }, percent(score)),
    fits ? el("td", { class: "number" }, similarity?.toFixed(3)) : null,
    el("td", {}, second ? [word(second.label), ` ${percent(second.score)}`] : null));
  const heads = ["from\u2013to", "label", "score", ...(fits ? ["similarity"] : []), "second"];
  const numbers = ["score", "similarity"];
  return el("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "Segments" },
    el("table", { class: "segments" },
      el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col", class: numbers.includes(name) ? "number" : null }, name)))),
      el("tbody", {}, segments.map(row))));
}

// One dialog for the page, which shows one of a list of rows: { name, open() }.
const viewer = {
  dialog: null,
  show(rows, at) {
    if (!this.dialog) {
      this.dialog = el("dialog", { "aria-labelledby": "viewed" });
      this.dialog.addEventListener("close", () => this.dialog.replaceChildren()); // the video stops
      this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
      document.body.append(this.dialog);
    }
    const row = rows[at];
    const to = (name, place) => el("button", {
      type: "button", disabled: !rows[place], onclick: () => this.show(rows, place),
    }, name);
    this.dialog.replaceChildren(el("div", { class: "viewer" },
      el("div", { class: "bar-of-buttons" },
        el("h2", { id: "viewed", tabindex: -1 }, word(row.name)),
        to("Previous", at - 1), to("Next", at + 1),
        el("button", { type: "button", onclick: () => this.dialog.close() }, "Close")),
      row.open()));
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.querySelector("h2").focus();
  },
};
