// Unpacks plotly.js, draws every figure, and draws again when the theme changes or the page is printed.
"use strict";
(() => {
  const root = document.documentElement;
  const partners = Object.entries(JSON.parse(document.getElementById("dark-colours").textContent));
  const specs = [...document.querySelectorAll("script[data-plot]")];
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const PAGE_WIDTH = 700; // CSS pixels of an A4 page between its margins
  let ready = false;

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);

  const complain = (element, text) => {
    const message = document.createElement("p");
    message.className = "plot-error";
    message.setAttribute("role", "alert");
    message.textContent = text + " The tables hold the same numbers.";
    element.style.height = "auto";
    element.replaceChildren(message);
  };

  const draw = (dark, width) => {
    if (!ready) return;
    for (const script of specs) {
      const element = document.getElementById(script.dataset.plot);
      let text = script.textContent;
      if (dark) for (const [light, partner] of partners) text = text.replaceAll(light, partner);
      const { data, layout } = JSON.parse(text);
      if (width) Object.assign(layout, { width, autosize: false });
      const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
      window.Plotly.react(element, data, layout, config).catch((error) => complain(element, "This figure could not be drawn: " + error + "."));
    }
  };

  const label = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  const change = () => { label(); draw(isDark()); };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; change(); });
  prefersDark.addEventListener("change", change);
  addEventListener("beforeprint", () => draw(false, PAGE_WIDTH));
  addEventListener("afterprint", () => draw(isDark()));
  label();

  // Tables: CSV is downloaded, LaTeX and Markdown are copied.
  const download = (name, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const copy = async (text) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea"); // where the page is no secure context
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("the browser does not allow it");
  };

  for (const line of document.querySelectorAll(".exports")) {
    const texts = JSON.parse(document.querySelector(`script[data-exports="${line.dataset.table}"]`).textContent);
    const status = line.querySelector("[role=status]");
    line.hidden = false;
    line.addEventListener("click", async ({ target }) => {
      const format = target.dataset.format;
      if (!format) return;
      try {
        if (format === "csv") download(line.dataset.table + ".csv", texts.csv);
        else await copy(texts[format]);
        status.textContent = format === "csv" ? "downloaded" : "copied";
      } catch (error) {
        status.textContent = "not copied: " + error.message;
      }
    });
  }

  const load = async () => {
    if (typeof DecompressionStream === "undefined") {
      throw new Error("this browser cannot unpack the drawing library (it lacks DecompressionStream)");
    }
    const packed = atob(document.getElementById("plotly-gzip").textContent.trim());
    const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    ready = true;
    draw(isDark());
  };
  load().catch((error) => {
    for (const script of specs) complain(document.getElementById(script.dataset.plot), "No figure: " + error.message + ".");
  });
})();
