"use strict";
// Looking into tables: pick a table, what is measured, along which axis, which layer, which arm; one chart for each run.
(() => {
  const { h, load, shown, select, name } = microtome;
  const MOST = 200;

  // Put the explorer of one run, or of two with one scale, into PLACE.
  microtome.explore = (place, runs) => {
    const tables = runs[0].tables.filter(table => runs.every(run => run.tables.includes(table)));
    if (!tables.length) { place.append(h("p", { class: "quiet" }, "No tables yet.")); return; }
    const controls = h("div", { class: "controls", role: "group", "aria-label": "What is drawn" });
    const note = h("p", { class: "small quiet" }), charts = h("div", { class: "charts" }), legend = h("div"), rows = h("div", { role: "status" });
    place.append(controls, note, charts, legend, rows);
    let models = [], state = {};

    async function open(table) {
      rows.replaceChildren();
      charts.replaceChildren(h("p", { class: "quiet" }, "Reading …"));
      try { models = (await Promise.all(runs.map(run => load(`${name(run)}/tables/${table}`)))).map(microtome.model); } catch (error) {
        legend.replaceChildren(), note.replaceChildren();
        charts.replaceChildren(h("p", { class: "note" }, error.message));
        models = [];
        offer({ table });
        return;
      }
      const first = microtome.firstView(models[0]);
      state = { table, ...first, hidden: new Set(), picks: Object.fromEntries(models[0].axes.map(axis => [axis.name, microtome.firstPick(axis)])) };
      // Rows of several kinds of unit share few columns: what is picked first may hold nothing to draw.
      if (state.view !== "table" && !microtome.extent(microtome.points(models[0], state))) state.view = "table";
      offer(state);
      draw();
    }

    // Offer what can be picked; KEEP names the control that keeps the focus.
    function offer(now, keep) {
      const model = models[0], named = items => items.map(item => [item.name, item.name]);
      const set = (key, after = () => {}) => value => { state[key] = value; after(); rows.replaceChildren(); offer(state, key); draw(); };
      const parts = [["table", select("Table", tables.map(it => [it, it]), now.table, table => open(table).then(() => focus("table")))]];
      if (model) {
        const drawable = model.measures.length && model.axes.length;
        const kinds = [["lines", "lines"], ["map", "heat map"], ["table", "rows"]].filter(([kind]) => kind === "table" || (drawable && (kind === "lines" || model.axes.length > 1)));
        parts.push(["view", select("Show as", kinds, now.view, set("view", settle))]);
        if (now.view !== "table") {
          parts.push(["measure", select("Value", named(model.measures), now.measure, set("measure"))],
            ["x", select("Along", named(model.axes), now.x, set("x", settle))],
            ["by", select(now.view === "map" ? "Down" : "Lines", [...(now.view === "map" ? [] : [["", "none"]]), ...named(model.axes.filter(axis => axis.name !== now.x))], now.by, set("by", () => state.hidden.clear()))]);
          for (const axis of microtome.others(model, now)) {
            const options = [["", "all, averaged"], ...axis.distinct.map(value => [String(value), shown(value)])];
            parts.push([`pick-${axis.name}`, select(axis.name, options, now.picks[axis.name], value => { state.picks[axis.name] = value; rows.replaceChildren(); draw(); })]);
          }
        }
      }
      for (const [key, label] of parts) label.dataset.key = key;
      controls.replaceChildren(...parts.map(([, label]) => label));
      if (keep) focus(keep);
    }
    const focus = key => controls.querySelector(`[data-key="${key}"] select`)?.focus();

    // Two axes that are one, or a map with a single axis, cannot be drawn.
    function settle() {
      const model = models[0];
      if (state.view === "table") return;
      if (state.by === state.x) state.by = "";
      if (state.view === "map" && !state.by) state.by = model.axes.find(axis => axis.name !== state.x)?.name || "";
      state.hidden.clear();
    }

    const heading = () => `${state.measure} by ${state.x}${state.view === "map" ? ` and ${state.by}` : ""}`;
    function draw(keep) {
      const model = models[0];
      note.textContent = models.some(it => it.rows > it.shown) ? `The first ${model.shown.toLocaleString("en")} of ${model.rows.toLocaleString("en")} rows are drawn; the files hold all.` : "";
      charts.replaceChildren(), legend.replaceChildren();
      if (state.view === "table") { rows.replaceChildren(...models.map((it, i) => listed(it, [...Array(it.shown).keys()], runs[i]))); return; }
      const points = models.map(it => microtome.points(it, state)), all = points.flat();
      const seen = all.filter(point => !state.hidden.has(String(point.line)));
      if (!microtome.extent(seen)) { charts.append(h("p", { class: "quiet" }, "Nothing is defined here.")); }
      else {
        const boxes = runs.map(run => h("div", { class: "chart" }, h("h3", {}, runs.length > 1 ? [h("code", {}, run.id), " · "] : null, heading())));
        charts.append(...boxes); // all, before any is drawn: how many there are decides their width
        models.forEach((it, i) => chart(boxes[i], it, points[i], seen, runs[i]));
      }
      const buttons = state.view === "lines" ? microtome.legend(model, state, draw) : null;
      if (buttons) legend.append(buttons);
      if (keep) legend.querySelector(keep)?.focus();
    }

    function chart(box, model, points, seen, run) {
      const readout = h("p", { class: "readout", "aria-live": "polite" }, h("span", { class: "quiet" }, "Point, or use the arrow keys, to read values."));
      const label = `${state.measure} by ${state.x}${state.by ? ` and ${state.by}` : ""}, run ${run.id}`;
      const say = point => { readout.textContent = microtome.sentence(state, point); };
      const pick = point => rows.replaceChildren(listed(model, point.rows, run, microtome.sentence(state, point)));
      if (state.view === "map") microtome.map(box, model, state, points, microtome.colours(seen), label, say, pick);
      else microtome.lines(box, model, state, points, microtome.extent(seen), label, say, pick);
      box.append(readout);
    }

    // Return a table of some rows.
    function listed(model, which, run, heading) {
      const its = which.slice(0, MOST), count = which.length > MOST ? `The first ${MOST} of ${which.length.toLocaleString("en")} rows` : which.length === 1 ? "The row" : `The ${which.length} rows`;
      const number = column => column.kind === "text" ? null : "number";
      return h("div", {}, h("p", { class: "small" }, count, heading ? ` behind ${heading}` : "", runs.length > 1 ? [", run ", h("code", {}, run.id)] : null),
        h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Rows" }, h("table", {},
          h("thead", {}, h("tr", {}, model.data.map(column => h("th", { scope: "col", class: number(column) }, column.name)))),
          h("tbody", {}, its.map(row => h("tr", {}, model.data.map(column => h("td", { class: number(column) }, shown(column.values[row])))))))));
    }

    let width = innerWidth;
    addEventListener("resize", () => { if (innerWidth !== width && models.length) { width = innerWidth; draw(); } });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (models.length) draw(); });
    return open(preferred(tables));
  };

  // The table that a reader looks at first: by layer where there is one, else the first.
  const preferred = tables => ["layers", "heads", "damage", "curves"].find(it => tables.includes(it)) || tables[0];
})();
