// A video with what was said of it: bars of its labels at each moment, a time line, a list of segments.

// An item has `segments` as a time line, and `said(seconds)`, which gives what the bars show then, as
// { when, predictions, labels }; with `colours` they are those of the time line. Without `address`
// there is no video to play, and all else works. Gives the element, and `update(item)` for what is
// known later.
function player(item) {
  const shown = el("div", { class: "said-now" });
  const place = el("div", {});
  const list = el("div", {});
  const more = el("div", {});
  const video = item.address ? el("video", { controls: true, preload: "metadata", playsinline: true }) : null;
  let line = null;
  let last = null;
  let now = item.start ?? item.left ?? 0;

  function tell(time) {
    now = time;
    line?.move(time);
    const said = item.said?.(time);
    if (!said || said.predictions === last) return;
    last = said.predictions;
    shown.replaceChildren(el("p", { class: "when" }, said.when), bars(last, { said: said.labels, colours: item.colours }));
  }
  function seek(time) {
    if (video?.readyState) video.currentTime = time;
    tell(time);
  }
  function draw() {
    const { left = 0, right, segments = [], cuts, picture, more: below = [] } = item;
    // Where nothing else says how far the line goes, the video's own length does, once it is known.
    const until = right ?? (Number.isFinite(video?.duration) ? video.duration : Math.max(left, ...segments.map((segment) => segment.end)));
    line = segments.length || right > left ? timeLine({ left, right: until, segments, cuts, picture, seek }) : null;
    place.replaceChildren(...(line ? [line.element] : []));
    list.replaceChildren(...[segmentList(segments, seek)].filter(Boolean));
    more.replaceChildren(...below.flat().filter(Boolean));
    last = null;
    tell(now);
  }
  function follow() {
    tell(video.currentTime);
    if (!video.paused && !video.ended && video.isConnected) requestAnimationFrame(follow);
  }

  if (video) {
    const { start = 0, end = null } = item;
    video.src = item.address + (start || end ? `#t=${start}${end === null ? "" : `,${end}`}` : "");
    for (const event of ["seeked", "timeupdate"]) video.addEventListener(event, () => tell(video.currentTime));
    video.addEventListener("play", follow);
    video.addEventListener("loadedmetadata", () => {
      now = video.currentTime;
      draw();
    });
    video.addEventListener("error", () => video.replaceWith(el("p", { class: "note" },
      "This browser cannot play the video: it is not at ", el("code", {}, plain(addressed(item.address))),
      ", or of a kind that the browser does not know. All else here works without it.")));
  }
  draw();
  const element = el("div", { class: "player" }, el("div", { class: "seen" }, video, shown), place, list, more);
  return { element, update(known) { Object.assign(item, known); draw(); } };
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
  const seconds = segments.some(({ runner_up: second }) => second);
  const row = ({ start, end, label, score, similarity, runner_up: second }) => el("tr", {},
    el("td", {}, el("button", { type: "button", class: "time", onclick: () => seek(start) }, `${clock(start)}\u2013${clock(end)}`)),
    el("td", {}, el("span", { class: `dot ${colourOf(label)}`, "aria-hidden": "true" }), word(label)),
    el("td", { class: "number" }, percent(score)),
    fits ? el("td", { class: "number" }, similarity?.toFixed(3)) : null,
    seconds ? el("td", { class: "second" }, second ? [word(second.label), ` ${percent(second.score)}`] : null) : null);
  const heads = ["from\u2013to", "label", "score", ...(fits ? ["similarity"] : []), ...(seconds ? ["second"] : [])];
  const kinds = { score: "number", similarity: "number", second: "second" };
  return el("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "Segments" },
    el("table", { class: "segments" },
      el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col", class: kinds[name] }, name)))),
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
