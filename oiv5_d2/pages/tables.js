"use strict";

/** Return an HTML element with attributes, and children that are elements or text. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Return the first number of a cell, or null: "34.4-39.2" is 34.4, "1,234" is 1234, "1e-05" is 0.00001, "-" none. */
function numberOf(text) {
  const found = text.replaceAll(",", "").match(/^[-+]?\d+(\.\d+)?(e[-+]?\d+)?/);
  return found ? Number(found[0]) : null;
}

/** Sort a table's rows by a column: words from a, numbers from the largest; then the other way. */
function sortBy(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const texts = [...table.tBodies[0].rows].map((row) => row.cells[column].textContent.trim());
  const isWords = head.classList.contains("text") || texts.every((text) => numberOf(text) === null);
  const before = head.getAttribute("aria-sort");
  const isRising = before ? before === "descending" : isWords;
  const rows = [...table.tBodies[0].rows].map((row, i) => ({ row, key: isWords ? texts[i] : numberOf(texts[i]) }));
  rows.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
    const order = isWords ? a.key.localeCompare(b.key, "en") : a.key - b.key;
    return isRising ? order : -order;
  });
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", isRising ? "ascending" : "descending");
  table.tBodies[0].append(...rows.map(({ row }) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if ("plain" in head.dataset) return;
    const button = element("button", { type: "button" }, head.textContent);
    button.addEventListener("click", () => sortBy(table, column));
    head.replaceChildren(button);
  });
}
