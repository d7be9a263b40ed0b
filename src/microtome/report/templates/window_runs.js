"use strict";
// The first page: every run, filtered by study, model and verdict; two of one study can be picked for comparing.
(() => {
  const { h, load, badge, name, address, link, day, select, cards, title, MARKS } = microtome;
  const STEP = 100, FEW = 4;

  microtome.pages.index = async main => {
    const { store, runs } = await load("runs");
    const state = { ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) };
    const picked = new Map();
    let most = STEP;

    const words = values => [["", "all"], ...[...new Set(values)].sort().map(value => [value, value])];
    const filter = (key, label, options) => select(label, options, state[key] || "", value => {
      state[key] = value;
      most = STEP;
      history.replaceState(null, "", `#${new URLSearchParams(Object.entries(state).filter(([, it]) => it))}`);
      draw();
    });
    const fits = run => (!state.study || run.study === state.study)
      && (!state.model || run.models.includes(state.model))
      && (!state.verdict || (state.verdict === "none" ? !run.verdicts.length : run.verdicts.some(verdict => verdict[1] === state.verdict)));

    const count = h("p", { class: "count quiet", role: "status" }), list = h("div"), bar = h("div", { class: "bar" });
    const verdicts = [["", "all"], ...Object.keys(MARKS).map(it => [it, `${MARKS[it]} ${it}`]), ["none", "no verdict yet"]];
    main.append(title(`Runs in ${store}`), h("div", { class: "controls", role: "group", "aria-label": "Filters" },
      filter("study", "Study", words(runs.map(run => run.study))),
      filter("model", "Model", words(runs.flatMap(run => run.models))),
      filter("verdict", "With a verdict", verdicts)), count, list, bar);

    function pick(run, box) {
      if (box.checked) picked.set(name(run), run); else picked.delete(name(run));
      offer();
    }
    function row(run) {
      const counts = {};
      for (const [, outcome] of run.verdicts) counts[outcome] = (counts[outcome] || 0) + 1;
      const box = h("input", { type: "checkbox", "aria-label": `Compare run ${run.id}`, checked: picked.has(name(run)), onchange: () => pick(run, box) });
      return [run.problem ? null : box,
        [h("p", { class: "claim" }, run.study), h("p", { class: "small" }, link(run)), h("p", { class: "small quiet" }, day(run))],
        run.models.length ? run.models.map(model => h("p", { class: "small" }, model)) : h("span", { class: "quiet" }, "–"),
        run.verdicts.length ? Object.keys(MARKS).filter(it => counts[it]).map(it => badge(it, counts[it])) : h("span", { class: "tag none" }, run.status),
        run.problem ? h("p", { class: "small" }, run.problem) : options(run)];
    }
    // Return the options of a run, the models apart, which have a column of their own.
    function options(run) {
      const its = run.given.filter(([, value]) => !run.models.includes(value)).map(([option, value]) => h("p", { class: "small" }, h("code", {}, option), ` ${value.length > 120 ? `${value.slice(0, 119)}…` : value}`));
      if (!its.length) return h("span", { class: "quiet small" }, run.given.length ? "else all defaults" : "all defaults");
      return its.length <= FEW ? its : [its.slice(0, FEW), h("details", {}, h("summary", { class: "small" }, `${its.length - FEW} more`), its.slice(FEW))];
    }
    function draw() {
      const found = runs.filter(fits);
      count.textContent = `${found.length.toLocaleString("en")} of ${runs.length.toLocaleString("en")} runs, the newest first`;
      list.replaceChildren(cards(["Pick", "Run", "Models", "Verdicts", "Options given"], found.slice(0, most).map(row), "runs", ["pick", "run", "models", "verdicts", "options"]));
      if (found.length > most) list.append(h("p", {}, h("button", { type: "button", onclick: more }, `Show ${Math.min(STEP, found.length - most)} more`)));
      if (!found.length) list.replaceChildren(h("p", { class: "note" }, runs.length ? "No run fits these filters." : "No runs yet: `microtome run STUDY` makes one."));
    }
    function more() {
      const first = most;
      most += STEP;
      draw();
      list.querySelectorAll("tbody tr")[first].querySelector("a").focus();
    }
    function offer() {
      const [a, b] = picked.values(), ready = picked.size === 2 && a.study === b.study;
      const text = ready ? `${a.id} and ${b.id}` : picked.size === 2 ? "These two are of different studies." : picked.size > 2 ? `${picked.size} runs are picked; two can be compared.`
        : `To compare, pick two runs of one study${picked.size ? `: one more of ${a.study}` : ""}.`;
      bar.replaceChildren(h("p", { class: "small", role: "status" }, text),
        ready ? h("a", { class: "action", href: address("compare", { a: name(a), b: name(b) }) }, "Compare the two") : h("button", { type: "button", disabled: true }, "Compare"));
    }
    draw();
    offer();
  };
})();
