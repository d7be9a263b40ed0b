"use strict";
// The page of a run: verdicts, controls, its tables to look into, what was asked, where it comes from, its files.
(() => {
  const { h, load, badge, number, name, address, query, day, cards, title, path } = microtome;

  microtome.pages.run = async main => {
    const run = await load(`${query("run")}/run`);
    if (run.problem) { main.append(title(`Run ${run.id}`), h("p", { class: "note" }, run.problem)); return; }
    const report = run.files.includes("report.html");
    main.append(h("p", { class: "eyebrow" }, "study ", h("code", {}, run.study), " · run ", h("code", {}, run.id), ` · ${day(run)}`), title(run.title),
      run.question ? h("p", { class: "question" }, run.question) : "",
      h("p", {}, run.models.length ? `${run.models.length > 1 ? "Models" : "Model"}: ${run.models.join(", ")}. ` : "", `Predictions registered ${run.registered}.`));
    if (report) main.append(h("p", {}, h("a", { href: file(run, "report.html") }, "The report"), ", with figures, methods and how to cite."));
    if (run.status !== "finished") main.append(h("p", { class: "note" }, h("strong", {}, `This run is ${run.status}.`), " The command that began it goes on from where it is."));
    if (run.failed.length) main.append(h("div", { class: "note" }, h("p", {}, h("strong", {}, "Units failed:")), h("ul", { class: "small" }, run.failed.map(([unit, error]) => h("li", {}, h("code", {}, unit), `: ${error}`)))));
    if (run.verdicts.length) main.append(head("verdicts", "Verdicts"), verdicts(run));
    if (run.controls.length) main.append(head("controls", "Controls"), controls(run));
    const place = h("div");
    main.append(head("tables", "Look into the tables"), place);
    await microtome.explore(place, [run]);
    main.append(head("config", "Config"), settings(run), h("pre", {}, run.command),
      head("files", "Files"), files(run),
      head("provenance", "Provenance"), h("details", {}, h("summary", {}, "Code, machine, versions, times"),
        h("dl", { class: "facts" }, run.provenance.map(([key, value]) => [h("dt", {}, key), h("dd", {}, value)]))));
    if (run.events.length) main.append(h("details", {}, h("summary", {}, "What happened during the run"), h("ul", { class: "small" }, run.events.map(event => h("li", {}, event)))));
  };

  const head = (id, text) => h("h2", { id }, text);
  const file = (run, kept) => `files/${path(name(run))}/${path(kept)}`;

  microtome.published = (run, claim) => {
    const found = run.published.filter(rule => rule.prediction === claim);
    return found.length ? found.map(rule => h("div", { class: "published" }, h("p", { title: rule.text }, `“${rule.outcome}”`), h("p", {}, h("span", { class: `tag ${rule.kind}` }, rule.relation))))
      : h("p", { class: "quiet small" }, "no published rule asks this");
  };
  // Return an estimate in words and its strip on a scale.
  microtome.estimate = (prediction, verdict, reach) => [
    verdict.value === null ? h("p", {}, `No value: ${verdict.missing}`) : h("p", {}, h("span", { class: "value" }, number(verdict.value)), ` ${prediction.scale}`,
      verdict.low === null ? null : [h("br"), h("span", { class: "small" }, `${verdict.level} interval [${number(verdict.low)}, ${number(verdict.high)}]`)]),
    microtome.strip(prediction, verdict, reach),
    h("p", { class: "small quiet" }, `${verdict.n} ${verdict.unit}${verdict.p === null ? "" : `; p = ${number(verdict.p)} (${verdict.null})`}. Supported if ${prediction.supported.text}; falsified if ${prediction.falsified.text}.`)];

  function verdicts(run) {
    const predictions = new Map(run.predictions.map(prediction => [prediction.id, prediction]));
    return cards(["Prediction", "Estimate", "Controlled verdict", "As published"], run.verdicts.map(verdict => {
      const prediction = predictions.get(verdict.prediction);
      return [[h("p", { class: "claim" }, prediction.claim), h("p", { class: "small" }, h("code", {}, prediction.id), " · ",
        h("a", { href: address("history", { study: run.study, claim: microtome.parts(prediction.id)[0] }) }, "history"))],
      microtome.estimate(prediction, verdict, microtome.reach(prediction, [verdict])),
      [badge(verdict.outcome), h("p", { class: "small" }, verdict.reason)], microtome.published(run, prediction.id)];
    }), "window-verdicts", ["claim", "evidence", "verdict", "published"]);
  }

  const controls = run => cards(["Control", "Result", "What was found"], run.controls.map(control => [h("p", { class: "claim" }, control.name),
    h("span", { class: `badge ${control.passed ? "passed" : "failed"}` }, control.passed ? "✓ passed" : "✕ failed"), control.detail]));

  function settings(run) {
    const row = ([key, value]) => [h("code", {}, key), h("div", { class: "long mono" }, value)];
    const given = run.settings.filter(([key]) => run.given.includes(key)), rest = run.settings.filter(([key]) => !run.given.includes(key));
    return h("div", {}, given.length ? cards(["Given", "Value"], given.map(row), "settings", ["option", "value"]) : h("p", {}, "All defaults."),
      h("details", {}, h("summary", {}, `${rest.length} defaults`), cards(["Default", "Value"], rest.map(row), "settings", ["option", "value"])));
  }

  function files(run) {
    const line = kept => h("li", {}, h("a", { href: file(run, kept), download: kept.endsWith(".html") ? null : kept.split("/").pop() }, kept),
      kept.endsWith(".parquet") ? [" · ", h("a", { href: file(run, kept.replace(/parquet$/, "csv")), download: true, "aria-label": `${kept} as CSV` }, "csv")] : null);
    return h("ul", { class: "files" }, run.files.map(line));
  }
})();
