// The server's page: videos are dropped, sent to /v1/classify and /v1/timeline, played and listed.

const AGAIN = 2; // seconds until a busy server is asked again, where it does not say

function live(data) {
  const rows = [];
  const waiting = [];
  let working = false;
  const stage = el("div");
  const state = el("p", { role: "status", class: "note" });
  const token = data.token ? el("input", { type: "password", autocomplete: "off", id: "token" }) : null;
  const table = liveTable(rows);
  table.element.hidden = true;

  // Take files, of which the first is shown.
  function take(files) {
    if (!files.length) return;
    const added = [...files].map((file, place) => rowOfFile(file, rows.length + place));
    rows.push(...added);
    waiting.push(...added);
    table.element.hidden = false;
    table.refresh();
    stage.replaceChildren(el("section", { class: "card", "aria-label": "The video" }, el("h2", {}, word(added[0].name)), added[0].open()));
    work();
  }
  // One after another: a server that many use has room for others too.
  async function work() {
    if (working) return;
    working = true;
    while (waiting.length) await look(waiting.shift());
    working = false;
  }
  async function look(row) {
    const call = (verb, fields) => ask(verb, row, fields, token?.value ?? "", data.most);
    try {
      state.textContent = `${row.number + 1} of ${rows.length}: ${plain(row.name)} is being read`;
      const labels = await call("classify", {});
      if (labels.status === "error") return row.fail(labels.error);
      row.take({ labels, predictions: labels.predictions });
      table.refresh();
      const times = await call("timeline", { format: "jsonl", windows: "true" });
      if (times.status === "error") row.cut.replaceChildren(fault(times.error));
      else row.take({ times });
    } finally {
      table.refresh();
      state.textContent = `${row.number + 1} of ${counted(rows.length, "video")} done${row.fault ? `; ${plain(row.name)}: ${plain(row.fault.kind)}` : ""}`;
      if (row.fault?.kind === "unauthorized") token?.focus();
    }
  }

  const input = el("input", { type: "file", class: "hidden", multiple: true, accept: "video/*,image/gif,.mkv,.ts,.m2ts", onchange: () => { take(input.files); input.value = ""; } });
  const drop = el("label", { class: "drop" }, "Drop videos here, or choose some", input);
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault(); // or the browser would leave the page for the video
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files);
    });
  }
  const secret = token ? el("p", {}, el("label", {}, "The server\u2019s token ", token)) : null;
  return el("div", {}, server(token), secret, drop, state, stage, table.element);
}

// Which model answers, where the server says so without a token, and how programs ask it.
function server(token) {
  const line = el("p", { class: "about" }, el("a", { href: "openapi.json" }, "how programs call this server"));
  if (!token) {
    fetch("v1/models").then((answer) => answer.json()).then(({ models: [{ name, device, dtype, labels }] }) =>
      line.prepend(word(name), ` on ${plain(device)} in ${plain(dtype)}, ${counted(labels.length, "label")} \u00b7 `));
  }
  return line;
}

// A row, its state, and players of it that learn what comes in.
function rowOfFile(file, number) {
  const players = new Set();
  const row = {
    number,
    file,
    name: file.name,
    labels: [],
    state: el("span", { class: "note" }, "waiting"),
    cut: el("span", { class: "note" }),
    address: URL.createObjectURL(file),
    result: {},
    open() {
      const made = player({ address: row.address, more: [], ...row.shown() });
      players.add(made);
      return made.element;
    },
    // What is known: the time line where there is one, else when the clip was seen.
    shown() {
      const { labels, times } = row.result;
      if (row.fault) return { more: [el("p", {}, fault(row.fault))] };
      if (!labels) return {};
      const whole = [el("h3", {}, `Labels of ${clipOf(labels)}`), bars(labels.predictions, { said: labels.labels })];
      if (!times) return classifiedPlayer(labels, row.address, null);
      const line = timelinePlayer(times, row.address, null);
      return { ...line, more: [el("section", {}, whole), ...line.more] };
    },
    take(known) {
      Object.assign(row.result, known);
      row.labels = row.result.labels?.predictions ?? [];
      for (const made of players) made.update(row.shown());
    },
    fail(error) {
      row.fault = error;
      row.take({});
    },
  };
  return row;
}

function liveTable(rows) {
  const seen = (row) => (row.labels.length ? bars(row.labels, { said: row.result.labels.labels }) : row.state);
  const columns = [
    { name: "Video", of: (row) => row.name },
    { name: "Label", of: (row) => row.labels[0]?.label, cell: seen, plain: true, span: 2 },
    { name: "Score", of: (row) => row.labels[0]?.score, number: true },
    { name: "Time line", of: (row) => row.result.times?.segments.length, cell: (row) => (row.result.times ? lane(row.result.times) : row.cut), plain: true },
  ];
  const groups = [ALL, ["read", (row) => row.labels.length], ["not read", (row) => row.fault]];
  return sortable({ caption: "Videos", columns, rows, groups });
}

// What the server says of a file: its last line, or an error of the same shape.
async function ask(verb, row, fields, token, most) {
  const wrong = (kind, message) => ({ status: "error", error: { kind, message } });
  if (row.file.size > most) return wrong("too_large", `has ${counted(row.file.size, "byte")}; this server takes up to ${most.toLocaleString("en")}`);
  for (;;) {
    const { status, text, again } = await send(verb, row, fields, token);
    if (status === 429) {
      row.state.textContent = `the server is busy; again in ${again} s`;
      await new Promise((done) => setTimeout(done, 1000 * again));
      continue;
    }
    if (!status) return wrong("no_answer", "the server did not answer, or the file could not be read to its end");
    try {
      return JSON.parse(text.trimEnd().split("\n").at(-1));
    } catch {
      return wrong("no_answer", `the server's answer (${status}) broke off`);
    }
  }
}

function send(verb, row, fields, token) {
  const request = new XMLHttpRequest();
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  body.append("video", row.file, row.file.name);
  request.open("POST", `v1/${verb}`);
  if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
  const tell = (text) => (verb === "classify" ? row.state : row.cut).replaceChildren(text);
  request.upload.addEventListener("progress", ({ loaded, total }) => tell(`sending, ${percent(loaded / total, 0)}`));
  request.upload.addEventListener("load", () => tell("being read"));
  let read = 0; // windows, which come as lines
  request.addEventListener("progress", () => {
    const end = request.responseText.lastIndexOf("\n");
    if (verb !== "timeline" || end <= read) return;
    const last = request.responseText.slice(request.responseText.lastIndexOf("\n", end - 1) + 1, end);
    read = end;
    const window = JSON.parse(last);
    if ("shot" in window) tell(`read up to ${clock(window.end)}`);
  });
  return new Promise((done) => {
    request.addEventListener("loadend", () => done({
      status: request.status,
      text: request.responseText,
      again: Number(request.getResponseHeader("Retry-After")) || AGAIN,
    }));
    request.send(body);
  });
}
