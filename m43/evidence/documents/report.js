// The filter of the rows; everything can be read without it.
(() => {
  const groups = [...document.querySelectorAll("#rows details")];
  if (!groups.length) return;
  const opened = groups.map((group) => group.open);
  // Section, category and difficulty are the first notes of a row.
  const kinds = ["section", "category", "difficulty"];
  const rows = groups.flatMap((group) =>
    [...group.querySelectorAll("tbody tr")].map((row) => ({
      row, group, text: row.textContent.toLowerCase(),
      kinds: [...row.querySelectorAll("th .note")].slice(0, 3).map((each) => each.textContent),
    })));

  const make = (tag, attributes, ...children) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.append(...children);
    return element;
  };
  const choice = (name, place) => make("label", {}, `${name} `, make("select", { name },
    make("option", { value: "" }, "all"),
    ...[...new Set(rows.map((each) => each.kinds[place]))].sort().map((word) =>
      make("option", {}, word))));
  const output = make("output", { ariaLive: "polite" }, `${rows.length} rows`);
  const form = make("form", { className: "filter" },
    make("label", {}, "words ", make("input", { type: "search", name: "words", autocomplete: "off" })),
    ...kinds.map(choice), make("button", { type: "reset" }, "show all"), output);

  const apply = () => {
    const words = form.elements.words.value.toLowerCase().trim();
    const chosen = kinds.map((name) => form.elements[name].value);
    let shown = 0;
    for (const { row, text, kinds: own } of rows) {
      row.hidden = !text.includes(words) || chosen.some((word, i) => word && word !== own[i]);
      if (!row.hidden) shown += 1;
    }
    const active = Boolean(words || chosen.some(Boolean));
    groups.forEach((group, index) => {
      const some = rows.some((each) => each.group === group && !each.row.hidden);
      group.open = active ? some : opened[index];
    });
    output.textContent = active ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
  };

  groups[0].before(form);
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
