"use strict";
// One prediction over runs and models: each verdict with its interval, all on one scale.
(() => {
  const { h, load, badge, number, name, link, query, day, select, cards, title, parts, MARKS } = microtome;
  const MOST = 200;

  microtome.pages.history = async main => {
    const { runs } = await load("runs"), studies = new Map();
    for (const run of runs) for (const [claim] of run.verdicts) {
      if (!studies.has(run.study)) studies.set(run.study, new Set());
      studies.get(run.study).add(parts(claim)[0]);
    }
    main.append(title("History of a prediction"), h("p", {}, "How one prediction came out in each run: the same question, asked of other models, sizes and seeds."));
    if (!studies.size) { main.append(h("p", { class: "note" }, "No run has verdicts yet.")); return; }
    const controls = h("div", { class: "controls", role: "group", "aria-label": "Prediction" }), place = h("div", { role: "region", "aria-label": "Verdicts" });
    main.append(controls, place);
    let study = studies.has(query("study")) ? query("study") : [...studies.keys()][0], claim = query("claim"), model = "";

    async function draw(keep) {
      const claims = [...studies.get(study)], options = values => values.map(value => [value, value]);
      if (!claims.includes(claim)) claim = claims[0];
      const asked = runs.filter(run => run.study === study).flatMap(run => run.verdicts.filter(([id]) => parts(id)[0] === claim).map(verdict => ({ run, verdict })));
      const subject = ({ run, verdict }) => parts(verdict[0])[1] ? [parts(verdict[0])[1]] : run.models;
      const models = [...new Set(asked.flatMap(subject))].sort();
      if (!models.includes(model)) model = "";
      const found = asked.filter(it => !model || subject(it).includes(model));
      const again = (key, set) => value => { set(value); draw(key); };
      const boxes = { study: select("Study", options([...studies.keys()].sort()), study, again("study", value => { study = value; })),
        claim: select("Prediction", options(claims), claim, again("claim", value => { claim = value; })),
        model: select("Model", [["", "all"], ...options(models)], model, again("model", value => { model = value; })) };
      controls.replaceChildren(...Object.values(boxes));
      if (keep) boxes[keep].querySelector("select").focus();
      const newest = found[0], details = await load(`${name(newest.run)}/run`);
      const prediction = details.predictions?.find(it => it.id === newest.verdict[0]);
      const verdicts = found.map(({ run, verdict: [id, outcome, value, low, high] }) => ({ run, id, outcome, value, low, high }));
      const reach = microtome.reach(prediction, verdicts), counts = Object.keys(MARKS).map(outcome => [outcome, verdicts.filter(it => it.outcome === outcome).length]).filter(([, n]) => n);
      place.replaceChildren(h("h2", {}, prediction ? prediction.claim.replace(`${parts(newest.verdict[0])[1]}: `, "") : claim),
        h("p", {}, counts.map(([outcome, n]) => badge(outcome, n))),
        h("p", { class: "small quiet" }, prediction ? `${prediction.estimand} Scale: ${prediction.scale}. Supported if ${prediction.supported.text}; falsified if ${prediction.falsified.text}, as the newest run has it.` : "",
          found.length > MOST ? ` The newest ${MOST} of ${found.length.toLocaleString("en")} verdicts.` : ""),
        cards(["Run", "Model", "Estimate and interval", "Verdict"], verdicts.slice(0, MOST).map(it => [
          [h("p", {}, link(it.run)), h("p", { class: "small quiet" }, day(it.run))],
          h("p", { class: "small" }, subject({ run: it.run, verdict: [it.id] }).join(", ") || "–"),
          [microtome.strip(prediction, it, reach), h("p", { class: "small quiet" }, it.value === null ? "no value" : `${number(it.value)}${it.low === null ? "" : ` [${number(it.low)}, ${number(it.high)}]`}`)],
          badge(it.outcome)]), "history-table", ["run", "model", "strip", "verdict"]));
    }
    await draw();
  };
})();
