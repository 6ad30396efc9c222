"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures");
  const rates = read("rates"); // one sentence per learning rate
  const narrow = window.matchMedia("(max-width: 640px)");
  const PRINT_WIDTH = 680; // px, the text width of an A4 page with the margins of report.css
  const names = []; // of the figures that were drawn
  const plot = (name) => document.getElementById("plot-" + name);
  // Plotly writes into the layout it is given, so each use gets its own copy.
  const layoutOf = (name) => structuredClone(figures[name][narrow.matches ? "narrow" : "wide"]);
  // No mode bar: it covers the panels' headings, and the page has buttons that a keyboard reaches.
  const config = { responsive: true, displaylogo: false, displayModeBar: false };

  /** Bring learning rate number `chosen` (from 1; 0 for all) forward in every figure that offers it. */
  const highlight = (chosen) => {
    for (const name of names.filter((n) => figures[n].selectable)) {
      const traces = [], opacity = [], width = [], visible = [];
      figures[name].data.forEach((trace, i) => {
        if (!trace.meta) return;
        const mine = trace.meta.lr === chosen - 1;
        traces.push(i);
        opacity.push(chosen === 0 || mine ? 1 : 0.13);
        width.push(trace.meta.kind === "band" ? 0 : mine ? 3.5 : 1.6);
        visible.push(trace.meta.kind === "line" || mine);
      });
      Plotly.restyle(plot(name), { opacity, "line.width": width, visible }, traces);
    }
    const sentence = chosen ? rates[chosen - 1] : "";
    document.querySelectorAll("[data-highlight]").forEach((control) => {
      if (control.dataset.highlight === "told") {
        control.textContent = sentence || control.dataset.all;
        return;
      }
      control.value = String(chosen);
      if (control.type === "range") control.setAttribute("aria-valuetext", sentence || "all");
    });
  };

  let pending = null; // a slider fires faster than figures redraw: keep only its last word per frame
  const highlightSoon = (chosen) => {
    if (pending === null) requestAnimationFrame(() => { highlight(pending); pending = null; });
    pending = chosen;
  };

  const save = (name, format) => {
    const width = Math.max(plot(name).clientWidth, 700);
    const height = plot(name).layout.height;
    return Plotly.downloadImage(plot(name), { format, width, height, scale: format === "png" ? 2 : 1, filename: "lrscope-" + name });
  };

  const showAll = (name) => {
    const layout = layoutOf(name), axes = {};
    for (const [key, value] of Object.entries(layout)) if (/^[xy]axis/.test(key)) axes[key] = value;
    Plotly.relayout(plot(name), axes);
  };

  const copy = async (button) => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } catch {
      window.getSelection().selectAllChildren(source); // no clipboard here: leave it marked for Ctrl+C
    }
  };

  // A figure that cannot be drawn says so and leaves the others alone.
  const draw = async (name) => {
    try {
      await Plotly.newPlot(plot(name), structuredClone(figures[name].data), layoutOf(name), config);
      names.push(name);
    } catch (error) {
      console.error(error);
      plot(name).textContent = "This figure could not be drawn by this browser.";
    }
  };
  Promise.all(Object.keys(figures).map(draw)).then(() => { document.documentElement.dataset.ready = "yes"; });
  document.querySelectorAll("input[data-highlight], select[data-highlight]").forEach((control) =>
    control.addEventListener("input", () => highlightSoon(Number(control.value))));
  document.querySelectorAll("[data-save]").forEach((button) =>
    button.addEventListener("click", () => save(button.dataset.figure, button.dataset.save)));
  document.querySelectorAll("[data-reset]").forEach((button) =>
    button.addEventListener("click", () => showAll(button.dataset.reset)));
  document.querySelectorAll("[data-copy]").forEach((button) => button.addEventListener("click", () => copy(button)));
  narrow.addEventListener("change", () => {
    for (const name of names) Plotly.react(plot(name), plot(name).data, layoutOf(name), config);
  });

  // A link to a section shows what it names, folded or not.
  const unfold = () => {
    const section = document.getElementById(location.hash.slice(1));
    if (section) section.querySelectorAll("details.rates").forEach((part) => { part.open = true; });
  };
  document.querySelectorAll("nav a").forEach((link) => link.addEventListener("click", () => setTimeout(unfold)));
  unfold();

  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((part) => { part.open = true; });
    for (const name of names) Plotly.relayout(plot(name), { autosize: false, width: PRINT_WIDTH });
  });
  window.addEventListener("afterprint", () => {
    closed.forEach((part) => { part.open = false; });
    for (const name of names) Plotly.relayout(plot(name), { autosize: true, width: null });
  });
})();
