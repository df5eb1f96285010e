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

function draw(box) {
  const source = document.getElementById(box.dataset.chart);
  if (!source || typeof echarts === "undefined") return;
  const data = JSON.parse(source.textContent);
  const chart = echarts.init(box, null, { renderer: "canvas" });
  chart.setOption(optionsOf(data));
  if (data.url) {
    chart.on("click", (event) => {
      const joint = data.url.includes("?") ? "&" : "?";
      window.location.assign(`${data.url}${joint}day=${data.days[event.dataIndex]}`);
    });
  }
  const table = box.parentElement.querySelector("[data-chart-table]");
  if (table) table.open = false;
  new ResizeObserver(() => chart.resize()).observe(box);
}

document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-chart]").forEach(draw));
