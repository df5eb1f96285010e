/* 金桥: draws the charts of a page from the JSON beside them, in the colours of the stylesheet.
   The table under a chart holds the same figures: it is folded away only where the chart could be drawn. */
"use strict";

function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function brief(value) {
  if (document.documentElement.lang === "en") {
    return value >= 1e6 ? `${+(value / 1e6).toFixed(1)}M` : value >= 1e3 ? `${+(value / 1e3).toFixed(1)}k` : String(value);
  }
  return value >= 1e8 ? `${+(value / 1e8).toFixed(1)}亿` : value >= 1e4 ? `${+(value / 1e4).toFixed(1)}万` : String(value);
}

function line(series, at, isBar) {
  return {
    name: series.name,
    type: isBar ? "bar" : "line",
    data: series.values,
    barMaxWidth: 14,
    symbol: at === 0 ? "circle" : "diamond",
    symbolSize: 5,
    showSymbol: false,
    lineStyle: { width: 2.2, type: at === 0 ? "solid" : [6, 3] },
  };
}

/* Days on which something failed are marked above the axis, with how often; days without are left blank. */
function marks(series) {
  return {
    name: series.name,
    type: "scatter",
    yAxisIndex: 1,
    symbol: "diamond",
    symbolSize: 11,
    data: series.values.map((value) => (value ? value : null)),
    label: { show: true, position: "top", formatter: "{c}", color: token("--ink"), fontSize: 12 },
  };
}

function optionsOf(data) {
  const colours = [token("--chart-1"), token("--chart-4")];
  const isBar = data.kind === "bar";
  const axis = { axisLabel: { color: token("--ink-3"), fontSize: 12 }, axisTick: { show: false } };
  return {
    animation: false,
    color: colours,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
    aria: { enabled: true },
    grid: { left: 8, right: 12, top: 36, bottom: 8, containLabel: true },
    legend: { top: 0, left: 0, itemWidth: 14, itemHeight: 8, textStyle: { color: token("--ink-2"), fontSize: 12 } },
    tooltip: { trigger: "axis", renderMode: "richText", backgroundColor: token("--ink"), borderWidth: 0, textStyle: { color: token("--paper"), fontSize: 12 } },
    xAxis: { type: "category", data: data.labels, axisLine: { lineStyle: { color: token("--chart-axis") } }, ...axis },
    yAxis: [
      { type: "value", minInterval: 1, splitLine: { lineStyle: { color: token("--chart-grid") } }, ...axis, axisLabel: { ...axis.axisLabel, formatter: brief } },
      { type: "value", show: false, min: 0, max: (range) => Math.max(8, range.max * 4), splitLine: { show: false } },
    ],
    series: data.series.map((series, at) => (isBar && at === 1 ? marks(series) : line(series, at, isBar))),
  };
}

/* Days as stacked bars, each series in the colour that it names; a click leads to the rows of the day. */
function stackOf(data) {
  const options = optionsOf({ ...data, kind: "line" });
  return {
    ...options,
    legend: { ...options.legend, show: data.series.length > 1 },
    grid: { ...options.grid, top: data.series.length > 1 ? 36 : 12 },
    color: data.series.map((series) => token(series.colour || "--chart-1")),
    yAxis: options.yAxis[0],
    series: data.series.map((series) => ({ name: series.name, type: "bar", stack: "all", data: series.values, barMaxWidth: 14 })),
  };
}

/* Who supplies whom: providers at the left, consumers at the right, a line for each pair; wider where more rows moved. */
function mapOf(data, box) {
  const [width, height] = [0.52 * box.clientWidth, box.clientHeight - 24]; // the frame in its own pixels: dots stay round
  const side = (keys, x) => keys.map((key, at) => ({
    name: `${x}:${key}`,
    x: x * width,
    y: ((at + 0.5) * height) / keys.length,
    symbolSize: 9,
    itemStyle: { color: token("--ink-2") },
    label: { show: true, position: x ? "right" : "left", formatter: data.nodes[key], color: token("--ink"), fontSize: 12 },
  }));
  const ends = (name) => [...new Set(data.edges.map((edge) => edge[name]))];
  /* these two keep the frame where a single pair lies flat */
  const corners = [0, 1].map((at) => ({ name: `corner:${at}`, x: at * width, y: at * height, symbolSize: 0, silent: true }));
  const most = Math.max(1, ...data.edges.map((edge) => Math.log10(edge.rows + 1)));
  const tones = { bad: "--bad", warn: "--chart-2", run: "--chart-3", good: "--chart-1", idle: "--chart-8" };
  return {
    animation: false,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
    aria: { enabled: true },
    tooltip: { renderMode: "richText", confine: true, backgroundColor: token("--ink"), borderWidth: 0, textStyle: { color: token("--paper"), fontSize: 12 }, formatter: (event) => event.data.told || "" },
    series: [{
      type: "graph", layout: "none", left: "24%", right: "24%", top: 12, bottom: 12, edgeSymbol: ["none", "arrow"], edgeSymbolSize: 8,
      data: [...corners, ...side(ends("from"), 0), ...side(ends("to"), 1)],
      links: data.edges.map((edge) => ({
        source: `0:${edge.from}`,
        target: `1:${edge.to}`,
        told: edge.label,
        url: edge.url,
        lineStyle: { width: 1 + (4 * Math.log10(edge.rows + 1)) / most, color: token(tones[edge.tone] || "--chart-8"), opacity: 0.9, type: edge.tone === "bad" ? "dashed" : "solid" },
      })),
    }],
  };
}

function choose(data, box) {
  if (data.kind === "map") return mapOf(data, box);
  return data.kind === "stack" ? stackOf(data) : optionsOf(data);
}

function draw(box) {
  const source = document.getElementById(box.dataset.chart);
  if (!source || typeof echarts === "undefined") return;
  const data = JSON.parse(source.textContent);
  const chart = echarts.init(box, null, { renderer: "canvas" });
  chart.resize(); // the empty box had no size when the chart was made
  chart.setOption(choose(data, box));
  if (data.url) {
    chart.on("click", (event) => {
      const joint = data.url.includes("?") ? "&" : "?";
      window.location.assign(`${data.url}${joint}day=${data.days[event.dataIndex]}`);
    });
  }
  chart.on("click", (event) => {
    const url = (event.data && event.data.url) || (data.urls && data.urls[event.dataIndex]);
    if (url) window.location.assign(url);
  });
  const table = box.parentElement.querySelector("[data-chart-table]");
  if (table) table.open = false;
  new ResizeObserver(() => {
    chart.resize();
    if (data.kind === "map") chart.setOption(mapOf(data, box));
  }).observe(box);
}

document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-chart]").forEach(draw));
