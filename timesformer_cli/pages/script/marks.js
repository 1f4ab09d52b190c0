// What stands for a label, a score, a fault and a video's pictures, wherever they are shown.

const COLOURS = 12; // of style.css
const coloured = new Map();

// The class of a label's colour: the first labels that are met have colours of their own.
function colourOf(label) {
  if (!coloured.has(label)) coloured.set(label, coloured.size % COLOURS);
  return `c${coloured.get(label)}`;
}

// A bar for each label. `said` are those that reach their thresholds, where a video may have several.
// With `colours` each label has the colour that it has on a time line.
function bars(predictions, { said = [], colours = false } = {}) {
  const row = ({ label, score, similarity }, rank) => {
    const best = said.length ? said.includes(label) : rank === 0;
    const fill = el("span", { class: colours ? colourOf(label) : best ? "best" : "rest" });
    fill.style.width = percent(Math.min(1, score)).replace("\u00a0", "");
    const mark = said.includes(label) ? el("span", { class: "said" }, "\u2713 ", hidden("has ")) : null;
    return el(
      "li", {},
      el("span", { class: "label" }, mark, word(label)),
      el("span", { class: "bar", "aria-hidden": "true" }, fill),
      el("span", { class: "number" }, percent(score)),
      similarity === null || similarity === undefined
        ? null
        : el("span", { class: "number fit" }, el("span", {}, "similarity "), similarity.toFixed(3)),
    );
  };
  return el("ul", { class: "bars" }, predictions.map(row));
}

// Text for screen readers only.
function hidden(text) {
  return el("span", { class: "hidden" }, text);
}

function sheet(picture) {
  if (!picture) return null;
  const { times, width, jpeg } = picture;
  const when = times.length > 1 ? `${clock(times[0])} to ${clock(times.at(-1))}` : clock(times[0]);
  return el("img", {
    class: "sheet",
    src: `data:image/jpeg;base64,${jpeg}`,
    alt: `${counted(times.length, "frame")} that the model saw, ${when}`,
    width: width * times.length,
    height: 80,
    decoding: "async",
  });
}

function fault({ kind, message }) {
  return el("span", { class: "fault" }, el("strong", {}, plain(kind)), ": ", word(message));
}

function warnings(list) {
  if (!list || !list.length) return null;
  return el("ul", { class: "warnings" }, list.map((text) => el("li", {}, word(text))));
}

// Names and values, without those that are not known.
function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, known.map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value instanceof Node ? value : word(value)))));
}
