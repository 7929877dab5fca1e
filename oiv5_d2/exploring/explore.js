const GALLERY = document.getElementById("gallery");
const FORM = document.getElementById("find");
const PAGER = document.getElementById("pager");
const SWITCHES = { "no-boxes": "boxes", "no-masks": "masks", "no-ignored": "ignored", "no-others": "objects not searched for" };

/** The search, as the address has it; `cards` are the images of the page that is shown. */
let state = new URLSearchParams(location.search);
let cards = [];
let found = { total: 0, page: 1 };
let asking = new AbortController();

/** Set a value of the address; without one the key goes. */
function setState(key, ...values) {
  state.delete(key);
  for (const value of values) if (value) state.append(key, value);
  const text = String(state);
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

/** Change the search, and show what it finds from its first page on. */
function change(key, ...values) {
  history.pushState(null, "", location.href);
  setState(key, ...values);
  setState("page");
  refresh();
}

/** Search, and show a page of what was found. */
async function refresh() {
  asking.abort();
  asking = new AbortController();
  GALLERY.classList.add("waiting");
  try {
    found = await ask(`search?${state}`, asking.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    found = { total: 0, page: 1, images: [], error: error.message };
  }
  cards.forEach((card) => WATCHER.unobserve(card.node));
  cards = found.images.map((one) => new Card(one));
  GALLERY.replaceChildren(...cards.map((card) => card.node));
  GALLERY.classList.remove("waiting");
  cards.forEach((card) => WATCHER.observe(card.node));
  showNumbers();
}

function showNumbers() {
  const number = (value) => value.toLocaleString("en");
  document.getElementById("number").textContent = found.error ?? `${number(found.total)} of ${number(FACETS.total)} images`;
  document.getElementById("nothing").hidden = found.total > 0;
  const pages = Math.max(1, Math.ceil(found.total / FACETS.per_page));
  const turn = (text, name, page) => {
    const made = button(text, name, () => turnTo(page));
    made.disabled = page < 1 || page > pages;
    return made;
  };
  const field = element("input", { type: "number", min: 1, max: pages, value: found.page, "aria-label": "page" });
  field.addEventListener("change", () => turnTo(Math.max(1, Math.min(pages, Number(field.value) || 1))));
  PAGER.replaceChildren(turn("\u2190", "previous page", found.page - 1), field, element("span", { class: "note" }, `of ${number(pages)}`), turn("\u2192", "next page", found.page + 1));
  PAGER.hidden = pages === 1;
}

async function turnTo(page) {
  setState("page", page > 1 ? String(page) : "");
  await refresh();
  scrollTo({ top: 0 });
}

/** An image of the page; its outlines come when it is near the screen. */
class Card {
  constructor({ number, id, part, size, hits }) {
    Object.assign(this, { number, size, hits });
    this.counts = element("span");
    this.panels = LAYERS.map((layer) => this.drawPanel(layer, id));
    this.node = element("figure", { class: "picture", tabindex: "0", "data-number": number },
      element("div", { class: "panels" }, ...this.panels),
      element("figcaption", {}, element("code", {}, id), element("span", {}, part), this.counts));
    this.node.classList.toggle("faded", hits !== null);
    this.node.addEventListener("click", () => view(number, hits));
    this.node.addEventListener("keydown", (event) => { if (event.key === "Enter") view(number, hits); });
  }

  drawPanel(layer, id) {
    const image = element("img", { src: `thumbnails/${this.number}?${FACETS.stamp}`, loading: "lazy", decoding: "async", alt: `${id}, ${TITLES[layer]}` });
    image.addEventListener("error", () => this.node.classList.add("broken"));
    const title = LAYERS.length > 1 ? [element("span", { class: "side" }, TITLES[layer])] : [];
    return element("div", { class: `panel ${layer}` }, image, ...title);
  }

  async fill() {
    if (this.about) return;
    this.about = {};
    this.about = await ask(`annotations/${this.number}`);
    const isSearched = (layer) => layer === (state.get("layer") ?? "truth");
    LAYERS.forEach((layer, i) => {
      if (!this.about.layers[layer]) this.panels[i].append(element("span", { class: "side" }, `${TITLES[layer]}: not evaluated on this part`));
      else this.panels[i].append(drawLayer(this.about, layer, isSearched(layer) ? this.hits : null));
    });
    this.update();
  }

  update() {
    if (!this.about?.layers) return;
    mark(this.about);
    const objects = this.about.layers.truth.filter((one) => !one.reason).length;
    const ignored = this.about.layers.truth.length - objects;
    const words = `${objects} object${objects === 1 ? "" : "s"}${ignored ? `, ${ignored} ignored` : ""}`;
    const hits = this.hits === null ? "" : `${this.hits.length} searched for; `;
    this.counts.textContent = hits + words;
  }
}

const WATCHER = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) cards.find((card) => card.node === target)?.fill();
  }
}, { rootMargin: "400px" });

/** Show the image before or after the large one, from the next page where this one ends. */
async function go(step) {
  let place = cards.findIndex((card) => card.number === large.number) + step;
  const pages = Math.ceil(found.total / FACETS.per_page);
  if (place < 0 || place >= cards.length) {
    const page = found.page + step;
    if (page < 1 || page > pages) return;
    const image = state.get("image");
    await turnTo(page);
    setState("image", image);
    place = step > 0 ? 0 : cards.length - 1;
  }
  await view(cards[place].number, cards[place].hits);
}

/** Return a drop-down list for a key of the address; `act` may change other keys first. */
function select(key, first, options, act = () => {}) {
  const made = choose(key, { "": first, ...options }, (value) => { act(value); change(key, value); sync(); });
  made.sync = () => {
    made.value = state.get(key) ?? "";
    made.classList.toggle("chosen", Boolean(state.get(key)));
  };
  return made;
}

const counted = (numbers) => Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, `${name} (${number.toLocaleString("en")})`]));
const named = (names) => Object.fromEntries(names.map((name) => [name, name]));

/** Return a button for one of several values of a key. */
function toggle(key, one) {
  const made = classChip(one, (isOn) => {
    const values = state.getAll(key).filter((value) => value !== one.name);
    change(key, ...values, ...(isOn ? [one.name] : []));
  });
  if (!one.colour) made.querySelector("i").remove();
  made.title = `${one.number.toLocaleString("en")} annotations`;
  made.sync = () => made.setAttribute("aria-pressed", state.getAll(key).includes(one.name));
  return made;
}

function slider() {
  const range = element("input", { type: "range", name: "score", min: "0.05", max: "0.95", step: "0.05", "aria-label": "least score" });
  const told = element("output");
  const label = element("label", {}, "score from", range, told);
  label.sync = () => {
    range.value = leastScore();
    told.textContent = leastScore().toFixed(2);
  };
  range.addEventListener("input", () => {
    setState("score", range.value === "0.5" ? "" : range.value);
    label.sync();
    cards.forEach((card) => card.update());
  });
  range.addEventListener("change", () => { if (["layer", "a", "b"].some((key) => state.get(key))) change("score", state.get("score")); });
  return label;
}

/** Return a box to tick that hides what it names on this page. */
function hider(name, text, isOn) {
  const made = check(name, text, isOn, () => {
    const hidden = state.getAll("hide").filter((one) => one !== name);
    setState("hide", ...hidden, ...(state.getAll("hide").includes(name) ? [] : [name]));
    showHidden();
  });
  made.sync = () => { made.querySelector("input").checked = state.getAll("hide").includes(name) !== isOn; };
  return made;
}

function showHidden() {
  for (const place of [GALLERY, VIEWER]) {
    for (const name of [...Object.keys(SWITCHES), "by-outcome"]) place.classList.toggle(name, state.getAll("hide").includes(name));
  }
}

function ofRuns() {
  if (!FACETS.runs.length) return [];
  const layers = Object.fromEntries(FACETS.runs.map((name, i) => ["ab"[i], `detections: ${name}`]));
  const by = FACETS.runs.map((name, i) => select("ab"[i], `${name}: found or not`, { found: `${name}: found`, missed: `${name}: missed` }));
  const outcome = select("outcome", "detections: right or wrong", FACETS.outcomes, (value) => {
    if (value && !state.get("layer")) setState("layer", "a"); // annotations have no outcome
  });
  return [[select("layer", "search the annotations", layers), ...by, outcome, slider()]];
}

function buildControls() {
  const isFew = FACETS.classes.length <= 16;
  const classes = isFew ? FACETS.classes.map((one) => toggle("class", one))
    : [select("class", "all classes", counted(Object.fromEntries(FACETS.classes.map((one) => [one.name, one.number]))))];
  const flags = Object.entries(FACETS.flags).filter(([, number]) => number).map(([name, number]) => toggle("flag", { name, number }));
  const lists = [
    ...(Object.keys(FACETS.parts).length > 1 ? [select("part", "all splits", counted(FACETS.parts))] : []),
    ...(Object.keys(FACETS.children).length ? [select("child", "any child class", counted(FACETS.children))] : []),
    ...(Object.keys(FACETS.reasons).length ? [select("reason", "any reason to ignore", counted(FACETS.reasons))] : []),
    select("size", "any size", { small: "small, to 32 px", medium: "medium", large: "large, from 96 px", "0-16": "below 16 px", "256-": "from 256 px" }),
    ...(Object.keys(FACETS.findings).length ? [select("finding", "any audit finding", counted(FACETS.findings))] : []),
    select("order", "in the file's order", named(FACETS.orders.slice(1))),
  ];
  const switches = Object.entries(SWITCHES).map(([name, text]) => hider(name, text, true));
  if (FACETS.runs.length) switches.push(hider("by-outcome", "coloured by right and wrong", false));
  return [classes, flags, lists, ...ofRuns(), switches];
}

const groups = buildControls();
const CONTROLS = document.getElementById("controls");
CONTROLS.append(...groups.map((some) => element("div", {}, ...some)));
const TEXT = FORM.elements.q;
document.getElementById("filters").open = innerWidth > 520;
GALLERY.classList.toggle("several", LAYERS.length > 1);
document.body.style.setProperty("--panels", LAYERS.length);

/** Let the controls say what the address says. */
function sync() {
  groups.flat().forEach((one) => one.sync());
  TEXT.value = state.get("q") ?? "";
  showHidden();
}

let typing = 0;
TEXT.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => change("q", TEXT.value.trim()), 200);
});
FORM.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typing); change("q", TEXT.value.trim()); });
document.querySelector("#nothing button").addEventListener("click", () => { state = new URLSearchParams(); setState("q"); sync(); refresh(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !VIEWER.open && !["INPUT", "SELECT"].includes(document.activeElement.tagName)) {
    event.preventDefault();
    TEXT.focus();
  }
});
addEventListener("popstate", () => { state = new URLSearchParams(location.search); sync(); refresh(); });

sync();
const opened = state.get("image");
refresh().then(() => {
  const card = cards.find((one) => one.number === Number(opened));
  if (opened !== null) view(Number(opened), card?.hits ?? null).catch(() => setState("image"));
});
