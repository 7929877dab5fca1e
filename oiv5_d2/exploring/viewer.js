const VIEWER = document.getElementById("viewer");

/** The image that is shown large: its place among those found, what is known, whether enlarged. */
const large = { number: null, about: null, zoomed: null };

/** Show an image large; `hits` are the objects that were searched for. */
async function view(number, hits) {
  const about = await ask(`annotations/${number}?large`);
  Object.assign(large, { number, about, zoomed: null });
  const panels = LAYERS.filter((layer) => about.layers[layer]).map((layer) => drawPanel(about, layer, hits));
  const body = element("div", { class: "panels" }, ...panels);
  VIEWER.replaceChildren(drawHead(about), body, element("div", { class: "about" }, drawRecord(about), drawTable(about)));
  mark(about);
  fitPanels(body, about);
  TIP.hidden = true;
  if (!VIEWER.open) {
    VIEWER.showModal();
    VIEWER.focus(); // not its first button
  }
  VIEWER.scrollTop = 0;
  setState("image", String(number));
}

/** Let the panels be as large as the window allows. */
function fitPanels(body, about) {
  const [width, height] = about.size;
  const room = innerHeight * (innerWidth > 900 ? 0.68 : 0.5);
  body.style.setProperty("grid-auto-columns", `minmax(0, ${Math.round((room * width) / height)}px)`);
}

function drawHead(about) {
  return element("header", {}, element("b", {}, `${about.part} / ${about.record.open_images_id ?? about.record.id}`),
    button("\u2190", "previous", () => go(-1)), button("\u2192", "next", () => go(1)), button("\u2715", "close", () => VIEWER.close()));
}

function drawPanel(about, layer, hits) {
  const [width, height] = about.size;
  const image = element("img", { src: `images/${large.number}?${FACETS.stamp}`, width, height, alt: `${about.record.id}, ${TITLES[layer]}` });
  const drawn = drawLayer(about, layer, layer === (state.get("layer") ?? "truth") ? hits : null);
  const tags = about.layers[layer].map((one) => {
    const tag = drawTag(one, about.size, one.reason ? "#c4c8cc" : FACETS.classes[one.category].colour, describe(one, layer));
    one.nodes.push(tag);
    return tag;
  });
  about.layers[layer].forEach((one) => {
    one.nodes[0].addEventListener("pointerenter", () => light(one, true));
    one.nodes[0].addEventListener("pointerleave", () => light(one, false));
    one.nodes[0].addEventListener("click", () => zoom(one));
  });
  return element("div", { class: `panel ${layer}` }, element("div", { class: "zoom" }, image, drawn, ...tags), element("span", { class: "side" }, TITLES[layer]));
}

function light(one, isLit) {
  for (const node of [one.nodes[0], one.row]) node?.classList.toggle("lit", isLit);
}

/** Enlarge an object in all panels; or show the whole image again. */
function zoom(one) {
  const [width, height] = large.about.size;
  large.zoomed = large.zoomed === one ? null : one;
  const [x, y, w, h] = one.box;
  const times = Math.max(1, Math.min(12, 0.4 * Math.min(width / w, height / h)));
  const inside = (middle, full) => Math.max(0, Math.min(full * (1 - 1 / times), middle - full / times / 2));
  const [left, top] = [(100 * inside(x + w / 2, width)) / width, (100 * inside(y + h / 2, height)) / height];
  for (const node of VIEWER.querySelectorAll(".zoom")) {
    node.style.transform = large.zoomed ? `scale(${times}) translate(${-left}%, ${-top}%)` : "";
    node.classList.toggle("zoomed", Boolean(large.zoomed));
  }
}

/** Return the fields of the image; addresses are links. */
function drawRecord(about) {
  const { record } = about;
  const classes = (ids) => (ids ?? []).map((id) => FACETS.ids[id]).filter(Boolean).join(", ") || "-";
  const fields = { file: record.file_name, size: `${record.width} x ${record.height}`, split: about.part };
  if (about.findings.length) fields.audit = about.findings.join(", ");
  if (record.positive_category_ids) fields["verified present"] = classes(record.positive_category_ids);
  if (record.negative_category_ids) fields["verified absent"] = classes(record.negative_category_ids);
  if (record.author) fields.author = link(record.author, record.author_url);
  if (record.title) fields.title = link(record.title, record.landing_url);
  return fieldList(fields);
}

function link(text, address) {
  if (!/^https?:\/\//.test(address ?? "")) return text;
  return element("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, text);
}

/** Return a table of all objects; a click on a row enlarges the object. */
function drawTable(about) {
  const scale = Math.max(...about.size) / Math.max(about.record.width, about.record.height);
  const body = element("tbody");
  for (const layer of LAYERS) {
    for (const one of about.layers[layer] ?? []) body.append(drawRow(one, layer, scale));
  }
  const names = ["object", ...(FACETS.runs.length ? ["layer", "score", "outcome"] : []), "side, px", "what else"];
  const head = names.map((name) => element("th", { scope: "col", ...(["side, px", "score"].includes(name) ? {} : { class: "text" }) }, name));
  return element("div", { class: "wide" }, element("table", {}, element("thead", {}, element("tr", {}, ...head)), body));
}

/** Return what the runs made of an annotation. */
function fateOf(one) {
  if (one.reason) return "ignored";
  const finders = FACETS.runs.filter((_, i) => one.finders[i] !== null && one.finders[i] >= leastScore());
  if (finders.length === FACETS.runs.length) return "found";
  return finders.length ? `found by ${finders[0]}` : "missed";
}

function drawRow(one, layer, scale) {
  const swatch = element("i", { class: "swatch", style: `background: ${one.reason ? "#c4c8cc" : FACETS.classes[one.category].colour}` });
  const text = (...what) => element("td", { class: "text" }, ...what);
  const isTruth = layer === "truth";
  const outcome = isTruth ? fateOf(one) : FACETS.outcomes[one.outcome];
  const ofRuns = FACETS.runs.length ? [text(TITLES[layer]), element("td", {}, isTruth ? "" : one.score.toFixed(2)), text(outcome)] : [];
  const what = isTruth ? [one.reason, ...one.flags.filter((flag) => flag !== "ignored"), ...one.findings].filter(Boolean).join(", ") : "";
  one.row = element("tr", {}, text(swatch, nameOf(one)), ...ofRuns, element("td", {}, String(Math.round(Math.sqrt(one.area)))), text(what));
  one.row.addEventListener("click", () => { zoom(one); VIEWER.scrollTop = 0; });
  one.row.addEventListener("pointerenter", () => light(one, true));
  one.row.addEventListener("pointermove", (event) => tell(event, one, layer, scale));
  one.row.addEventListener("pointerleave", () => { light(one, false); TIP.hidden = true; });
  one.nodes?.push(one.row);
  return one.row;
}

// Not of the dialog: what had the focus may have been replaced.
document.addEventListener("keydown", (event) => {
  if (VIEWER.open && event.key === "ArrowLeft") go(-1);
  if (VIEWER.open && event.key === "ArrowRight") go(1);
});
VIEWER.addEventListener("click", (event) => { if (event.target === VIEWER) VIEWER.close(); });
VIEWER.addEventListener("close", () => {
  document.body.append(TIP);
  TIP.hidden = true;
  setState("image", "");
  cards.find((card) => card.number === large.number)?.node.focus();
});
