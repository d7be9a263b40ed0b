"use strict";
// The strip: an interval against the regions that support and falsify, as on the reports' pages.
(() => {
  const { svg, number } = microtome;

  const marks = verdict => [verdict.value, verdict.low, verdict.high, verdict.centre].filter(x => x !== null && x !== undefined);
  const bounds = prediction => prediction ? [...prediction.supported.spans, ...prediction.falsified.spans].flat().filter(x => x !== null) : [];

  // Return the ends of a scale that has room for the regions' edges and all verdicts.
  microtome.reach = (prediction, verdicts) => {
    const points = [...bounds(prediction), ...verdicts.flatMap(marks)];
    const low = points.length ? Math.min(...points) : 0, high = points.length ? Math.max(...points) : 1;
    const room = 0.18 * (high - low) || Math.max(1, Math.abs(low));
    return [low - room, high + room];
  };

  // Draw a verdict on a scale from LOW to HIGH; hovering says its numbers.
  microtome.strip = (prediction, verdict, [low, high]) => {
    const at = x => `${(100 * (x - low) / (high - low)).toFixed(2)}%`;
    const bar = kind => (prediction ? prediction[kind === "supports" ? "supported" : "falsified"].spans : []).map(([a, b]) => {
      const left = Math.max(a === null ? low : a, low), right = Math.min(b === null ? high : b, high);
      if (right <= left) return null;
      const share = 100 * (right - left) / (high - low), middle = (left + right) / 2;
      return [svg("rect", { class: kind, x: at(left), y: 14, width: `${share.toFixed(2)}%`, height: 30 }),
        share > 24 ? svg("text", { class: kind, x: at(middle), y: 10, "text-anchor": "middle" }, kind) : null];
    });
    let last = -Infinity;
    const ticks = [...new Set(bounds(prediction))].sort((a, b) => a - b).filter(x => {
      const place = 100 * (x - low) / (high - low), free = place - last > 11;
      if (free) last = place;
      return free;
    });
    const words = verdict.value === null ? "No value." : `Estimate ${number(verdict.value)}`
      + (verdict.low === null ? ", no interval." : `, interval from ${number(verdict.low)} to ${number(verdict.high)}.`);
    const regions = prediction ? ` Supported if ${prediction.supported.text}; falsified if ${prediction.falsified.text}.` : "";
    return svg("svg", { class: "strip", role: "img", "aria-label": words + regions }, svg("title", {}, words + regions),
      bar("supports"), bar("falsifies"), svg("line", { class: "axis", x1: "0%", x2: "100%", y1: 44, y2: 44 }),
      ticks.map(x => [svg("line", { class: "axis", x1: at(x), x2: at(x), y1: 44, y2: 48 }), svg("text", { x: at(x), y: 59, "text-anchor": "middle" }, number(x))]),
      verdict.centre === null || verdict.centre === undefined ? null : svg("line", { class: "null", x1: at(verdict.centre), x2: at(verdict.centre), y1: 14, y2: 44 }),
      verdict.low === null ? null : svg("line", { class: "interval", x1: at(verdict.low), x2: at(verdict.high), y1: 29, y2: 29 }),
      verdict.value === null ? null : svg("circle", { class: "estimate", cx: at(verdict.value), cy: 29, r: 5.5 }));
  };
})();
