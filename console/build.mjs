// Makes barnabas/gateway/console/dist from the sources here. `make console` runs it; what it makes is committed, so
// that neither users nor tests need Node. Without options of time or place: the same sources give the same bytes.
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "barnabas", "gateway", "console", "dist");
const { dependencies } = JSON.parse(await readFile(join(here, "package.json"), "utf8"));

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

async function filesBelow(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

// What the bundle is made of, one hash over all of it; tests/unit/gateway/test_console_bundle.py does the same sum.
async function sourcesHash() {
  const named = ["build.mjs", "index.html", "package.json", "tsconfig.json"].map((name) => join(here, name));
  const files = [...named, ...(await filesBelow(join(here, "src")))];
  const lines = [];
  for (const file of files) lines.push(`${sha256(await readFile(file))}  ${relative(here, file)}\n`);
  return sha256(lines.sort((a, b) => (a.slice(66) < b.slice(66) ? -1 : 1)).join(""));
}

async function licences() {
  const parts = ["The console's bundle contains these libraries.\n"];
  for (const name of Object.keys(dependencies).sort()) {
    const text = await readFile(join(here, "node_modules", name, "LICENSE"), "utf8");
    parts.push(`${"=".repeat(78)}\n${name} ${dependencies[name]}\n${"=".repeat(78)}\n\n${text.trim()}\n`);
  }
  return parts.join("\n");
}

const bundle = await build({
  absWorkingDir: here,
  entryPoints: { console: "src/main.tsx", icon: "src/icon.svg" },
  loader: { ".svg": "copy" },
  bundle: true,
  format: "esm",
  target: ["es2022"],
  minify: true,
  legalComments: "none", // they are in licences.txt, whole
  entryNames: "[name]-[hash]",
  outdir: "/dist",
  write: false,
  define: { "process.env.NODE_ENV": '"production"' },
});

await rm(out, { recursive: true, force: true });
await mkdir(join(out, "assets"), { recursive: true });
const names = {};
for (const file of bundle.outputFiles) {
  const name = basename(file.path);
  names[name.replace(/-[A-Z0-9]{8}\./, ".")] = name;
  await writeFile(join(out, "assets", name), file.contents);
}
const texts = await licences();
names["licences.txt"] = `licences-${sha256(texts).slice(0, 8).toUpperCase()}.txt`;
await writeFile(join(out, "assets", names["licences.txt"]), texts);

const page = (await readFile(join(here, "index.html"), "utf8")).replace(/\{\{(.+?)\}\}/g, (_, name) => {
  if (!(name in names)) throw new Error(`index.html names ${name}, which was not made`);
  return `/assets/${names[name]}`;
});
await writeFile(join(out, "index.html"), page);
const files = {};
for (const file of (await filesBelow(out)).sort()) files[relative(out, file)] = sha256(await readFile(file));
const manifest = { sources: await sourcesHash(), assets: names, files, libraries: dependencies };
await writeFile(join(out, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
for (const name of Object.values(names)) console.log(`assets/${name}`);
