const FACETS = JSON.parse(document.getElementById("facets").textContent);
const LAYERS = ["truth", ...FACETS.runs.map((_, i) => "ab"[i])];
const TITLES = { truth: "truth", a: FACETS.runs[0], b: FACETS.runs[1] };

/** Return JSON of an address of this server. */
async function ask(address, signal) {
  const response = await fetch(address, { signal });
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

const leastScore = () => Number(state.get("score") ?? 0.5);

/** Return "right", "wrong" or "ignored"; "" of an annotation where there is no run. */
function verdict(one, layer) {
  if (layer !== "truth") return { right: "right", ignored: "ignored" }[one.outcome] ?? "wrong";
  if (one.reason) return "ignored";
  if (!FACETS.runs.length) return "";
  return one.finders.some((score) => score !== null && score >= leastScore()) ? "right" : "wrong";
}

function nameOf(one) {
  const { name } = FACETS.classes[one.category];
  return one.child && one.child !== name ? `${name} (${one.child})` : name;
}

/** Return the words of an object's tag. */
function describe(one, layer) {
  if (layer !== "truth") return `${FACETS.classes[one.category].name} ${one.score.toFixed(2)}`;
  return one.reason ? `${nameOf(one)}: ${one.reason}` : nameOf(one);
}

const TOLD = new Set(["image_id", "category_id", "bbox", "area", "iscrowd", "label", "ignore_reason",
  "is_occluded", "is_truncated", "is_inside", "is_group_of", "is_depiction"]);

const pixels = (value) => value.toLocaleString("en");

/** Return what is known of an object, by the name of the field. */
function fieldsOf(one, layer, scale) {
  const [x, y, width, height] = one.box.map((side) => Math.round(side / scale));
  const fields = {
    box: `${width} x ${height} at ${x}, ${y}`,
    [one.path ? "mask" : "area"]: `${pixels(one.area)} px, a square of ${Math.round(Math.sqrt(one.area))}`,
  };
  if (layer !== "truth") return { score: one.score, ...fields, outcome: FACETS.outcomes[one.outcome] };
  if (one.reason) fields.ignored = one.reason;
  const flags = one.flags.filter((flag) => flag !== "ignored");
  if (flags.length) fields.attributes = flags.join(", ");
  one.finders.forEach((score, i) => {
    if (!one.reason) fields[`found by ${FACETS.runs[i]}`] = score === null ? "no" : `score ${score}`;
  });
  if (one.findings.length) fields.audit = one.findings.join(", ");
  const rest = Object.entries(one.record).filter(([key, value]) => !TOLD.has(key) && value !== null && value !== "");
  return { ...fields, ...Object.fromEntries(rest.map(([key, value]) => [key.replaceAll("_", " "), typeof value === "object" ? JSON.stringify(value) : value])) };
}

/** Return a list of fields. */
function fieldList(fields) {
  return element("dl", {}, ...Object.entries(fields).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value instanceof Node ? value : String(value))]));
}

const TIP = document.getElementById("tip");

/** Show an object's fields beside the pointer. */
function tell(event, one, layer, scale) {
  TIP.replaceChildren(element("b", {}, nameOf(one)), fieldList(fieldsOf(one, layer, scale)));
  (document.querySelector("dialog[open]") ?? document.body).append(TIP);
  TIP.hidden = false;
  const isRight = event.clientX + TIP.offsetWidth + 20 > innerWidth;
  TIP.style.left = `${Math.max(4, isRight ? event.clientX - TIP.offsetWidth - 12 : event.clientX + 14)}px`;
  TIP.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - TIP.offsetHeight - 4))}px`;
}

/** Return the objects of a layer as SVG, small ones above large ones. */
function drawLayer(about, layer, hits) {
  const [width, height] = about.size;
  const scale = Math.max(width, height) / Math.max(about.record.width, about.record.height);
  const objects = about.layers[layer].map((one, i) => ({ one, isHit: hits?.includes(i) }));
  objects.sort((a, b) => b.one.area - a.one.area);
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, class: "objects" }, ...objects.map(({ one, isHit }) => {
    const node = drawObject(one, FACETS.classes[one.category].colour);
    node.classList.toggle("hit", Boolean(isHit));
    node.addEventListener("pointermove", (event) => tell(event, one, layer, scale));
    node.addEventListener("pointerleave", () => { TIP.hidden = true; });
    one.nodes = [...(one.nodes ?? []), node];
    one.layer = layer;
    return node;
  }));
}

/** Give the objects of an image the classes that the switches and the score ask for. */
function mark(about) {
  for (const one of Object.values(about.layers).flatMap((some) => some ?? [])) {
    const isHidden = one.layer !== "truth" && one.score < leastScore();
    for (const node of one.nodes ?? []) {
      node.toggleAttribute("hidden", isHidden);
      for (const name of ["right", "wrong", "ignored"]) node.classList.toggle(name, verdict(one, one.layer) === name);
      node.classList.toggle("bare", !one.path);
    }
  }
}
