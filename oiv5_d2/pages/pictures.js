/** Return an object as SVG, in the pixels of its image: its mask below its box. */
function drawObject(one, colour) {
  const [x, y, width, height] = one.box;
  const group = shape("g", { class: "shape", style: `--class: ${colour}` });
  if (one.path) group.append(shape("path", { class: "mask", d: one.path }));
  group.append(shape("rect", { class: "box", x, y, width, height }));
  return group;
}

/** Return the name tag of an object in an image of a size, [width, height]. */
function drawTag(one, [width, height], colour, text) {
  const left = (100 * one.box[0]) / width;
  // Near the right edge a tag ends with its box instead of beginning with it.
  const side = left < 70 ? `left: ${left}%` : `right: ${100 - left - (100 * one.box[2]) / width}%`;
  const style = `${side}; top: max(1.35em, ${(100 * one.box[1]) / height}%); --class: ${colour}`;
  return element("span", { class: "tag", style }, text);
}

/** Return a button that says `text` and is called `name`. */
function button(text, name, act) {
  const made = element("button", { type: "button", class: "chip", "aria-label": name }, text);
  made.addEventListener("click", act);
  return made;
}

/** Return a drop-down list of texts by value. */
function choose(name, options, act) {
  const entries = Object.entries(options).map(([value, text]) => element("option", { value }, text));
  const made = element("select", { "aria-label": name, name }, ...entries);
  made.addEventListener("change", () => act(made.value));
  return made;
}

/** Return a box to tick, with its label. */
function check(name, text, isOn, act) {
  const box = element("input", { type: "checkbox", name });
  box.checked = isOn;
  box.addEventListener("change", () => act(box.checked));
  return element("label", {}, box, text);
}

/** Return a button that stays pressed, for a class with a name and a colour. */
function classChip(one, act) {
  const swatch = element("i", { class: "swatch", style: `background: ${one.colour}` });
  const made = element("button", { type: "button", class: "chip", "aria-pressed": "false", "data-class": one.name }, swatch, one.name);
  made.addEventListener("click", () => {
    const isOn = made.getAttribute("aria-pressed") !== "true";
    made.setAttribute("aria-pressed", isOn);
    act(isOn);
  });
  return made;
}
