// Has the page's own Python compile what the page loads: node bytecode.mjs FOLDER, as it is built.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const { loadPyodide } = await import(pathToFileURL(`${folder}/runtime/pyodide.mjs`));
const python = await loadPyodide({ indexURL: `${folder}/runtime/` });
// Where worker.js unpacks it.
const packed = new Uint8Array(readFileSync(`${folder}/m43.zip`)).buffer;
python.unpackArchive(packed, "zip", { extractDir: "/m43" });
python.FS.mkdirTree("/site");
python.FS.mount(python.FS.filesystems.NODEFS, { root: folder }, "/site");
python.runPython("import sys; sys.path.insert(0, '/m43'); sys.dont_write_bytecode = True");
python.pyimport("tools.verifier.check");
python.pyimport("tools.verifier.bytecode").compile_loaded(
  "/site/runtime/python_stdlib.zip", "/site/m43.zip", "/m43");
