// A time line: pictures on top, below them a row for each label with its segments, cuts as dashed
// lines, a cursor. A click anywhere, or a key, goes to that moment.

const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const MOST_ROWS = 12;

// `segments` have start, end, label and score; `seek(seconds)` is called where the user goes.
// Gives the element, and `move(seconds)`, which puts the cursor there.
function timeLine({ left, right, segments, cuts = [], picture = null, seek }) {
  const length = Math.max(right - left, 1e-6);
  const share = (time) => Math.min(1, Math.max(0, (time - left) / length));
  const part = (tag, attributes, { start, end }) => placed(el(tag, attributes), share(start), share(end));
  let now = left;

  const rows = lasting(segments).map((label) => {
    const own = segments.filter((segment) => segment.label === label).map((segment) => {
      const shown = part("span", { class: `segment ${colourOf(label)}` }, segment);
      shown.style.opacity = 0.35 + 0.65 * Math.min(1, segment.score);
      return shown;
    });
    return el("div", { class: "row" }, el("span", { class: "label" }, word(label)), el("div", { class: "lane" }, own));
  });
  const marks = cuts.map((time) => placed(el("span", { class: "cut" }), share(time)));
  const cursor = el("span", { class: "cursor" });
  const track = el("div", {
    class: "track",
    role: "slider",
    tabindex: 0,
    "aria-label": "Time in the video",
    "aria-valuemin": left.toFixed(1),
    "aria-valuemax": right.toFixed(1),
    title: "Click, or use the arrow keys; Page Up and Page Down go from segment to segment",
  }, marks, cursor);

  function move(time) {
    now = Math.min(right, Math.max(left, time));
    placed(cursor, share(now));
    const at = segmentAt(segments, now);
    track.setAttribute("aria-valuenow", now.toFixed(1));
    track.setAttribute("aria-valuetext", at ? `${clock(now)}, ${plain(at.label)}, ${percent(at.score)}` : clock(now));
  }
  function go(time) {
    move(time);
    seek(now);
  }
  const at = (event) => {
    const box = track.getBoundingClientRect();
    return left + (length * (event.clientX - box.left)) / box.width;
  };
  track.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    track.setPointerCapture(event.pointerId);
    go(at(event));
  });
  track.addEventListener("pointermove", (event) => {
    if (track.hasPointerCapture(event.pointerId)) go(at(event));
  });
  track.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 1;
    const starts = segments.map((segment) => segment.start);
    const places = {
      ArrowLeft: () => now - step,
      ArrowDown: () => now - step,
      ArrowRight: () => now + step,
      ArrowUp: () => now + step,
      Home: () => left,
      End: () => right,
      PageUp: () => Math.max(left, ...starts.filter((start) => start < now - 0.05)),
      PageDown: () => Math.min(right, ...starts.filter((start) => start > now + 0.05)),
    };
    if (!places[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    go(places[event.key]());
  });
  move(left);

  const none = el("div", { class: "row" }, el("span", { class: "label" }, "(nothing)"), el("div", { class: "lane" }));
  const dropped = new Set(segments.map((segment) => segment.label)).size - rows.length;
  const element = el("div", { class: "time-line" },
    picture ? el("div", { class: "row" }, el("span", { class: "label" }), strip(picture, share)) : null,
    rows.length ? rows : none,
    el("div", { class: "row" }, el("span", { class: "label" }), axis(left, right, share)),
    track);
  const more = dropped > 0 ? el("p", { class: "note" }, `the ${MOST_ROWS} labels that last longest; ${dropped} more are in the list`) : null;
  return { element: el("div", {}, element, more), move };
}

function segmentAt(segments, time) {
  return segments.find((segment) => segment.start <= time && time < segment.end) ?? segments.find((segment) => segment.end === time);
}

// The labels in the order in which they come; of more than there are rows for, those that last longest.
function lasting(segments) {
  const lengths = new Map();
  for (const { label, start, end } of segments) lengths.set(label, (lengths.get(label) ?? 0) + end - start);
  const kept = [...lengths].sort((a, b) => b[1] - a[1]).slice(0, MOST_ROWS).map(([label]) => label);
  return [...lengths.keys()].filter((label) => kept.includes(label));
}

// Pictures, each centred at its own moment.
function strip({ times, width, jpeg }, share) {
  const pictures = times.map((time, number) => {
    const shown = placed(el("span", { class: "picture" }), share(time));
    shown.style.width = `${width}px`;
    shown.style.backgroundImage = `url(data:image/jpeg;base64,${jpeg})`;
    shown.style.backgroundPositionX = `${-number * width}px`;
    return shown;
  });
  const alt = `Frames that the model saw, ${clock(times[0])} to ${clock(times.at(-1))}`;
  return el("div", { class: "strip", role: "img", "aria-label": alt }, pictures);
}

function axis(left, right, share) {
  const step = TICKS.find((each) => (right - left) / each <= 6) ?? (right - left) / 4;
  const ticks = [];
  for (let number = Math.ceil(left / step - 1e-6); number * step <= right + 1e-6; number++) {
    const [text, at] = [clock(number * step), share(number * step)];
    ticks.push(placed(el("span", { class: at < 0.03 ? "first" : at > 0.97 ? "last" : null }, step < 1 ? text : text.replace(/\.\d$/, "")), at));
  }
  return el("div", { class: "axis", "aria-hidden": "true" }, ticks);
}
