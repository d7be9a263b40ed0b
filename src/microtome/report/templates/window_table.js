"use strict";
// A table as something to draw: which columns are axes, which are measured, and means over what is not told apart.
(() => {
  const FEW = 60;
  const AXES = ["layer", "step", "epoch", "rank", "k", "alpha", "dose", "scale", "position", "head", "band", "seed"];

  const distinct = values => [...new Set(values.filter(value => value !== null))].sort((a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));

  // Join the columns that end in _i into one axis, and those in _j into another: pairs, as in a cosine matrix.
  function paired(columns) {
    const side = end => columns.filter(column => column.name.endsWith(end) && column.kind !== "number");
    const joined = (name, its) => ({ name, kind: its.length === 1 ? its[0].kind : "text", paired: true,
      values: its[0].values.map((_, row) => its.length === 1 ? its[0].values[row] : its.map(column => column.values[row]).join(" ")) });
    const [i, j] = [side("_i"), side("_j")];
    if (!i.length || i.length !== j.length) return columns;
    return [joined(i.length === 1 ? i[0].name : "i", i), joined(j.length === 1 ? j[0].name : "j", j), ...columns.filter(column => !i.includes(column) && !j.includes(column))];
  }

  microtome.model = data => {
    const columns = paired(data.columns);
    for (const column of columns) column.distinct = distinct(column.values);
    const known = column => AXES.includes(column.name) || column.paired;
    const axis = column => column.distinct.length > 1 && (known(column)
      || (column.kind === "text" && column.distinct.length <= FEW) || (column.kind === "whole" && column.distinct.length <= FEW && data.shown >= 2 * column.distinct.length));
    const axes = columns.filter(axis), measures = columns.filter(column => column.kind !== "text" && !known(column));
    return { ...data, data: data.columns, columns, axes, measures, column: name => columns.find(column => column.name === name) };
  };

  // Return how a table is first drawn: a map where two axes are crossed, else lines along the first known axis.
  microtome.firstView = model => {
    const of = (...names) => names.map(name => model.axes.find(axis => axis.name === name)).find(Boolean);
    const pair = model.axes.filter(axis => axis.paired), layer = of("layer"), head = of("head");
    const first = of(...AXES) || model.axes.find(axis => axis.kind === "text") || model.axes[0];
    const measure = model.measures.find(it => it.kind === "number") || model.measures[0];
    if (!measure || !first) return { view: "table", measure: measure?.name, x: first?.name, by: "" };
    if (pair.length === 2) return { view: "map", measure: measure.name, x: pair[1].name, by: pair[0].name };
    if (layer && head) return { view: "map", measure: measure.name, x: "layer", by: "head" };
    const by = of("arm", "role", "kind", "task") || model.axes.find(axis => axis.kind === "text" && axis !== first);
    return { view: "lines", measure: measure.name, x: first.name, by: by && by !== first ? by.name : "" };
  };

  // Return the axes that a view does not draw and that tell rows apart which it would draw as one: each is picked, or
  // averaged over. An axis that follows from the others, as whether a layer is the anchor, is none of these.
  microtome.others = (model, state) => {
    let keys = Array(model.shown).fill(""), count = 1;
    return model.axes.toSorted((a, b) => drawn(state, b) - drawn(state, a)).filter(axis => {
      if (axis.name === state.measure) return false;
      const finer = keys.map((key, row) => `${key}\u0000${axis.values[row]}`), parts = new Set(finer).size;
      if (parts === count) return false;
      [keys, count] = [finer, parts];
      return !drawn(state, axis);
    });
  };
  const drawn = (state, axis) => axis.name === state.x || axis.name === state.by;

  // Text is told apart unless the reader asks for all: a mean over kinds of things says nothing.
  microtome.firstPick = axis => axis.kind === "text" ? String(axis.distinct[0]) : "";

  // Return one point for each place along x and each line (or row of a map): the mean of its rows, and which these are.
  microtome.points = (model, state) => {
    const [x, by, measure] = [model.column(state.x), state.by ? model.column(state.by) : null, model.column(state.measure)];
    const fixed = microtome.others(model, state).filter(axis => state.picks[axis.name]).map(axis => [axis.values, state.picks[axis.name]]);
    const found = new Map();
    for (let row = 0; row < model.shown; row++) {
      if (x.values[row] === null || (by && by.values[row] === null)) continue;
      if (fixed.some(([values, wanted]) => String(values[row]) !== wanted)) continue;
      const line = by ? by.values[row] : "", key = `${line}\u0000${x.values[row]}`;
      if (!found.has(key)) found.set(key, { x: x.values[row], line, sum: 0, n: 0, rows: [] });
      const point = found.get(key), value = measure.values[row];
      point.rows.push(row);
      if (value !== null) { point.sum += value; point.n += 1; }
    }
    return [...found.values()].map(point => ({ ...point, y: point.n ? point.sum / point.n : null }));
  };

  // Say a point in words.
  microtome.sentence = (state, point) => {
    const { shown } = microtome, line = state.by ? ` · ${state.by} ${shown(point.line)}` : "";
    const mean = point.n > 1 ? ` (mean of ${point.n})` : point.y === null ? " (undefined)" : "";
    return `${state.x} ${shown(point.x)}${line}: ${state.measure} ${point.y === null ? "–" : String(Number(point.y.toPrecision(5))).replace("-", "−")}${mean}`;
  };
})();
