"use strict";
// Two runs side by side: what differs in what was asked, then each prediction, then the tables on one scale.
(() => {
  const { h, load, badge, link, query, day, cards, title } = microtome;

  microtome.pages.compare = async main => {
    if (!query("a") || !query("b")) throw new Error("Two runs are compared here: pick them in the list of runs.");
    const runs = await Promise.all([query("a"), query("b")].map(run => load(`${run}/run`)));
    const damaged = runs.find(run => run.problem);
    if (damaged) throw new Error(damaged.problem);
    const headings = runs.map(run => `Run ${run.id}`), [first, second] = runs;
    main.append(h("p", { class: "eyebrow" }, "study ", h("code", {}, first.study), " · two runs compared"), title(`${first.title}: two runs side by side`),
      h("p", {}, runs.map((run, i) => [i ? " and " : "", link(run), ` (${day(run)})`])),
      first.study === second.study ? "" : h("p", { class: "note" }, `The second run is of another study, ${second.study}.`),
      h("h2", { id: "differences" }, "What differs in what was asked"), differences(runs, headings),
      h("h2", { id: "verdicts" }, "Verdicts"), verdicts(runs, headings),
      h("h2", { id: "tables" }, "The tables, on one scale"));
    const place = h("div");
    main.append(place);
    await microtome.explore(place, runs);
  };

  function differences([first, second], headings) {
    const [one, other] = [new Map(first.identity), new Map(second.identity)];
    const rows = [...new Set([...one.keys(), ...other.keys()])].filter(key => one.get(key) !== other.get(key))
      .map(key => [h("code", {}, key), ...[one, other].map(side => h("div", { class: "long mono" }, side.get(key) ?? "–"))]);
    return rows.length ? cards(["Option", ...headings], rows, "compared") : h("p", {}, "Nothing: this is one run and itself.");
  }

  function verdicts(runs, headings) {
    const ids = [...new Set(runs.flatMap(run => run.verdicts.map(verdict => verdict.prediction)))];
    if (!ids.length) return h("p", { class: "quiet" }, "Neither run has verdicts yet.");
    return cards(["Prediction", ...headings], ids.map(id => {
      const sides = runs.map(run => [run.predictions.find(it => it.id === id), run.verdicts.find(it => it.prediction === id)]);
      const both = sides.map(([, verdict]) => verdict).filter(Boolean), prediction = sides.map(([it]) => it).find(Boolean);
      const reach = microtome.reach(prediction, both), differ = both.length < 2 || both[0].outcome !== both[1].outcome;
      return [[h("p", { class: "claim" }, prediction.claim), h("p", { class: "small quiet" }, h("code", {}, id)), differ ? h("p", {}, h("span", { class: "tag open" }, "verdicts differ")) : null],
        ...sides.map(([own, verdict], i) => verdict ? [h("p", {}, badge(verdict.outcome)), ...microtome.estimate(own, verdict, reach), h("p", { class: "small" }, verdict.reason), microtome.published(runs[i], id)]
          : h("p", { class: "quiet" }, "not predicted in this run"))];
    }), "compared", ["third", "third", "third"]);
  }
})();
