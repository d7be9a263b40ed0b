"use strict";
// Lines along an axis, and what both kinds of chart share: a cursor that the pointer and the arrow keys move.
(() => {
  const { h, svg, number, shown } = microtome;
  const DASHES = ["", "7 3", "2 3", "9 3 2 3", "5 5", "1 4", "12 4", "4 2 1 2"];
  const HEIGHT = 320, MARGIN = { left: 62, right: 14, top: 12, bottom: 46 };

  // Put a chart's marks under a cursor. MARKS: {at: [x, y], point, ...}; NEXT(mark, key) is where an arrow leads.
  microtome.cursor = (picture, marks, next, mark, say, pick) => {
    let here = null;
    function go(to) {
      if (!to) return;
      here = to;
      mark(to);
      say(to.point);
    }
    const nearest = event => {
      const box = picture.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
      return marks.reduce((best, it) => { const d = Math.hypot(it.at[0] - x, it.at[1] - y); return d < best[1] ? [it, d] : best; }, [null, Infinity])[0];
    };
    picture.addEventListener("pointermove", event => go(nearest(event)));
    picture.addEventListener("click", event => { go(nearest(event)); if (here) pick(here.point); });
    picture.addEventListener("focus", () => { if (!here) go(marks[0]); });
    picture.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); if (here) pick(here.point); }
      if (!event.key.startsWith("Arrow")) return;
      event.preventDefault();
      go(here ? next(here, event.key) || here : marks[0]);
    });
  };

  // Return about N round numbers from LOW to HIGH.
  function ticks(low, high, n = 5) {
    const rough = (high - low) / n, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(it => it * power).find(it => it >= rough);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
    return found;
  }
  const thinned = (values, room) => values.filter((_, i) => i % Math.ceil(values.length / Math.max(1, room)) === 0);

  microtome.extent = points => {
    const values = points.map(point => point.y).filter(y => y !== null);
    if (!values.length) return null;
    const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
    const room = 0.06 * (high - low) || Math.abs(low) * 0.1 || 1;
    return [low - room, high + room];
  };

  // Draw lines: one for each value of the axis BY, along the axis X; values of X that are words stand apart.
  microtome.lines = (place, model, state, points, range, label, say, pick) => {
    const width = Math.max(260, place.clientWidth - 26);
    const x = model.column(state.x), by = state.by ? model.column(state.by) : null, names = by ? by.distinct : [""];
    const numeric = x.kind !== "text", all = [...new Set(points.map(point => point.x))].sort((a, b) => x.distinct.indexOf(a) - x.distinct.indexOf(b));
    const span = [MARGIN.left, width - MARGIN.right], right = numeric ? all[all.length - 1] : all.length - 1, left = numeric ? all[0] : 0;
    const inset = numeric ? 8 : (span[1] - span[0]) / (2 * all.length); // words have room on both sides
    const across = value => { const v = numeric ? value : all.indexOf(value); return right === left ? (span[0] + span[1]) / 2 : span[0] + inset + (span[1] - span[0] - 2 * inset) * (v - left) / (right - left); };
    const up = y => HEIGHT - MARGIN.bottom - (HEIGHT - MARGIN.bottom - MARGIN.top) * (y - range[0]) / (range[1] - range[0]);
    const hidden = state.hidden, marks = [];
    const series = names.map((line, i) => {
      const its = points.filter(point => point.line === line && point.y !== null).sort((a, b) => all.indexOf(a.x) - all.indexOf(b.x));
      if (!its.length || hidden.has(String(line))) return null;
      for (const point of its) marks.push({ at: [across(point.x), up(point.y)], point, line: i, order: all.indexOf(point.x) });
      const kind = `series-${i % 8}`, path = its.map(point => `${across(point.x).toFixed(1)},${up(point.y).toFixed(1)}`).join(" ");
      return svg("g", { class: kind }, numeric ? svg("polyline", { class: "series", points: path, stroke: "currentColor", "stroke-dasharray": DASHES[i % 8] }) : null,
        its.length <= 80 ? its.map(point => svg("circle", { cx: across(point.x), cy: up(point.y), r: numeric ? 2.6 : 5, fill: "currentColor" })) : null);
    });
    const labels = thinned(all, numeric ? width / 48 : width / 90), cut = Math.max(4, Math.floor((width - 76) / labels.length / 6.5));
    const ring = svg("circle", { class: "here", r: 7, visibility: "hidden" });
    const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, tabindex: 0, role: "application", "aria-roledescription": "chart", "aria-label": `${label}. Arrow keys move from point to point, Enter shows its rows.` },
      ticks(...range).map(y => [svg("line", { class: "grid", x1: span[0], x2: span[1], y1: up(y), y2: up(y) }), svg("text", { x: span[0] - 6, y: up(y) + 4, "text-anchor": "end" }, number(y))]),
      labels.map(value => svg("text", { x: across(value), y: HEIGHT - MARGIN.bottom + 17, "text-anchor": "middle" }, shown(value).length > cut ? `${shown(value).slice(0, cut - 1)}…` : shown(value))),
      svg("text", { class: "label", x: (span[0] + span[1]) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, state.x), series, ring);
    place.append(picture);
    microtome.cursor(picture, marks, (here, key) => {
      const other = key === "ArrowUp" || key === "ArrowDown", forward = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
      const rest = marks.filter(it => other ? it.order === here.order && (it.line - here.line) * forward > 0 : it.line === here.line && (it.order - here.order) * forward > 0);
      return rest.sort((a, b) => forward * (other ? a.line - b.line : a.order - b.order))[0];
    }, ({ at }) => { ring.setAttribute("cx", at[0]); ring.setAttribute("cy", at[1]); ring.setAttribute("visibility", "visible"); }, say, pick);
  };

  // Return buttons that show and hide the lines.
  microtome.legend = (model, state, redraw) => {
    const by = state.by ? model.column(state.by) : null;
    if (!by) return null;
    return h("div", { class: "legend", role: "group", "aria-label": `Lines: ${by.name}` }, by.distinct.map((line, i) => h("button", {
      type: "button", "aria-pressed": String(!state.hidden.has(String(line))), "data-line": String(line),
      onclick: () => { if (!state.hidden.delete(String(line))) state.hidden.add(String(line)); redraw(`[data-line="${CSS.escape(String(line))}"]`); },
    }, svg("svg", { "aria-hidden": "true", class: `series-${i % 8}` }, svg("line", { x1: 0, x2: 30, y1: 6, y2: 6, stroke: "currentColor", "stroke-width": 2.5, "stroke-dasharray": DASHES[i % 8] })), shown(line))));
  };
})();
