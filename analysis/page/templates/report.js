// Unpacks plotly.js, draws every figure, and draws again when the theme changes or the page is printed.
"use strict";
(() => {
  const root = document.documentElement;
  const partners = Object.entries(JSON.parse(document.getElementById("dark-colours").textContent));
  const places = [...document.querySelectorAll(".plot")];
  let specs; // texts by the id of a place
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
    for (const element of places) {
      let text = specs[element.id];
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

  // The reverse of asc_sweeps/config/packing.py: 85 signs, five of which are four bytes, then gzip.
  const SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%/()*+-;,=.?@^_`{|}~";
  const unpack = async (id) => {
    if (typeof DecompressionStream === "undefined") {
      throw new Error("this browser cannot unpack what the file holds (it lacks DecompressionStream)");
    }
    const signs = document.getElementById(id).textContent.trim();
    const values = new Uint8Array(128);
    [...SIGNS].forEach((sign, value) => { values[sign.charCodeAt(0)] = value; });
    const groups = Math.ceil(signs.length / 5);
    const bytes = new DataView(new ArrayBuffer(4 * groups));
    for (let group = 0; group < groups; group += 1) {
      let number = 0;
      for (let at = 5 * group; at < 5 * group + 5; at += 1) number = number * 85 + (at < signs.length ? values[signs.charCodeAt(at)] : 84);
      bytes.setUint32(4 * group, number);
    }
    const length = Math.floor((signs.length * 4) / 5);
    const stream = new Blob([new Uint8Array(bytes.buffer, 0, length)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  // Tables and files: CSV and files are downloaded, LaTeX and Markdown are copied.
  const download = (name, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
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
        status.textContent = "not done: " + error.message;
      }
    });
  }

  const load = async () => {
    specs = JSON.parse(await unpack("figures"));
    const script = document.createElement("script");
    script.textContent = await unpack("plotly");
    document.head.append(script);
    ready = true;
    draw(isDark());
  };
  load().catch((error) => {
    for (const element of places) complain(element, "No figure: " + error.message + ".");
  });
})();
