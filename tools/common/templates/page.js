// Shows the test images behind a cell, a row or a column of a confusion matrix, or of two architectures side by side.
// The page's address says which: #cnn/5/3, #cnn/5/, #cnn//3, #cnn//, #cnn/vs/mlp_256. Classes are numbers there.
"use strict";
{
  const SCREENFUL = 24; // images at once
  const { names, seeds, rows, places, size, columns } = JSON.parse(
    document.querySelector("script[type='application/json']").textContent,
  );
  const architectures = new Map(Object.entries(rows));
  const views = [...document.querySelectorAll(".view")];
  const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

  // Texts among the children become text, never markup.
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function picture([index, label, prediction]) {
    const place = places[index];
    const what = `test image ${index}, label ${names[label]}, read as ${names[prediction]}`;
    const tile = make("span", { class: "tile", role: "img", "aria-label": what });
    if (place === undefined) tile.classList.add("none");
    else {
      const [row, column] = [Math.floor(place / columns), place % columns];
      tile.style.backgroundPosition = `${-column * size[0]}px ${-row * size[1]}px`;
    }
    return tile;
  }

  // A note where sides are compared (seeds is 0), else the number of seeds that give this prediction.
  function note([, , , , given, wrong]) {
    if (!seeds) return given;
    return seeds > 1 ? `${given} of ${seeds} seeds${wrong > given ? `, wrong in ${wrong}` : ""}` : "";
  }

  function figure(row) {
    const [index, label, prediction, probability] = row;
    const which = `#${index}\u00a0·\u00a0${(100 * probability).toFixed(1)}%`;
    const small = make("span", { class: "soft" }, which, make("br", {}), note(row));
    const what = make("div", { class: "cut" }, `${names[label]} read as ${names[prediction]}`);
    return make("figure", { tabindex: -1 }, picture(row), make("figcaption", {}, what, small));
  }

  // The images of the rows, a screenful at a time, and which of them have no picture.
  function images(chosen) {
    const grid = make("div", { class: "digits" });
    const more = make("button", { type: "button" });
    const missing = [...new Set(chosen.map(([index]) => index))].filter((index) => places[index] === undefined);
    function add() {
      const shown = grid.children.length;
      grid.append(...chosen.slice(shown, shown + SCREENFUL).map(figure));
      const left = chosen.length - grid.children.length;
      more.hidden = left === 0;
      more.textContent = left > SCREENFUL ? `show ${SCREENFUL} of ${left} more` : `show ${left} more`;
      return grid.children[shown];
    }
    add();
    more.addEventListener("click", () => add().focus());
    const why = "report.kept_errors in params.yaml says how many of an architecture's worst errors are kept";
    const lacking = `Without a picture: ${plural(missing.length, "image")} (${missing.join(", ")}). ${why}.`;
    return missing.length ? [grid, more, make("p", { class: "soft" }, lacking)] : [grid, more];
  }

  function count(chosen) {
    const different = new Set(chosen.map(([index]) => index)).size;
    if (!seeds) return `${plural(different, "image")} read otherwise than in base`;
    const times = chosen.reduce((sum, [, , , , given]) => sum + given, 0);
    return plural(different, "image") + (seeds > 1 ? `, ${plural(times, "time")} in ${seeds} seeds` : "");
  }

  function showCell(view, name, label, prediction) {
    const chosen = architectures.get(name).filter(
      (row) => (label === "" || row[1] === Number(label)) && (prediction === "" || row[2] === Number(prediction)),
    );
    const read = prediction === "" ? "" : `read as ${names[prediction]}`;
    const what = [label === "" ? "" : `label ${names[label]}`, read].filter(Boolean).join(" ") || "all errors";
    view.firstElementChild.textContent = `${name}, ${what}: ${count(chosen)}. The most confident first.`;
    view.append(...images(chosen), make("a", { href: `#${name}` }, "close"));
  }

  // The rows of images that `better` gets right and `worse` wrong: the share of right seeds differs by more than half.
  function newlyRight(better, worse) {
    const wrong = new Map(architectures.get(better).map((row) => [row[0], row[5]]));
    const given = new Map();
    for (const row of architectures.get(worse)) {
      const [index, , , , count, seedsWrong] = row;
      const gained = seedsWrong - (wrong.get(index) || 0);
      if (2 * gained > seeds && count > (given.get(index)?.[4] || 0)) given.set(index, row);
    }
    return [...given.values()].sort((one, other) => other[3] - one[3] || one[0] - other[0]);
  }

  function showPair(view, first, second) {
    const halves = [[first, second], [second, first]].map(([better, worse]) => {
      const chosen = newlyRight(better, worse);
      const title = `${better} right, ${worse} wrong: ${plural(chosen.length, "image")}`;
      return make("div", {}, make("h3", {}, title), ...images(chosen));
    });
    view.firstElementChild.textContent = `${first} and ${second}: images that only one of them gets right.`;
    view.append(make("div", { class: "pair" }, ...halves));
  }

  const isClass = (text) => text === "" || (/^\d+$/.test(text) && Number(text) < names.length);

  function show() {
    const [name, first, second, ...rest] = location.hash.slice(1).split("/");
    for (const view of views) {
      view.replaceChildren(view.firstElementChild);
      view.firstElementChild.textContent = "";
    }
    for (const link of document.querySelectorAll(".matrix a")) {
      if (link.hash === location.hash) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    const isPair = first === "vs" && architectures.has(second);
    const view = views.find((each) => each.dataset.of === (isPair ? "" : name));
    if (!view || !architectures.has(name) || second === undefined || rest.length) return;
    if (isPair) {
      [name, second].forEach((chosen, index) => (selects[index].value = chosen));
      showPair(view, name, second);
    } else if (isClass(first) && isClass(second)) showCell(view, name, first, second);
    else return;
    view.scrollIntoView({ block: "nearest" });
  }

  const selects = [...document.querySelectorAll("select")];
  document.querySelector("form")?.addEventListener("submit", (event) => {
    event.preventDefault();
    location.hash = selects.map(({ value }) => value).join("/vs/");
  });
  for (const hidden of document.querySelectorAll(".script")) hidden.hidden = false;
  addEventListener("hashchange", show);
  addEventListener("load", show);
}
