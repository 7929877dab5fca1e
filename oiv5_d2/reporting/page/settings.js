/** Show the settings that differ, or all, and of these the ones whose line has the words. */
function filterSettings() {
  const table = document.getElementById("all-settings");
  const words = document.getElementById("find").value.toLowerCase();
  table.classList.toggle("only-changed", document.getElementById("changed").checked);
  for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(words);
}

document.getElementById("changed").addEventListener("change", filterSettings);
document.getElementById("find").addEventListener("input", filterSettings);
