"use strict";
// The heat map: a cell for each place of two axes, coloured by value; colours safe for colour-blind readers.
(() => {
  const { h, svg, number, shown } = microtome;
  // Stops of cividis (Nuñez et al. 2018) for values of one sign, and of ColorBrewer's RdBu, centred on zero, for both.
  const SEQUENTIAL = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
  const DIVERGING = ["#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7", "#fddbc7", "#f4a582", "#d6604d", "#b2182b"];

  const channels = colour => [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
  function mixed(stops, share) {
    const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1), i = Math.min(Math.floor(place), stops.length - 2);
    const [a, b] = [channels(stops[i]), channels(stops[i + 1])];
    return `rgb(${a.map((x, k) => Math.round(x + (b[k] - x) * (place - i))).join(",")})`;
  }

  // Return the scale for all maps that stand side by side.
  microtome.colours = points => {
    const values = points.map(point => point.y).filter(y => y !== null);
    const low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const signed = low < 0 && high > 0, most = Math.max(-low, high), ends = signed ? [-most, most] : [low, high];
    const stops = signed ? DIVERGING : SEQUENTIAL;
    return { ends, stops, of: y => mixed(stops, ends[1] === ends[0] ? 0.5 : (y - ends[0]) / (ends[1] - ends[0])) };
  };

  microtome.map = (place, model, state, points, colours, label, say, pick) => {
    const width = Math.max(260, place.clientWidth - 26);
    const [columns, lines] = [model.column(state.x).distinct, model.column(state.by).distinct];
    const longest = Math.max(...lines.map(line => shown(line).length));
    const left = Math.min(40 + 6 * longest, 130), top = 8, size = Math.min((width - left - 8) / columns.length, 54);
    const words = Math.min(14, Math.max(...columns.map(column => shown(column).length))), tilted = model.column(state.x).kind === "text" && words * 6.5 > size;
    const bottom = tilted ? 34 + 5.5 * words : 44;
    const down = Math.max(Math.min(size, 34, 460 / lines.length), 7), height = top + down * lines.length + bottom;
    const marks = points.map(point => {
      const [i, j] = [columns.indexOf(point.x), lines.indexOf(point.line)];
      return { i, j, at: [left + size * (i + 0.5), top + down * (j + 0.5)], point };
    });
    const ring = svg("rect", { class: "here", width: size, height: down, visibility: "hidden" });
    const every = Math.max(1, Math.ceil(12 / down)), across = Math.max(1, Math.ceil((tilted ? 15 : 30) / size)), cut = text => text.length > 14 ? `${text.slice(0, 13)}…` : text;
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, tabindex: 0, role: "application", "aria-roledescription": "heat map", "aria-label": `${label}. Arrow keys move from cell to cell, Enter shows its rows.` },
      marks.map(({ at, point }) => svg("rect", { x: (at[0] - size / 2).toFixed(2), y: (at[1] - down / 2).toFixed(2), width: size, height: down, fill: point.y === null ? "none" : colours.of(point.y), stroke: "var(--card)", "stroke-width": 0.6 })),
      lines.map((line, j) => j % every ? null : svg("text", { x: left - 6, y: top + down * (j + 0.5) + 4, "text-anchor": "end" }, cut(shown(line)))),
      columns.map((column, i) => {
        const [x, y] = [left + size * (i + 0.5), height - bottom + (tilted ? 12 : 16)];
        return i % across ? null : svg("text", tilted ? { x: x + 4, y, "text-anchor": "end", transform: `rotate(-55 ${x + 4} ${y})` } : { x, y, "text-anchor": "middle" }, cut(shown(column)));
      }),
      svg("text", { class: "label", x: left + size * columns.length / 2, y: height - 6, "text-anchor": "middle" }, state.x),
      svg("text", { class: "label", x: 12, y: top + down * lines.length / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${top + down * lines.length / 2})` }, state.by), ring);
    place.append(picture, h("div", { class: "scale" }, number(colours.ends[0]),
      h("span", { class: "ramp", style: `background:linear-gradient(90deg,${colours.stops.join(",")})` }), number(colours.ends[1])));
    const cell = (i, j) => marks.find(it => it.i === i && it.j === j);
    microtome.cursor(picture, marks, (here, key) => {
      const [di, dj] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
      return cell(here.i + di, here.j + dj);
    }, ({ at }) => { ring.setAttribute("x", at[0] - size / 2); ring.setAttribute("y", at[1] - down / 2); ring.setAttribute("visibility", "visible"); }, say, pick);
  };
})();
