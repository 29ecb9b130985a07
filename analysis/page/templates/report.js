// Unpacks plotly.js and draws all figures; redraws them when the theme changes or the page is printed.
"use strict";
(() => {
  const root = document.documentElement;
  const darkColours = Object.entries(JSON.parse(document.getElementById("dark-colours").textContent));
  const plots = [...document.querySelectorAll(".plot")];
  let figures; // JSON texts by element id
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const PRINT_WIDTH = 700; // CSS pixels between the margins of an A4 page
  let ready = false;

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);

  const showError = (element, text) => {
    const message = document.createElement("p");
    message.className = "plot-error";
    message.setAttribute("role", "alert");
    message.textContent = text + " The tables contain the same numbers.";
    element.style.height = "auto";
    element.replaceChildren(message);
  };

  const draw = (dark, width) => {
    if (!ready) return;
    for (const element of plots) {
      let text = figures[element.id];
      if (dark) for (const [light, counterpart] of darkColours) text = text.replaceAll(light, counterpart);
      const { data, layout } = JSON.parse(text);
      if (width) Object.assign(layout, { width, autosize: false });
      const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
      window.Plotly.react(element, data, layout, config).catch((error) => showError(element, "This figure could not be drawn: " + error + "."));
    }
  };

  const labelButton = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  const change = () => { labelButton(); draw(isDark()); };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; change(); });
  prefersDark.addEventListener("change", change);
  addEventListener("beforeprint", () => draw(false, PRINT_WIDTH));
  addEventListener("afterprint", () => draw(isDark()));
  labelButton();

  // The inverse of asc_sweeps/config/packing.py: base 85 (five characters encode four bytes), then gzip.
  const CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%/()*+-;,=.?@^_`{|}~";
  const unpack = async (id) => {
    if (typeof DecompressionStream === "undefined") {
      throw new Error("this browser does not support DecompressionStream, which is needed to read the data in this file");
    }
    const characters = document.getElementById(id).textContent.trim();
    const values = new Uint8Array(128);
    [...CHARACTERS].forEach((character, value) => { values[character.charCodeAt(0)] = value; });
    const groups = Math.ceil(characters.length / 5);
    const bytes = new DataView(new ArrayBuffer(4 * groups));
    for (let group = 0; group < groups; group += 1) {
      let number = 0;
      for (let i = 5 * group; i < 5 * group + 5; i += 1) number = number * 85 + (i < characters.length ? values[characters.charCodeAt(i)] : 84);
      bytes.setUint32(4 * group, number);
    }
    const length = Math.floor((characters.length * 4) / 5);
    const stream = new Blob([new Uint8Array(bytes.buffer, 0, length)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  // Exports: CSV and files are downloaded, LaTeX and Markdown are copied to the clipboard.
  const download = (name, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const copy = async (text) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea"); // without a secure context there is no navigator.clipboard
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("the browser denied access to the clipboard");
  };

  let texts;
  const textsOf = async (id) => {
    texts ??= unpack("texts").then(JSON.parse);
    return (await texts)[id];
  };

  for (const line of document.querySelectorAll(".exports")) {
    const status = line.querySelector("[role=status]");
    line.hidden = false;
    line.addEventListener("click", async ({ target }) => {
      const format = target.dataset.format;
      if (!format) return;
      try {
        const text = (await textsOf(line.dataset.table))[format];
        const name = { csv: line.dataset.table + ".csv", file: line.dataset.name }[format];
        if (name) download(name, text);
        else await copy(text);
        status.textContent = name ? "downloaded" : "copied";
      } catch (error) {
        status.textContent = "failed: " + error.message;
      }
    });
  }

  const load = async () => {
    figures = JSON.parse(await unpack("figures"));
    const script = document.createElement("script");
    script.textContent = await unpack("plotly");
    document.head.append(script);
    ready = true;
    draw(isDark());
  };
  load().catch((error) => {
    for (const element of plots) showError(element, "Figures cannot be shown: " + error.message + ".");
  });
})();
