"use strict";
// Numbers under the pointer. The page is complete without this.
for (const plot of document.querySelectorAll(".plot")) {
  const svg = plot.firstElementChild;
  let lines, range, tip, hair;
  const shown = (value) => {
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-4 || 1e6 <= size && !Number.isInteger(value))
      ? value.toExponential(2)
      : Number(value.toPrecision(Math.max(4, String(Math.trunc(size)).length))).toLocaleString("en", { maximumFractionDigits: 7 });
    return text.replace("-", "−");
  };
  const nearest = (xs, x) => {
    let low = 0, high = xs.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (xs[middle] < x) { low = middle + 1; } else { high = middle; }
    }
    return 0 < low && x - xs[low - 1] < xs[low] - x ? low - 1 : low;
  };
  const hide = () => { if (tip) { tip.remove(); hair.remove(); tip = hair = undefined; } };
  const show = (event) => {
    lines = lines || JSON.parse(svg.dataset.lines);
    range = range || JSON.parse(svg.dataset.range);
    const box = svg.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const [low, high, isLog] = range;
    const x = isLog ? low * Math.pow(high / low, share) : low + (high - low) * share;
    let at = Infinity;
    for (const line of lines) {
      if (line.x.length === 0) { continue; }
      const near = line.x[nearest(line.x, x)];
      if (Math.abs(near - x) < Math.abs(at - x)) { at = near; }
    }
    if (at === Infinity) { return; }
    if (!tip) {
      tip = document.createElement("div");
      tip.className = "tip";
      tip.setAttribute("aria-hidden", "true");
      plot.append(tip);
      hair = document.createElementNS(svg.namespaceURI, "line");
      hair.setAttribute("class", "hair");
      hair.setAttribute("y1", "0");
      hair.setAttribute("y2", "100%");
      svg.append(hair);
    }
    const place = 100 * (isLog ? Math.log(at / low) / Math.log(high / low) : (at - low) / (high - low));
    hair.setAttribute("x1", place + "%");
    hair.setAttribute("x2", place + "%");
    tip.textContent = svg.dataset.x + " " + shown(at);
    for (const line of lines) {
      if (line.x.length === 0) { continue; }
      const idx = nearest(line.x, at);
      const row = document.createElement("div"), dot = document.createElement("i");
      row.className = line.c;
      row.append(dot, (1 < lines.length ? line.n + " " : "") + shown(line.y[idx]) + (line.x[idx] === at ? "" : " at " + shown(line.x[idx])));
      tip.append(row);
    }
    const left = box.left - plot.getBoundingClientRect().left;
    const middle = left + box.width * place / 100, width = tip.offsetWidth, room = plot.clientWidth;
    const beside = middle + 12 + width <= room ? middle + 12 : middle - 12 - width;
    tip.style.left = Math.max(0, Math.min(beside, room - width)) + "px";
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
}
