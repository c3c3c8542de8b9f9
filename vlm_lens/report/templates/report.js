"use strict";
(function () {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures"), templates = read("templates");
  const root = document.documentElement;
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = {
    displaylogo: false, displayModeBar: "hover", responsive: true,
    modeBarButtons: [["toImage"]],
  };
  const room = () => root.dataset.room || (prefersDark.matches ? "dark" : "light");

  async function draw(id) {
    const place = document.getElementById(id), stored = figures[id];
    await Plotly.newPlot(place, {
      data: stored.data,
      layout: { ...stored.layout, template: templates[room()] },
      frames: stored.frames || [],
      config: config,
    });
    place.dataset.drawn = "true";
  }

  async function drawAll() {
    for (const id of Object.keys(figures)) {
      await draw(id);
      await new Promise((resume) => setTimeout(resume));  // lets the page answer between two figures
    }
    root.dataset.ready = "true";
  }

  function repaint() {
    for (const place of document.querySelectorAll(".plot[data-drawn]")) {
      Plotly.relayout(place, { template: templates[room()] });
    }
  }

  prefersDark.addEventListener("change", repaint);
  document.getElementById("room").addEventListener("click", () => {
    root.dataset.room = room() === "dark" ? "light" : "dark";
    repaint();
  });
  drawAll();
})();
