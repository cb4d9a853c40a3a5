// The page: takes a folder, hands its files to the worker, shows what verify says. Text only is
// ever written into the document; no markup of a folder is.
// A bundle is unpacked in memory: one with its weights is not for a page.
const MOST_FILES = 10000, MOST_BUNDLE = 1 << 28;
const base = new URL(".", location.href).href;
const parts = JSON.parse(document.getElementById("parts").textContent);
const by = id => document.getElementById(id);
let worker, ready = false, waiting = null, claims = 0, busy = false;

const make = (tag, text = "", kind = "") => {
  const it = document.createElement(tag);
  it.textContent = text;
  if (kind) it.className = kind;
  return it;
};

// What steers a line instead of standing on it is shown as its number.
const shown = text => text.replace(
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]/g,
  sign => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);

const size = bytes => {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let step = 0;
  while (bytes >= 1000 && step < 4) { bytes /= 1000; step += 1; }
  return `${step ? bytes.toFixed(1) : bytes} ${units[step]}`;
};

function status(words) { by("status").textContent = words; }

function refuse(words) {
  waiting = null;
  finish();
  verdict("unsupported", "Nothing was verified", words);
}

function finish() { busy = false; by("progress").hidden = true; pickers(false); }

function pickers(off) { by("pick").disabled = by("pick-bundle").disabled = off; }

// Every part is fetched once against its SHA-256 (the browser compares) before Python starts.
async function begin() {
  let done = 0;
  const whole = parts.reduce((sum, part) => sum + part.size, 0), fetched = {};
  status("Fetching Python and m43, once");
  await Promise.all(parts.map(async part => {
    const answer = await fetch(base + part.name, { integrity: part.integrity });
    if (!answer.ok) throw new Error(`found status ${answer.status} for ${part.name}, expected 200`);
    fetched[part.name] = await answer.arrayBuffer();
    done += part.size;
    status(`Fetching Python and m43: ${size(done)} of ${size(whole)}`);
  }));
  status("Starting Python");
  // From a blob, a worker is under this page's own policy; from an address it would be under none.
  const source = new Blob([fetched["worker.js"]], { type: "text/javascript" });
  worker = new Worker(URL.createObjectURL(source), { type: "module" });
  worker.onmessage = ({ data }) => hear[data.kind](data);
  worker.onerror = event => hear.failed({ words: event.message || "the worker did not start" });
  worker.postMessage({ kind: "start", base, parts: fetched }, Object.values(fetched));
}

const hear = {
  ready() {
    ready = true;
    status("Ready. Nothing leaves this machine.");
    if (waiting) send();
  },
  claim({ words }) {
    claims += 1;
    by("bar").value = claims;
    by("claim").textContent = words;
    by("reading").textContent = "";
  },
  read({ bytes, name, size: whole }) {
    by("reading").textContent =
      `${size(bytes)} read so far; now ${shown(name)}, ${size(whole)}`;
  },
  answer({ answer, bytes }) { show(answer, bytes); },
  report({ page }) {
    by("rendered").hidden = !page;
    // One of its own for each report: Chromium leaves a frame blank that was hidden meanwhile.
    const frame = by("frame").cloneNode();
    frame.srcdoc = page;
    by("frame").replaceWith(frame);
    finish();
  },
  failed({ words }) {
    refuse(`found a fault of the page itself: ${shown(words)}, expected an answer of verify; ` +
      "reload the page, or run `python -m m43 verify RUN_DIR` on a clone");
  },
};

function send() {
  const { name, files, isBundle } = waiting;
  claims = 0;
  by("progress").hidden = false;
  by("claim").textContent = ready ? "Reading the names" : "Waiting for Python";
  if (!ready) return;
  const withoutWeights = !files.some(file => file.name.endsWith(".safetensors"));
  worker.postMessage({ kind: "verify", name, files, isBundle, withoutWeights });
}

// `name` is a path from the folder on; what JavaScript's own objects answer to could hide a file.
const strange = path => path.split("/").find(
  part => !part || part === "." || part === ".." || part in {});

function take(name, files, isBundle = false) {
  if (busy) return;
  by("answer").hidden = true;
  const odd = files.find(file => strange(file.name) !== undefined);
  if (!files.length) return refuse("found no file, expected a run folder such as m43_v1");
  if (files.length > MOST_FILES) {
    return refuse(`found more than ${MOST_FILES.toLocaleString("en")} files, expected those of a ` +
      "run: drop the run folder itself, not one above it");
  }
  if (odd || strange(name) !== undefined) {
    return refuse(`found a file called ${shown(odd ? odd.name : name)}, expected names of a run: ` +
      "do not rely on this folder");
  }
  busy = true;
  pickers(true);
  waiting = { name, files, isBundle };
  by("folder").textContent = shown(name);
  by("count").textContent = `${files.length.toLocaleString("en")} ` +
    `${files.length === 1 ? "file" : "files"}, ` +
    size(files.reduce((sum, file) => sum + file.data.size, 0));
  send();
}

function takeBundle(data) {
  if (!data.name.toLowerCase().endsWith(".zip")) {
    by("answer").hidden = true;
    return refuse(`found one file, ${shown(data.name)}, expected a run folder, or a bundle of one, ` +
      "which is a zip file: drop the whole folder");
  }
  if (data.size > MOST_BUNDLE) {
    return refuse(`found a bundle of ${size(data.size)}, expected ${size(MOST_BUNDLE)} at most: ` +
      "unpack it and drop the folder, or run `python -m m43 verify` on it");
  }
  take(data.name, [{ name: data.name, data }], true);
}

function picked(list) {
  const files = [...list];
  if (files.length === 1 && !files[0].webkitRelativePath) return takeBundle(files[0]);
  const name = files[0]?.webkitRelativePath.split("/")[0] ?? "";
  take(name, files.map(data => (
    { name: data.webkitRelativePath.split("/").slice(1).join("/"), data })));
}

async function dropped(transfer) {
  const entries = [...transfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length !== 1) {
    return refuse(`found ${entries.length} things, expected one run folder`);
  }
  if (entries[0].isFile) {
    return takeBundle(await new Promise((good, bad) => entries[0].file(good, bad)));
  }
  const files = [], folders = [[entries[0], ""]];
  while (folders.length && files.length <= MOST_FILES) {
    const [folder, above] = folders.pop(), reader = folder.createReader();
    for (;;) {
      const some = await new Promise((good, bad) => reader.readEntries(good, bad));
      if (!some.length || files.length > MOST_FILES) break;
      for (const each of some) {
        if (each.isDirectory) folders.push([each, `${above}${each.name}/`]);
        else {
          const data = await new Promise((good, bad) => each.file(good, bad));
          files.push({ name: above + each.name, data });
        }
      }
    }
  }
  take(entries[0].name, files);
}

function verdict(state, words, why) {
  const box = by("verdict"), kind = state === "accepted" ? "good" : "bad";
  box.replaceChildren(make("h2"), make("p", shown(why)));
  box.firstChild.append(make("span", `${kind === "good" ? "\u2713" : "\u2717"} ${words}`,
    `mark ${kind}`));
  box.className = `verdict ${kind}`;
  by("judged").textContent =
    waiting ? `${by("folder").textContent}: ${by("count").textContent}` : "";
  by("details").hidden = true;
  by("answer").hidden = false;
  box.focus();
}

function show(answer, bytes) {
  by("progress").hidden = true;
  verdict(answer.state, answer.head, answer.words);
  if (answer.state === "none") return;
  const { name } = waiting, wrong = answer.claims.filter(each => each.problems.length);
  const every = {
    accepted: "Every claim of this folder is supported by its records. ",
    refused: "The records support this account of a run that was NOT ACCEPTED. ",
    unsupported: "What does not hold stands below. ",
  };
  by("weights").textContent = every[answer.state] + (answer.weights
    ? `Every file was read on this machine, ${size(bytes)} in all.`
    : "The weights are not in this folder: nothing that it says of them was held against them.");
  by("contract").replaceChildren(...answer.contract.map(line => make("li", line)));
  by("another").hidden = !answer.contract.length;
  by("tally").textContent = `${answer.claims.length - wrong.length} of ${answer.claims.length} hold`;
  by("claims").replaceChildren(...answer.claims.map(row));
  by("signed").replaceChildren(...answer.signed.map(line => make("li", line)));
  by("unsigned").textContent = answer.unsigned;
  by("possible").replaceChildren(...answer.possible.map(([could, reveals]) => {
    const line = make("tr"), first = make("th"), cell = make("td");
    first.scope = "row";
    cell.dataset.label = "what would reveal it";
    first.append(...coded(could));
    cell.append(...coded(reveals));
    line.append(first, cell);
    return line;
  }));
  by("rendered").hidden = true;
  by("doubt").textContent = answer.state === "unsupported"
    ? "The folder was not verified: believe nothing here that the claims above do not support."
    : "";
  by("frame").title = `The report of ${shown(name)}`;
  by("frame").className = answer.state === "unsupported" ? "doubted" : "";
  by("details").hidden = false;
}

// Between two backticks stands a command.
const coded = text => text.split("`").map((part, place) => make(place % 2 ? "code" : "span", part));

function row(claim) {
  const line = make("tr"), state = make("td"), cell = make("th"), holds = !claim.problems.length;
  cell.scope = "row";
  cell.append(make("p", claim.words));
  for (const each of claim.problems.slice(0, 20)) {
    const list = make("dl", "", "problem");
    for (const part of ["where", "found", "expected"]) {
      list.append(make("dt", part), make("dd", each[part]));
    }
    list.append(make("dt", "what to do"), make("dd", each.action));
    cell.append(list);
  }
  if (claim.problems.length > 20) cell.append(make("p", `and ${claim.problems.length - 20} more`));
  state.dataset.label = "state";
  state.append(make("span", holds ? "\u2713 holds" : "\u2717 does not hold",
    `mark ${holds ? "good" : "bad"}`));
  line.append(state, cell);
  return line;
}

for (const [button, input] of [["pick", "files"], ["pick-bundle", "bundle"]]) {
  by(button).addEventListener("click", () => by(input).click());
  by(input).addEventListener("change", event => {
    picked(event.target.files);
    event.target.value = "";
  });
}
for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, event => { event.preventDefault(); by("drop").classList.add("over"); });
}
addEventListener("dragleave", event => {
  if (!event.relatedTarget) by("drop").classList.remove("over");
});
addEventListener("drop", event => {
  event.preventDefault();
  by("drop").classList.remove("over");
  if (!busy) {
    dropped(event.dataTransfer).catch(error => refuse(`found a folder that cannot be read: ` +
      `${shown(String(error))}, expected its files; drop it again`));
  }
});
begin().catch(error => {
  status("Python could not be fetched as it was built.");
  refuse(`found ${shown(String(error.message))}, expected the files of this folder as built; ` +
    "serve the whole folder, from the same place, over http or https");
  pickers(true);
});
