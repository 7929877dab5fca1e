const { classes: CLASSES, errors: ERRORS, panels: PANELS, pictures: PICTURES } = JSON.parse(document.getElementById("pictures").textContent);
const GALLERY = document.getElementById("gallery");
const VIEWER = document.getElementById("viewer");

const AT_ONCE = 12; // images before the button for more

/** What the controls say; a score of null stands for each class's threshold. */
const chosen = { classes: new Set(), kind: "", error: "", slice: "", score: null, flags: new Set(), most: AT_ONCE };

const leastScore = (category) => chosen.score ?? CLASSES[category].threshold;
const isFound = (object) => object.score !== null && object.score >= leastScore(object.category);
const isChosenClass = (one) => !chosen.classes.size || chosen.classes.has(one.category);
const isInSlice = (one) => !chosen.slice || one.outcome === "ignored" || one.slices.includes(chosen.slice);
const isShown = (one, isTruth) => isChosenClass(one) && (isTruth ? isInSlice(one) : one.score >= leastScore(one.category));

/** Return "right", "wrong" or "ignored". */
function verdict(one, isTruth) {
  if (one.outcome === "ignored") return "ignored";
  return (isTruth ? isFound(one) : one.outcome === "true") ? "right" : "wrong";
}

/** Return what is wrong with an object or a detection, or "". */
function errorOf(one, isTruth) {
  if (verdict(one, isTruth) !== "wrong") return "";
  return isTruth ? "missed" : one.outcome;
}

function describe(one, isTruth) {
  const name = CLASSES[one.category].name + (one.tag ? ` (${one.tag})` : "");
  if (isTruth) return one.outcome === "ignored" ? `${name}, ignored` : name;
  const error = errorOf(one, false);
  return `${name} ${one.score.toFixed(2)}${error ? `, ${ERRORS[error]}` : ""}`;
}

function drawShape(one, isTruth) {
  const node = drawObject(one, CLASSES[one.category].colour);
  node.prepend(shape("title", {}, describe(one, isTruth)));
  return { node, one, isTruth };
}

function describeDoubt(one) {
  return `${CLASSES[one.category].name}: ${one.tag}, certainty ${one.score.toFixed(2)}`;
}

function drawDoubt(one) {
  const [x, y, width, height] = one.box;
  return shape("rect", { class: "doubt", x, y, width, height, rx: 2 }, shape("title", {}, describeDoubt(one)));
}

/** Return the panels of a picture: truth, and detections with the truth that may be laid over them. */
function drawPanels(picture, hasTags) {
  const [width, height] = picture.size;
  const parts = [];
  const layer = (name) => {
    const isTruth = name === "truth";
    const drawn = [...picture[name]].sort((a, b) => b.box[2] * b.box[3] - a.box[2] * a.box[3]).map((one) => drawShape(one, isTruth));
    parts.push(...drawn);
    return shape("svg", { class: isTruth ? name : "found", viewBox: `0 0 ${width} ${height}` }, ...drawn.map(({ node }) => node));
  };
  const doubts = () => shape("svg", { class: "doubts", viewBox: `0 0 ${width} ${height}` }, ...picture.doubted.map(drawDoubt));
  const panel = ([name, title], ...layers) => {
    const image = element("img", { src: `data:image/jpeg;base64,${picture.jpeg}`, width, height, loading: "lazy", decoding: "async", alt: `${picture.id}, ${title}` });
    const made = element("div", { class: `panel ${name === "truth" ? name : "found"}` }, image, ...layers, element("span", { class: "side" }, title));
    if (hasTags) made.append(...drawTags(picture, name, parts));
    return made;
  };
  const made = element("div", { class: "panels" }, ...PANELS.map((one) =>
    one[0] === "truth" ? panel(one, layer("truth"), doubts()) : panel(one, layer("truth"), layer(one[0]), doubts())));
  return { node: made, parts };
}

function drawTags(picture, name, parts) {
  const isTruth = name === "truth";
  return picture[name].map((one) => {
    const { name: className, colour } = CLASSES[one.category];
    const node = drawTag(one, picture.size, colour, isTruth ? describe(one, true) : `${className} ${one.score.toFixed(2)}`);
    parts.push({ node, one, isTruth });
    return node;
  });
}

/** Show the parts that the controls ask for, with their verdicts. */
function update(parts) {
  for (const { node, one, isTruth } of parts) {
    const isVisible = isShown(one, isTruth);
    node.toggleAttribute("hidden", !isVisible);
    const bare = one.path ? "" : " bare";
    node.setAttribute("class", node.classList.contains("tag") ? "tag" : `shape ${verdict(one, isTruth)}${bare}`);
  }
}

function byline(picture) {
  return picture.credit.author ? `; photo: ${picture.credit.author}` : "";
}

class Card {
  constructor(picture) {
    this.picture = picture;
    const { node, parts } = drawPanels(picture, false);
    this.parts = parts;
    this.counts = element("span");
    this.node = element("figure", { class: "picture", tabindex: "0", "data-kind": picture.kinds.join(", ") }, node,
      element("figcaption", {}, element("b", {}, picture.kinds.join(", ")), ` ${picture.caption}, ${picture.id}, `, this.counts, byline(picture)));
    this.node.addEventListener("click", () => view(this));
    this.node.addEventListener("keydown", (event) => { if (event.key === "Enter") view(this); });
  }

  update() {
    const { truth, found } = this.picture;
    const objects = truth.filter((one) => one.outcome === "object" && isShown(one, true));
    const shown = found.filter((one) => isShown(one, false));
    const errors = [...objects.map((one) => errorOf(one, true)), ...shown.map((one) => errorOf(one, false))];
    const hasClass = chosen.slice ? objects.length > 0 : objects.length + shown.length > 0 || !chosen.classes.size;
    const isChosen = hasClass && (!chosen.kind || this.picture.kinds.includes(chosen.kind)) && (!chosen.error || errors.includes(chosen.error));
    this.isChosen = isChosen;
    const numFalse = shown.filter((one) => verdict(one, false) === "wrong").length;
    const whose = PANELS.length > 2 ? `${PANELS.at(-1)[1]}: ` : "";
    this.counts.textContent = `${whose}${objects.filter(isFound).length} of ${objects.length} objects found, ${numFalse} false`;
    update(this.parts);
  }
}

const CARDS = PICTURES.map((picture) => new Card(picture));
const SUMMARY = element("output", { id: "number" });

const MORE = element("button", { id: "more", type: "button" }, "more");
MORE.addEventListener("click", () => { chosen.most += 2 * AT_ONCE; refresh(); });

function refresh() {
  CARDS.forEach((card) => card.update());
  const cards = CARDS.filter((card) => card.isChosen);
  CARDS.forEach((card) => { card.node.hidden = !cards.slice(0, chosen.most).includes(card); });
  MORE.hidden = cards.length <= chosen.most;
  SUMMARY.textContent = `${cards.length} of ${CARDS.length} images`;
  for (const place of [GALLERY, VIEWER]) place.className = [...chosen.flags].join(" ");
}

/** Show one picture large, with a line for each object that was missed and each detection. */
function view(card) {
  const shown = CARDS.filter((one) => one.isChosen);
  const go = (step) => view(shown[(shown.indexOf(card) + step + shown.length) % shown.length]);
  const { node, parts } = drawPanels(card.picture, true);
  update(parts);
  const head = element("header", {}, element("b", {}, `${card.picture.kinds.join(", ")}: ${card.picture.id}`),
    button("\u2190", "previous", () => go(-1)), button("\u2192", "next", () => go(1)), button("\u2715", "close", () => VIEWER.close()));
  VIEWER.replaceChildren(head, node, element("p", { class: "note" }, listErrors(card.picture), byline(card.picture)));
  // Not of the dialog: what had the focus may have been replaced.
  document.onkeydown = (event) => {
    if (VIEWER.open && event.key === "ArrowLeft") go(-1);
    if (VIEWER.open && event.key === "ArrowRight") go(1);
  };
  VIEWER.onclick = (event) => { if (event.target === VIEWER) VIEWER.close(); };
  if (!VIEWER.open) VIEWER.showModal();
}

function listErrors(picture) {
  const missed = picture.truth.filter((one) => isShown(one, true) && errorOf(one, true)).map((one) => `missed ${describe(one, true)}`);
  const wrong = picture.found.filter((one) => isShown(one, false) && errorOf(one, false)).map((one) => describe(one, false));
  const doubts = picture.doubted.map((one) => `doubted: ${describeDoubt(one)}`);
  return [...doubts, ...missed, ...wrong].join("; ") || "no error";
}

/** Return a switch; the flag is a class of the gallery while the switch is at `value`. */
function flag(name, text, value, isOn) {
  const note = (isChecked) => chosen.flags[isChecked === value ? "add" : "delete"](name);
  note(isOn);
  return check(name, text, isOn, (isChecked) => { note(isChecked); refresh(); });
}

function chip(one, category) {
  return classChip(one, (isOn) => {
    chosen.classes[isOn ? "add" : "delete"](category);
    refresh();
  });
}

/** Return the slider of the least score; at its left end it stands for the thresholds. */
function slider() {
  const range = element("input", { type: "range", name: "score", min: "0", max: "0.95", step: "0.05", value: "0", "aria-label": "least score" });
  const levels = new Set(CLASSES.map((one) => one.threshold));
  const start = levels.size === 1 ? [...levels][0].toFixed(2) : "the thresholds";
  const told = element("output", {}, start);
  range.addEventListener("input", () => {
    chosen.score = Number(range.value) || null;
    told.textContent = chosen.score === null ? start : chosen.score.toFixed(2);
    refresh();
  });
  return element("label", {}, "score from", range, told);
}

const sliceNames = [...new Set(PICTURES.flatMap((one) => one.truth.flatMap((object) => object.slices)))].sort();
const kinds = Object.fromEntries([...new Set(PICTURES.flatMap((one) => one.kinds))].map((kind) => [kind, kind]));
document.getElementById("controls").append(
  element("div", {}, ...CLASSES.map(chip)),
  element("div", {},
    choose("kind", { "": "all images", ...kinds }, (value) => { chosen.kind = value; refresh(); }),
    choose("error", { "": "any error or none", ...ERRORS }, (value) => { chosen.error = value; refresh(); }),
    choose("slice", { "": "all objects", ...Object.fromEntries(sliceNames.map((name) => [name, name])) }, (value) => { chosen.slice = value; refresh(); }),
    slider()),
  element("div", {},
    flag("no-truth", "truth", false, true), flag("no-found", "prediction", false, true),
    flag("no-boxes", "boxes", false, true), flag("no-masks", "masks", false, true), flag("no-ignored", "ignored", false, true), ...(PICTURES.some((one) => one.doubted.length) ? [flag("no-doubts", "label errors", false, true)] : []),
    flag("overlay", "truth over prediction", true, false), flag("by-outcome", "coloured by right and wrong", true, false)),
  SUMMARY);
GALLERY.append(...CARDS.map((card) => card.node));
GALLERY.after(MORE);
refresh();
