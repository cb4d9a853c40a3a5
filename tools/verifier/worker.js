// Runs m43's own verify, in Python, beside the page: nothing here decides anything.
let python, checker, running = 0, readBytes = 0, told = 0;

const say = (kind, more) => postMessage({ kind, ...more });

async function start(base, parts) {
  // What the page fetched and compared is what Pyodide is given when it asks for it.
  const outside = self.fetch;
  self.fetch = async (asked, ...more) => {
    const name = String(asked).slice(base.length), packed = parts[`${name}.gz`];
    if (!packed && !parts[name]) return outside(asked, ...more);
    const bytes = new Blob([packed ?? parts[name]]).stream();
    delete parts[packed ? `${name}.gz` : name];
    const type = name.endsWith(".wasm") ? "application/wasm" : "application/octet-stream";
    return new Response(packed ? bytes.pipeThrough(new DecompressionStream("gzip")) : bytes,
      { headers: { "content-type": type } });
  };
  const { loadPyodide } = await import(`${base}runtime/pyodide.mjs`);
  python = await loadPyodide({ indexURL: `${base}runtime/` });
  python.unpackArchive(parts["m43.zip"], "zip", { extractDir: "/m43" });
  delete parts["m43.zip"];
  python.runPython("import sys; sys.path.insert(0, '/m43'); sys.dont_write_bytecode = True");
  const watch = words => say("claim", { words });
  checker = python.pyimport("tools.verifier.check").Checker("/m43", watch);
  watchReads();
  say("ready");
}

// A file is read through one window: a slice for every piece that Python asks for would pile up,
// as none is freed before verify returns. The page hears how far it is, ten times a second at most.
const WINDOW = 1 << 23;

function watchReads() {
  const streams = python.FS.filesystems.WORKERFS.stream_ops, reader = new FileReaderSync();
  let open = { node: null, start: 0, bytes: new Uint8Array(0) }, uncollected = 0;
  streams.read = ({ node }, buffer, offset, length, position) => {
    if (position >= node.size) return 0;
    const inside = position >= open.start && position < open.start + open.bytes.length;
    if (open.node !== node || !inside) {
      // Never touched, so it takes no memory; counted, it has Chromium collect what was read before
      // it is gigabytes. That takes a while: not for every small file.
      if (uncollected >= WINDOW) {
        new ArrayBuffer(1 << 28);
        uncollected = 0;
      }
      open = { node: null, start: 0, bytes: new Uint8Array(0) };
      const slice = node.contents.slice(position, position + WINDOW);
      open = { node, start: position, bytes: new Uint8Array(reader.readAsArrayBuffer(slice)) };
      uncollected += open.bytes.length;
    }
    const from = position - open.start, piece = open.bytes.subarray(from, from + length);
    buffer.set(piece, offset);
    readBytes += piece.length;
    if (performance.now() - told > 100) {
      told = performance.now();
      say("read", { bytes: readBytes, name: node.name, size: node.size });
    }
    return piece.length;
  };
}

// A bundle is one file, which verify itself opens; a folder is mounted under its name.
function verify(name, files, isBundle, withoutWeights) {
  const place = `/runs/${(running += 1)}`;
  const folder = isBundle ? place : `${place}/${name}`;
  readBytes = 0;
  python.FS.mkdirTree(folder);
  python.FS.mount(python.FS.filesystems.WORKERFS, { blobs: files }, folder);
  try {
    const path = isBundle ? `${place}/${name}` : folder;
    const told = JSON.parse(checker.check.callKwargs(path, { without_weights: withoutWeights }));
    say("answer", { answer: told, bytes: readBytes });
    // The verdict does not wait for the picture of it.
    say("report", { page: told.head && told.words && told.signed.length ? checker.report() : "" });
  } finally {
    python.FS.unmount(folder);
  }
}

onmessage = async ({ data }) => {
  try {
    if (data.kind === "start") await start(data.base, data.parts);
    else verify(data.name, data.files, data.isBundle, data.withoutWeights);
  } catch (error) {
    say("failed", { words: String(error?.message ?? error).trim().split("\n").pop() });
  }
};
