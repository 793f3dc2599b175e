// Draws the charts of the node's state, by uPlot. What keeps the page up to date tells of new values.

const HEIGHT = 130;
// Seconds between two times on an axis.
const MINUTES = [60, 120, 300, 600];

const board = document.getElementById("board");
const charts = new Map();

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function options(width) {
  const lang = document.documentElement.lang;
  const clock = { hour: "2-digit", minute: "2-digit" };
  const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, __, max) => [0, Math.max(max * 1.1, 1)] } },
    axes: [
      { ...axis, values: (_, splits) => splits.map((at) => new Date(at * 1000).toLocaleTimeString(lang, clock)), space: 70, size: 26, incrs: MINUTES },
      { ...axis, size: 44, space: 24, values: (_, splits) => splits.map((value) => value.toLocaleString(lang)) },
    ],
    series: [{}, { stroke: colour("--link"), fill: colour("--fill"), width: 2, points: { show: false } }],
  };
}

function draw(figure) {
  const data = [JSON.parse(figure.dataset.at), JSON.parse(figure.dataset.values)];
  const place = figure.querySelector(".plot");
  const known = charts.get(figure.id);
  if (known) known.setData(data);
  else if (data[0].length > 1) charts.set(figure.id, new uPlot(options(place.clientWidth), data, place));
}

function redraw() {
  for (const chart of charts.values()) chart.destroy();
  charts.clear();
  for (const figure of board.querySelectorAll("figure")) draw(figure);
}

board.addEventListener("fresh", ({ detail: page }) => {
  for (const figure of board.querySelectorAll("figure")) {
    const fresh = page.getElementById(figure.id);
    Object.assign(figure.dataset, fresh.dataset);
    figure.querySelector("figcaption").replaceWith(document.adoptNode(fresh.querySelector("figcaption")));
    draw(figure);
  }
});

redraw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let resized = 0;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(redraw, 200);
});
