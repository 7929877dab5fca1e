/** Return an SVG element with attributes and children. */
function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Return round values between two ends, about as many as asked for. */
function ticks(low, high, number) {
  const raw = (high - low) / Math.max(1, number);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step + 0);
  return found;
}

/** Return a number with at most four digits that tell something. */
function digits(value) {
  if (value === 0 || Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(Math.abs(value) >= 100 ? 4 : 3)));
}

const MARGIN = { left: 44, right: 10, top: 8, bottom: 36 };

/** A chart of lines: the legend hides lines, the pointer reads the values below it. */
class Chart {
  constructor(figure) {
    this.spec = JSON.parse(figure.querySelector("script").textContent);
    this.shown = this.spec.lines.map(() => true);
    this.legend = element("div", { class: "legend" });
    this.svg = shape("svg", { role: "img", "aria-label": this.spec.title });
    this.tip = element("div", { class: "tip", hidden: "" });
    figure.append(this.legend, this.svg, this.tip);
    if (this.spec.lines.length > 1) this.fillLegend();
    this.svg.addEventListener("pointermove", (event) => this.read(event));
    this.svg.addEventListener("pointerdown", (event) => this.read(event));
    this.svg.addEventListener("pointerleave", () => this.leave());
    new ResizeObserver(() => this.draw()).observe(figure);
  }

  fillLegend() {
    this.spec.lines.forEach((line, i) => {
      const swatch = element("i", { class: "swatch", style: `background: ${line.colour}` });
      const button = element("button", { type: "button", "aria-pressed": "true" }, swatch, line.name);
      button.addEventListener("click", () => {
        this.shown[i] = !this.shown[i];
        button.setAttribute("aria-pressed", this.shown[i]);
        this.draw();
      });
      this.legend.append(button);
    });
  }

  get lines() {
    return this.spec.lines.filter((_, i) => this.shown[i]);
  }

  /** Set the ends of both axes, and the functions from values to pixels. */
  scale() {
    const { spec } = this;
    this.width = Math.max(200, this.svg.parentNode.clientWidth);
    this.height = spec.is_square ? Math.min(this.width, 330) : 250;
    const span = (values, given) => given ?? [Math.min(0, ...values), Math.max(...values, 1e-9) * 1.04];
    const all = (axis) => spec.lines.flatMap((line) => line[axis]).filter((one) => one !== null);
    this.ends = { x: span(all("x"), spec.x_span), y: span(all("y"), spec.y_span) };
    const { x, y } = this.ends;
    const wide = this.width - MARGIN.left - MARGIN.right;
    const high = this.height - MARGIN.top - MARGIN.bottom;
    this.across = (value) => MARGIN.left + ((value - x[0]) / (x[1] - x[0])) * wide;
    this.up = (value) => MARGIN.top + (1 - (value - y[0]) / (y[1] - y[0])) * high;
  }

  draw() {
    this.scale();
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.setAttribute("height", this.height);
    this.cursor = shape("g");
    this.svg.replaceChildren(this.drawAxes(), ...this.lines.map((line) => this.drawLine(line)), this.cursor);
  }

  drawAxes() {
    const { x, y } = this.ends;
    const axes = shape("g");
    const [left, right, bottom, top] = [...x.map(this.across), ...y.map(this.up)];
    for (const value of ticks(...y, 5)) {
      const at = this.up(value);
      axes.append(shape("line", { class: "grid", x1: left, x2: right, y1: at, y2: at }));
      axes.append(shape("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, digits(value)));
    }
    for (const value of ticks(...x, this.width / 90)) {
      const at = this.across(value);
      axes.append(shape("line", { class: "grid", x1: at, x2: at, y1: bottom, y2: bottom + 4 }));
      axes.append(shape("text", { x: at, y: bottom + 17, "text-anchor": "middle" }, digits(value)));
    }
    axes.append(shape("text", { x: right, y: bottom + 33, "text-anchor": "end" }, this.spec.x_name));
    if (this.spec.has_diagonal) {
      axes.append(shape("line", { class: "guide", x1: left, y1: bottom, x2: right, y2: top }));
    }
    return axes;
  }

  drawLine(line) {
    const drawn = shape("g", { style: `stroke: ${line.colour}; fill: ${line.colour}` });
    let path = "";
    line.x.forEach((x, i) => {
      if (line.y[i] === null) return;
      const isFirst = i === 0 || line.y[i - 1] === null;
      path += `${isFirst ? "M" : "L"}${this.across(x).toFixed(1)},${this.up(line.y[i]).toFixed(1)}`;
    });
    drawn.append(shape("path", { d: path, fill: "none", "stroke-width": 1.8, "stroke-linejoin": "round" }));
    const marks = this.spec.has_marks || line.x.length === 1 ? line.x.map((x, i) => [x, line.y[i]]) : line.marks;
    for (const [x, y] of marks) {
      if (y !== null) drawn.append(shape("circle", { cx: this.across(x), cy: this.up(y), r: 3.2, stroke: "none" }));
    }
    return drawn;
  }

  /** Show the values of all lines at the position nearest to the pointer. */
  read(event) {
    const box = this.svg.getBoundingClientRect();
    const pointer = ((event.clientX - box.left) / box.width) * this.width;
    const distance = (x) => Math.abs(this.across(x) - pointer);
    const nearest = (xs) => xs.reduce((best, x, i) => (distance(x) < distance(xs[best]) ? i : best), 0);
    const found = this.lines.filter((line) => line.x.length).map((line) => ({ line, i: nearest(line.x) }));
    if (!found.length) return;
    const at = found.map(({ line, i }) => line.x[i]).reduce((a, b) => (distance(b) < distance(a) ? b : a));
    const near = found.filter(({ line, i }) => Math.abs(this.across(line.x[i]) - this.across(at)) < 12 && line.y[i] !== null);
    this.mark(at, near);
    this.tell(at, near, box, this.across(at) / this.width);
  }

  mark(at, near) {
    const x = this.across(at);
    this.cursor.replaceChildren(
      shape("line", { class: "guide", x1: x, x2: x, y1: MARGIN.top, y2: this.height - MARGIN.bottom }),
      ...near.map(({ line, i }) =>
        shape("circle", { cx: this.across(line.x[i]), cy: this.up(line.y[i]), r: 4, style: `fill: ${line.colour}` })),
    );
  }

  tell(at, near, box, share) {
    const rows = near.map(({ line, i }) =>
      element("div", {}, element("i", { class: "swatch", style: `background: ${line.colour}` }), `${line.name} ${digits(line.y[i])}`));
    this.tip.replaceChildren(element("div", { class: "note" }, `${this.spec.x_name} ${digits(at)}`), ...rows);
    this.tip.hidden = false;
    const outer = this.svg.parentNode.getBoundingClientRect();
    const left = share * box.width;
    const isRight = left + this.tip.offsetWidth + 14 > box.width;
    this.tip.style.left = `${Math.max(0, isRight ? left - this.tip.offsetWidth - 12 : left + 12)}px`;
    this.tip.style.top = `${box.top - outer.top + 12}px`;
  }

  leave() {
    this.cursor.replaceChildren();
    this.tip.hidden = true;
  }
}

for (const figure of document.querySelectorAll("figure.chart")) new Chart(figure);
