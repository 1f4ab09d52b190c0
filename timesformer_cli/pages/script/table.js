// A table of many rows that sorts and filters, and shows them a page at a time.

const PAGE = 200; // rows that are added at once
const order = new Intl.Collator("en", { numeric: true });

function textOf(row) {
  row.text ??= [row.name, row.also, ...row.labels.map(({ label }) => label), row.fault?.kind, row.fault?.message].join("\n").toLowerCase();
  return row.text;
}

// A column: { name, of(row) -> what it is sorted by, cell(row) -> what it shows, number, span }.
// A row: { name, also, labels: [{ label, score }], fault, open() }, found by its name, by what it is
// called also, by its labels, by its fault. A fault takes the place of all columns but the first.
// `groups` are [name, test]: of the first only those rows are shown that pass its test, until another
// is chosen; ALL is one of them. With `sorted` the table begins sorted by that column, downwards.
function sortable({ caption, columns, rows, groups = [], sorted = null, filters = true }) {
  const state = { text: "", label: "", least: 0, group: groups[0]?.[1], only: null, column: sorted, down: sorted !== null };
  let shown = PAGE;
  let matching = [];
  const count = el("output", { class: "count" });
  const body = el("tbody", { role: "rowgroup" });
  const more = el("p", { class: "more" });
  const chip = el("p", { class: "chip", hidden: true });
  const heads = columns.map((column) => {
    const arrow = el("span", { class: "arrow", "aria-hidden": "true" });
    const head = el("th", { scope: "col", role: "columnheader", class: column.number ? "number" : null },
      el("button", { type: "button", onclick: () => sortBy(column) }, column.name, arrow));
    return { column, head, arrow };
  });

  // First one way, then the other, then as the rows came.
  function sortBy(column) {
    const first = Boolean(column.number); // of numbers the largest come first
    if (state.column !== column) Object.assign(state, { column, down: first });
    else if (state.down === first) state.down = !first;
    else Object.assign(state, { column: null, down: false });
    draw();
  }
  function fits(row) {
    if (state.group && !state.group(row)) return false;
    if (state.only && !state.only(row)) return false;
    if (state.text && !textOf(row).includes(state.text)) return false;
    if (state.label) return row.labels.some(({ label, score }) => label === state.label && score >= state.least);
    return !state.least || row.labels.some(({ score }) => score >= state.least);
  }
  function sort(list) {
    if (!state.column) return list;
    const { of } = state.column;
    const sign = state.down ? -1 : 1;
    return list.map((row) => [of(row), row]).sort(([a], [b]) => {
      const missing = (a === null || a === undefined) - (b === null || b === undefined);
      if (missing || a === null || a === undefined) return missing; // at the end, either way
      return sign * (typeof a === "number" ? a - b : order.compare(a, b));
    }).map(([, row]) => row);
  }
  function line(row, place) {
    const cells = row.fault
      ? el("td", { role: "cell", colspan: columns.length - 1 }, fault(row.fault))
      : columns.slice(1).filter(({ cell }) => cell).map((column) => el("td", {
        role: "cell", colspan: column.span, class: column.number ? "number" : null, "data-name": column.plain ? null : column.name,
      }, column.cell(row)));
    const name = row.open
      ? el("button", { type: "button", class: "name", "aria-haspopup": "dialog", onclick: () => viewer.show(matching, place) }, word(row.name))
      : el("span", { class: "name" }, word(row.name));
    return el("tr", { role: "row" },
      el("th", { scope: "row", role: "rowheader" }, columns[0].cell?.(row), name, warnings(row.warnings)), cells);
  }
  function draw() {
    matching = sort(rows.filter(fits));
    for (const { column, head, arrow } of heads) {
      const mine = state.column === column;
      head.setAttribute("aria-sort", mine ? (state.down ? "descending" : "ascending") : "none");
      arrow.textContent = mine ? (state.down ? " \u25bc" : " \u25b2") : " \u2195";
    }
    shown = PAGE;
    body.replaceChildren();
    add();
    count.textContent = `${matching.length.toLocaleString("en")} of ${counted(rows.length, "row")}`;
  }
  function add() {
    const from = body.childElementCount;
    body.append(...matching.slice(from, shown).map((row, number) => line(row, from + number)));
    const rest = matching.length - body.childElementCount;
    more.replaceChildren(rest > 0
      ? el("button", { type: "button", onclick: () => { shown += PAGE; add(); } }, `Show more (${rest.toLocaleString("en")} left)`)
      : "");
  }
  // Show only those rows, and say so, until the user takes it back.
  function only(text, test) {
    state.only = test;
    state.group = undefined;
    chooser.value = "";
    chip.hidden = false;
    chip.replaceChildren(text, " ", el("button", {
      type: "button", onclick: () => { state.only = null; chip.hidden = true; chooser.value = groups.length - 1; draw(); },
    }, "Show all"));
    draw();
    chip.querySelector("button").focus();
  }

  const labels = el("select", { onchange: (event) => set("label", event.target.value) });
  const set = (name, value) => { state[name] = value; draw(); };
  const chooser = groups.length ? el("select", { onchange: (event) => set("group", groups[event.target.value]?.[1]) },
    groups.map(([name], number) => el("option", { value: number }, name))) : null;
  const tools = filters ? el("form", { class: "filters", role: "search", "aria-label": "Filter rows", onsubmit: (event) => event.preventDefault() },
    el("label", {}, "Find ", el("input", { type: "search", oninput: (event) => set("text", event.target.value.toLowerCase()) })),
    el("label", {}, "Label ", labels),
    el("label", {}, "Score from ", el("input", {
      type: "number", min: 0, max: 100, step: "any", placeholder: "0", oninput: (event) => set("least", Number(event.target.value) / 100),
    }), " %"),
    chooser ? el("label", {}, "Show ", chooser) : null,
    count) : null;
  const table = el("table", { role: "table", class: "rows" },
    el("caption", {}, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads.map(({ head }) => head))),
    body);
  // Again, where rows were added, or have changed.
  function refresh() {
    const known = [...new Set(rows.flatMap((row) => row.labels.map(({ label }) => label)))].sort(order.compare);
    labels.replaceChildren(el("option", { value: "" }, "any"), ...known.map((label) => el("option", { value: label }, plain(label))));
    labels.value = state.label;
    for (const row of rows) row.text = undefined;
    groups.forEach(([name, test], number) => {
      chooser.options[number].textContent = `${name} (${rows.filter(test).length.toLocaleString("en")})`;
    });
    draw();
  }
  refresh();
  return { refresh, element: el("section", { "aria-label": caption, class: filters ? "large" : "small" }, tools, chip, table, more), only };
}
