/** The configuration in force as lines for one's own script. */

/** @typedef {import("./wire.js").Json} Json */

/**
 * @param {import("./wire.js").Patch} control
 * @returns {string} an import, `clipper = clipcore.Clipper(model, mode="norm", max_norm=0.5)`, and how to use it
 */
export function toCode(control) {
  const settings = Object.entries(control).map(([name, value]) => `${name}=${literal(value)}`);
  if (control.nonfinite === "skip") settings.push("optimizer=optimizer"); // whose step is to be skipped
  return [
    "import clipcore",
    "",
    `clipper = clipcore.Clipper(model, ${settings.join(", ")})`,
    "",
    "# then in each step",
    "loss.backward()",
    "clipper.clip_()",
    "optimizer.step()",
    "",
  ].join("\n");
}

/**
 * A value as Python writes it.
 * @param {Json} value
 * @returns {string}
 */
function literal(value) {
  if (value === "Infinity") return 'float("inf")';
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  return JSON.stringify(value);
}
