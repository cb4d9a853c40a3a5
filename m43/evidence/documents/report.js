// The filter of the rows; everything can be read without it.
(() => {
  const form = document.querySelector("form.filter");
  if (!form) return;
  const output = form.querySelector("output");
  const groups = [...document.querySelectorAll("details.fate")];
  const opened = groups.map((group) => group.open);
  const rows = groups.flatMap((group) =>
    [...group.querySelectorAll("tbody tr")].map((row) => ({
      row, group, text: row.textContent.toLowerCase(),
    })));
  const kind = (row, name) => row.querySelector(`[data-${name}]`)?.getAttribute(`data-${name}`);

  const apply = () => {
    const words = form.elements.words.value.toLowerCase().trim();
    const chosen = ["section", "category", "difficulty"]
      .map((name) => [name, form.elements[name].value])
      .filter(([, value]) => value);
    let shown = 0;
    for (const { row, text } of rows) {
      row.hidden = !text.includes(words) || !chosen.every(([name, value]) => kind(row, name) === value);
      if (!row.hidden) shown += 1;
    }
    const active = Boolean(words || chosen.length);
    groups.forEach((group, index) => {
      const some = rows.some((each) => each.group === group && !each.row.hidden);
      group.open = active ? some : opened[index];
    });
    output.textContent = active ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
  };

  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  // A link to a row opens the group that the row is in.
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const group = target && target.closest("details");
    if (group && !group.open) {
      group.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
