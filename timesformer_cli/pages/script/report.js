// The views of a report: what each answer's rows and columns are.

// What every row has, whichever command gave the result.
function rowOf(result, number, data) {
  const picture = data.pictures?.[number] ?? null;
  return {
    number,
    result,
    picture,
    name: result.video,
    labels: [],
    warnings: result.warnings,
    address: data.media[number],
  };
}

function failedRow(row) {
  return Object.assign(row, { fault: row.result.error, open: undefined });
}

const ALL = ["all", () => true];

// All rows, those that were read, and those with each kind of fault.
function readOrNot(rows) {
  const kinds = [...new Set(rows.filter((row) => row.fault).map((row) => row.fault.kind))].sort();
  if (!kinds.length) return [];
  const failed = kinds.length > 1 ? [["not read", (row) => row.fault]] : [];
  return [
    ALL,
    ["read", (row) => !row.fault],
    ...failed,
    ...kinds.map((kind) => [`not read: ${plain(kind)}`, (row) => row.fault?.kind === kind]),
  ];
}

const VIDEO = { name: "Video", of: (row) => row.name, cell: (row) => sheet(row.picture) };

// How a video was read and scored.
function ran(result) {
  return facts([
    ["model", result.model],
    ["device", result.device],
    ["dtype", result.dtype],
    ["decoder", result.decoder],
    ["views", result.views?.length],
    ["frames", result.views?.[0].times.length],
    ["decoding", result.seconds && `${result.seconds.decode.toFixed(2)} s`],
    ["model took", result.seconds && `${result.seconds.model.toFixed(2)} s`],
    ["frames a second", result.fps && Number(result.fps.toFixed(3))],
    ["a window", result.span && `${result.span} s`],
    ["windows every", result.every && `${result.every} s`],
    ["shots", result.shots?.length],
  ]);
}

// What the labels of a result are said of.
function clipOf({ views }) {
  return views.length > 1 ? `${views.length} views together` : `the clip ${clock(views[0].start)}\u2013${clock(views[0].end)}`;
}

// What a player needs of a result of classify.
function classifiedPlayer(result, address, picture) {
  const several = result.views.length > 1;
  const segments = result.views.map(({ start, end, predictions }) => ({ start, end, ...(several ? predictions : result.predictions)[0] }))
    .sort((a, b) => a.start - b.start);
  const whole = { when: clipOf(result), predictions: result.predictions, labels: result.labels };
  const views = result.views.filter((view) => view.predictions?.length).map((view) => ({
    start: view.start, end: view.end, predictions: view.predictions, when: `the view ${clock(view.start)}\u2013${clock(view.end)}, ${view.crop}`,
  }));
  const said = (time) => views.find((view) => view.start <= time && time <= view.end) ?? whole;
  return { address, picture, segments, said, more: [warnings(result.warnings), ran(result)] };
}

// What a player needs of a timeline; with its windows the bars follow them, else the segments.
function timelinePlayer(result, address, picture) {
  const { segments, shots, windows = [] } = result;
  const left = shots[0]?.start ?? 0;
  const right = shots.at(-1)?.end ?? 0;
  const steps = segments.map(({ start, end, label, score, similarity, runner_up: second }) => ({
    start, end, when: `${clock(start)}\u2013${clock(end)}`, predictions: [{ label, score, similarity }, ...(second ? [second] : [])],
  }));
  const nothing = { when: "no label here", predictions: [] };
  const centred = windows.map((window) => ({ ...window, when: `the window ${clock(window.start)}\u2013${clock(window.end)}` }));
  const off = (time, { start, end }) => Math.abs((start + end) / 2 - time);
  const said = (time) => centred.length
    ? centred.reduce((best, each) => (off(time, each) < off(time, best) ? each : best))
    : segmentAt(steps, time) ?? nothing;
  const cuts = shots.slice(1).map((shot) => shot.start);
  return { address, picture, start: left, left, right, segments, cuts, said, colours: true, more: [warnings(result.warnings), partial(result), ran(result)] };
}

function partial(result) {
  return result.status === "partial" ? el("p", {}, fault({ kind: "partial", message: result.error })) : null;
}

// A time line in one row, to be read at a glance.
function lane({ shots, segments }) {
  const left = shots[0]?.start ?? 0;
  const length = Math.max((shots.at(-1)?.end ?? 0) - left, 1e-6);
  const shown = segments.map(({ start, end, label, score }) => {
    const part = el("span", { class: `segment ${colourOf(label)}` });
    part.style.opacity = 0.35 + 0.65 * Math.min(1, score);
    return placed(part, (start - left) / length, (end - left) / length);
  });
  const legend = lasting(segments).map((label) => el("li", {}, el("span", { class: `dot ${colourOf(label)}`, "aria-hidden": "true" }), word(label)));
  return [el("div", { class: "lane", "aria-hidden": "true" }, shown), el("ul", { class: "legend" }, legend.length ? legend : el("li", {}, "(nothing)"))];
}

const VIEWS = {
  classify(data) {
    const rows = data.results.map((result, number) => {
      const row = rowOf(result, number, data);
      if (result.status === "error") return failedRow(row);
      const open = () => player(classifiedPlayer(result, row.address, row.picture)).element;
      return Object.assign(row, { labels: result.predictions, open });
    });
    const columns = [
      VIDEO,
      { name: "Label", of: (row) => row.labels[0]?.label, cell: (row) => bars(row.labels, { said: row.result.labels }), plain: true, span: 2 },
      { name: "Score", of: (row) => row.labels[0]?.score, number: true }, // the bars have it
    ];
    return sortable({ caption: "Videos", columns, rows, groups: readOrNot(rows) }).element;
  },

  timeline(data) {
    const rows = data.results.map((result, number) => {
      const row = rowOf(result, number, data);
      if (result.status === "error") return failedRow(row);
      const open = () => player(timelinePlayer(result, row.address, row.picture)).element;
      return Object.assign(row, { labels: result.segments, open });
    });
    const columns = [
      VIDEO,
      { name: "Length", of: (row) => row.result.duration, cell: (row) => clock(row.result.duration), number: true },
      { name: "Labels", of: (row) => row.labels[0]?.label, cell: (row) => [partial(row.result), lane(row.result)], plain: true },
      { name: "Segments", of: (row) => row.result.segments?.length, cell: (row) => row.result.segments.length, number: true },
    ];
    return sortable({ caption: "Videos", columns, rows, groups: readOrNot(rows) }).element;
  },

  evaluate: evaluation,
  live,

  // Parts of videos that were found in a library.
  search(data) {
    const rows = data.results.map((hit, number) => {
      const row = rowOf(hit, number, data);
      const open = () => player({ address: row.address, start: hit.start, end: hit.end, said: () => ({ when: `${clock(hit.start)}\u2013${clock(hit.end)}`, predictions: row.labels }) }).element;
      return Object.assign(row, { labels: [{ label: hit.label, score: hit.score }], open });
    });
    const alike = { name: "Alike", of: (row) => row.result.similarity, cell: (row) => row.result.similarity.toFixed(3), number: true };
    const columns = [
      { ...VIDEO, cell: undefined },
      { name: "From", of: (row) => row.result.start, cell: (row) => clock(row.result.start), number: true },
      { name: "To", of: (row) => row.result.end, cell: (row) => clock(row.result.end), number: true },
      ...(data.results.some((hit) => "similarity" in hit) ? [alike] : []),
      { name: "Label", of: (row) => row.result.label, cell: (row) => bars(row.labels), plain: true },
    ];
    return sortable({ caption: "What was found", columns, rows }).element;
  },

  // Pairs of videos that show the same; both are played from the same picture.
  duplicates(data) {
    const rows = data.results.map((pair, number) => {
      const row = rowOf(pair, number, data);
      const one = (video, [address, start]) => el("div", {}, el("h3", {}, word(video)), player({ address, start }).element);
      const open = () => el("div", { class: "pair" }, one(pair.video, data.media[number][0]), one(pair.other, data.media[number][1]));
      return Object.assign(row, { also: pair.other, open });
    });
    const given = (name, heading, cell) => (data.results.some((pair) => name in pair)
      ? [{ name: heading, of: (row) => row.result[name], cell: (row) => cell(row.result[name]), number: true }] : []);
    const columns = [
      { ...VIDEO, cell: undefined },
      { name: "Other", of: (row) => row.result.other, cell: (row) => word(row.result.other) },
      ...given("offset", "Offset", (offset) => `${offset < 0 ? "\u2212" : "+"}${Math.abs(offset).toFixed(2)}\u00a0s`),
      ...given("pace", "Pace", (pace) => String(Number(pace.toPrecision(6)))),
      ...given("similarity", "Alike", (similarity) => similarity.toFixed(3)),
      ...given("shared", "Shared", (shared) => percent(shared, 0)),
    ];
    return sortable({ caption: "Pairs", columns, rows }).element;
  },
};

// Who gave the results, in one line below the heading.
function about(data) {
  const first = data.results?.find((result) => result.model);
  const failed = data.results?.filter((result) => result.status === "error").length ?? 0;
  const parts = [
    first && [word(first.model), ` on ${plain(first.device)} in ${plain(first.dtype)}`],
    failed && `${counted(failed, "video")} not read`,
  ].filter(Boolean);
  return el("p", { class: "about" }, parts.flatMap((part, number) => (number ? [" \u00b7 ", part] : [part])));
}
