"use strict";
// What all pages share: data that arrive as scripts, elements built without markup, words for values.
const microtome = (() => {
  const waiting = new Map(), known = new Map();

  // Called by the data's scripts.
  function receive(name, value) { known.set(name, value); }

  // Return a promise of the data called NAME: a script, because a page opened as a file may load nothing else.
  function load(name) {
    if (!waiting.has(name)) waiting.set(name, new Promise((done, fail) => {
      const source = h("script", { src: `data/${path(name)}.js` });
      source.onload = () => known.has(name) ? done(known.get(name)) : fail(new Error(`${name} is damaged`));
      source.onerror = () => fail(new Error(`${name} cannot be read: it is missing or damaged`));
      document.head.append(source);
    }));
    return waiting.get(name);
  }

  const path = name => name.split("/").map(encodeURIComponent).join("/");

  // Return an element; strings among its children become text, whatever they hold.
  function h(tag, attributes = {}, ...children) { return fill(document.createElement(tag), attributes, children); }
  function svg(tag, attributes = {}, ...children) {
    return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  }
  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
    return element;
  }

  const RAISED = { "-": "⁻", "+": "", ...Object.fromEntries([..."⁰¹²³⁴⁵⁶⁷⁸⁹"].map((sign, digit) => [digit, sign])) };

  // Write a number with three significant digits, the undefined as a dash, as the reports do.
  function number(x) {
    if (x === null || x === undefined) return "–";
    const size = Math.abs(x);
    const text = size >= 1000 ? x.toLocaleString("en", { maximumFractionDigits: 0 })
      : size && size < 1e-4 ? x.toExponential(2).replace(/e(.*)/, (_, power) => ` × 10${[...power].map(sign => RAISED[sign]).join("")}`) : String(Number(x.toPrecision(3)));
    return text.replaceAll("-", "−");
  }
  const shown = x => typeof x === "number" ? (Number.isInteger(x) ? String(x).replace("-", "−") : number(x)) : x === null ? "–" : String(x);

  const MARKS = { SUPPORTED: "✓", FALSIFIED: "✕", INCONCLUSIVE: "?", INSUFFICIENT: "…", INVALID: "!" };
  const badge = (outcome, count) => h("span", { class: `badge ${outcome}` }, `${MARKS[outcome]} ${count ? `${count} ` : ""}${outcome}`);

  const name = run => `${run.study}/${run.id}`;
  const address = (page, query) => `${page}.html?${new URLSearchParams(query)}`;
  const query = key => new URLSearchParams(location.search).get(key);
  const link = run => h("a", { href: address("run", { run: name(run) }) }, h("code", {}, run.id));
  const day = run => run.created.slice(0, 16).replace("T", " ");

  // Return a labelled select of [value, words] pairs.
  function select(label, options, value, change) {
    const box = h("select", { onchange: () => change(box.value) }, options.map(([key, words]) => h("option", { value: key, selected: key === value }, words)));
    return h("label", {}, label, box);
  }

  // Return a table whose rows are lists of cells; on a phone each row is a card with its headings inside.
  function cards(headings, rows, kind = "", columns = []) {
    return h("table", { class: `cards ${kind}` },
      columns.length ? h("colgroup", {}, columns.map(column => h("col", { class: column }))) : null,
      h("thead", {}, h("tr", {}, headings.map(text => h("th", { scope: "col" }, text)))),
      h("tbody", {}, rows.map(row => h("tr", {}, row.map((cell, i) => h("td", { "data-label": i ? headings[i] || null : null }, cell))))));
  }

  // The part before [subject], and the subject: of a claim that a run makes of several models.
  function parts(claim) {
    const found = /^(.*) \[(.*)\]$/.exec(claim);
    return found ? [found[1], found[2]] : [claim, null];
  }

  const pages = {};
  async function start() {
    const main = document.getElementById("main"), page = document.documentElement.dataset.page;
    for (const a of document.querySelectorAll("nav a")) if (a.getAttribute("href") === `${page}.html`) a.setAttribute("aria-current", "page");
    try { await pages[page](main); } catch (error) {
      main.replaceChildren(h("h1", {}, "Nothing to show"), h("p", { class: "note" }, error.message), h("p", {}, h("a", { href: "index.html" }, "All runs")));
    }
    main.removeAttribute("aria-busy");
  }
  document.addEventListener("DOMContentLoaded", start);

  function title(text) { document.title = `${text} · microtome`; return h("h1", {}, text); }

  return { receive, load, h, svg, number, shown, badge, name, address, query, link, day, select, cards, parts, pages, title, path, MARKS };
})();
