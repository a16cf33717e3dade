// Draws ABC texts with abcjs, in a DOM without a browser: reads JSON {lines: [{abc, width}]}, writes JSON [svg].
// node _abcjs.cjs FOLDER, where FOLDER/node_modules holds abcjs and linkedom.
const load = require("module").createRequire(process.argv[2] + "/");
const { window, document } = load("linkedom").parseHTML("<!doctype html><html><body></body></html>");
Object.assign(globalThis, { window, document });
if (!globalThis.navigator) globalThis.navigator = { userAgent: "node" };
// abcjs asks for the size of texts, which only a browser can measure; about right for the digits and letters it draws.
for (const name of ["svg", "text", "g", "path"]) {
  const kind = Object.getPrototypeOf(document.createElementNS("http://www.w3.org/2000/svg", name));
  kind.getBBox = function () {
    return { x: 0, y: 0, width: 8 * (this.textContent || "").length, height: 16 };
  };
}
console.log = () => {}; // it may log there, where our answer goes
const abcjs = load("abcjs");
const { lines } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const drawn = lines.map(({ abc, width }) => {
  const page = document.createElement("div");
  document.body.appendChild(page);
  try {
    abcjs.renderAbc(page, abc, { staffwidth: width, add_classes: true, paddingtop: 40, paddingbottom: 40 });
    return page.innerHTML;
  } catch (error) {
    return `error: ${error}`;
  } finally {
    page.remove();
  }
});
process.stdout.write(JSON.stringify(drawn));
