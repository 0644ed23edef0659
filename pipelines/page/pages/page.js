"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const scheme = () => PAGE.schemes[dark.matches ? "dark" : "light"];
const settings = {
  responsive: true,
  displaylogo: false,
  displayModeBar: "hover",
  modeBarButtons: [["toImage", "resetScale2d"]],
  toImageButtonOptions: { format: "svg" },
};

for (const [key, figure] of Object.entries(PAGE.figures)) {
  Plotly.newPlot(key, figure.data, { ...figure.layout, template: scheme() }, settings);
}
dark.addEventListener("change", () => {
  for (const key of Object.keys(PAGE.figures)) Plotly.relayout(key, { template: scheme() });
});

// Numbers come before texts, and what is missing comes last in both directions.
function compare(a, b, direction) {
  if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
  const [x, y] = [Number(a), Number(b)];
  if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
  return direction * (Number.isNaN(x) ? a.localeCompare(b) : x - y);
}

function sortBy(header) {
  const row = header.parentElement;
  const body = header.closest("table").tBodies[0];
  const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of row.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  const order = (line) => line.cells[header.cellIndex].dataset.order;
  body.append(...[...body.rows].sort((a, b) => compare(order(a), order(b), direction)));
}

for (const header of document.querySelectorAll(".ranking th")) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}

const copy = document.getElementById("copy");
if (copy) {
  copy.addEventListener("click", async () => {
    const recipe = document.getElementById("recipe-text");
    const said = document.getElementById("copied");
    try {
      await navigator.clipboard.writeText(recipe.textContent);
      said.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(recipe);
      said.textContent = "selected: copy it with Ctrl+C";
    }
  });
}
