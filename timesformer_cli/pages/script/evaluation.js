// An evaluation: scores, what is taken for what, classes, and the mistakes, the most confident first.

const WIDEST_MATRIX = 40; // classes; of more, the pairs that are confused most often are listed
const MOST_PAIRS = 20;

function evaluation(data) {
  const { report } = data;
  const first = report.evaluations[0].scores;
  const table = verdicts(data);
  const parts = [
    conditions(report),
    scores(report.evaluations),
    report.comparison ? comparison(report) : null,
    first.confusion.length ? confusion(first, table.only) : null,
    first.classes.length ? classes(first) : null,
    table.element,
  ];
  return el("div", {}, parts);
}

function conditions({ data, split, protocol, evaluations }) {
  const { views, frames, stride, crop } = evaluations[0];
  return facts([
    ["data", data], ["split", split], ["protocol", protocol], ["views", views],
    ["clip", `${frames} x ${stride ?? "uniform"} @ ${crop[0] === crop[1] ? crop[0] : crop.join("x")}`],
  ]);
}

function scores(evaluations) {
  const interval = ({ top1_interval: bounds }) => bounds && `${(100 * bounds[0]).toFixed(1)} \u2013 ${percent(bounds[1])}`;
  const lines = [
    ["mAP", ({ several }) => percent(several?.mean_average_precision)],
    ["F1", ({ several }) => percent(several?.f1)],
    ["all labels right", ({ several }) => percent(several?.exact)],
    ["top-1", ({ top1 }) => percent(top1)],
    ["interval (95 %, Wilson)", interval],
    ["top-5", ({ top5 }) => percent(top5)],
    ["mean class accuracy", ({ mean_class_accuracy: mean }) => percent(mean)],
    ["calibration error", ({ calibration_error: error }) => percent(error)],
    ["right", ({ correct, readable }) => `${correct.toLocaleString("en")} of ${readable.toLocaleString("en")}`],
    ["not read, not counted", ({ unreadable }) => unreadable.length || ""],
  ];
  const known = lines.map(([name, of]) => [name, evaluations.map(({ scores: each }) => of(each) || "")])
    .filter(([, cells]) => cells.some(Boolean));
  return el("section", { "aria-label": "Scores" },
    el("table", { class: "scores" },
      el("caption", {}, "Scores"),
      el("thead", {}, el("tr", {}, el("td", {}), evaluations.map(({ model }) => el("th", { scope: "col" }, word(model))))),
      el("tbody", {}, known.map(([name, cells]) => el("tr", {}, el("th", { scope: "row" }, name), cells.map((cell) => el("td", { class: "number" }, cell)))))));
}

// Two models: McNemar's test, and the videos that they differ in.
function comparison({ comparison: compared, evaluations }) {
  const { both, only_first: one, only_second: other, neither, p_value: p, differences } = compared;
  const rows = differences.map((each) => ({ name: each.video, labels: [], result: each }));
  const columns = [
    { name: "Video", of: (row) => row.name },
    { name: "Label", of: (row) => row.result.label, cell: (row) => word(row.result.label) },
    ...["first", "second"].map((which, number) => ({
      name: plain(evaluations[number].model), of: (row) => row.result[which],
      cell: (row) => [row.result.right === which ? "\u2713 " : "", word(row.result[which])],
    })),
  ];
  return el("section", { "aria-label": "Two models compared" },
    el("h2", {}, "Two models compared"),
    el("p", {}, `Right: both ${both}, only the first ${one}, only the second ${other}, neither ${neither}. McNemar\u2019s exact test: p = ${p >= 0.001 ? p.toFixed(3) : p.toExponential(1)}.`),
    rows.length ? sortable({ caption: "Videos that one model alone gets right", columns, rows, filters: false }).element : null);
}

function confusion({ confusion: cells, classes: known }, only) {
  const show = ({ label, predicted }) => only([word(label), " taken for ", word(predicted)],
    ({ result }) => result.label === label && result.predicted === predicted);
  const labels = known.map(({ label }) => label);
  return el("section", { "aria-label": "Confusion" }, el("h2", {}, "What is taken for what"),
    labels.length <= WIDEST_MATRIX ? matrix(cells, labels, show) : pairs(cells, show));
}

// Rows are labels; columns are predictions and are headed by the number of their row.
function matrix(cells, labels, show) {
  const found = new Map(cells.map((cell) => [`${labels.indexOf(cell.label)} ${labels.indexOf(cell.predicted)}`, cell]));
  const totals = labels.map((label) => cells.filter((cell) => cell.label === label).reduce((sum, { videos }) => sum + videos, 0));
  const cell = (row, column) => {
    const here = found.get(`${row} ${column}`);
    if (!here) return el("td", {}, el("span", { "aria-hidden": "true" }, "\u00b7"));
    const name = `${counted(here.videos, "video")} of ${plain(here.label)} predicted as ${plain(here.predicted)}`;
    const shown = el("td", { class: row === column ? "hit" : "miss" },
      el("button", { type: "button", "aria-label": name, title: name, onclick: () => show(here) }, here.videos.toLocaleString("en")));
    shown.style.setProperty("--share", here.videos / totals[row]);
    return shown;
  };
  return el("div", { class: "scroll matrix", role: "region", tabindex: 0, "aria-label": "Confusion matrix" },
    el("table", {},
      el("caption", {}, "Rows are labels, columns are predictions, by the numbers of the rows"),
      el("thead", {}, el("tr", {}, el("td", {}), labels.map((label, number) => el("th", { scope: "col" }, el("abbr", { title: plain(label) }, number + 1))))),
      el("tbody", {}, labels.map((label, row) => el("tr", {},
        el("th", { scope: "row" }, `${row + 1} `, word(label)), labels.map((_, column) => cell(row, column)))))));
}

function pairs(cells, show) {
  const wrong = cells.filter(({ label, predicted }) => label !== predicted).sort((a, b) => b.videos - a.videos);
  return [
    el("ol", {}, wrong.slice(0, MOST_PAIRS).map((cell) => el("li", {},
      word(cell.label), " taken for ", word(cell.predicted), " ",
      el("button", { type: "button", onclick: () => show(cell) }, counted(cell.videos, "video"))))),
    wrong.length > MOST_PAIRS ? el("p", { class: "note" }, `${counted(wrong.length - MOST_PAIRS, "more pair")}`) : null,
  ];
}

function classes({ classes: known, several }) {
  const rows = (several?.classes ?? known).map((each) => ({ name: each.label, labels: [], result: each }));
  const share = (name, heading) => ({ name: heading, of: (row) => row.result[name], cell: (row) => percent(row.result[name]), number: true });
  const columns = [
    { name: "Class", of: (row) => row.name },
    { name: "Videos", of: (row) => row.result.videos ?? row.result.clips, cell: (row) => row.result.videos ?? row.result.clips, number: true },
    ...(several ? [share("average_precision", "AP")] : []),
    share("precision", "Precision"),
    share("recall", "Recall"),
    ...(several ? [share("f1", "F1"), { name: "Threshold", of: (row) => row.result.threshold, cell: (row) => row.result.threshold.toFixed(3), number: true }] : []),
  ];
  const table = sortable({ caption: "Classes", columns, rows, filters: false }).element;
  return rows.length > 20 ? el("details", {}, el("summary", {}, counted(rows.length, "class").replace("classs", "classes")), table) : table;
}

function verdicts(data) {
  const rows = data.results.map((result, number) => {
    const row = rowOf(result, number, data);
    if (result.status === "error") return failedRow(row);
    const said = () => ({ when: `it is ${plain(result.label)}`, predictions: result.predictions });
    const [start, end] = result.part ?? [0, null];
    const open = () => player({ address: row.address, start, end, said, more: [sheet(row.picture), warnings(result.warnings)] }).element;
    return Object.assign(row, { labels: result.predictions, also: result.label, open });
  });
  const columns = [
    VIDEO,
    { name: "Label", of: (row) => row.result.label, cell: (row) => word(row.result.label) },
    { name: "Predicted", of: (row) => row.result.predicted, cell: (row) => el("span", { class: row.result.correct ? "right" : "wrong" }, row.result.correct ? "\u2713 " : "\u2717 ", hidden(row.result.correct ? "right: " : "wrong: "), word(row.result.predicted)) },
    { name: "Score", of: (row) => row.labels[0]?.score, cell: (row) => percent(row.labels[0].score), number: true },
  ];
  const wrong = ({ fault: failed, result }) => !failed && !result.correct;
  const groups = [["mistakes", wrong], ["right", ({ fault: failed, result }) => !failed && result.correct], ...readOrNot(rows).slice(2), ALL];
  return sortable({ caption: "Videos", columns, rows, groups: groups.filter(([, test]) => rows.some(test)), sorted: columns[3] });
}
