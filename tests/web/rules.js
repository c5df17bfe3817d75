/** The engine's rules as `/api/rules` serves them; pytest holds the file to them. */

import { readFileSync } from "node:fs";

/** @type {import("../../web/lib/schema.js").Declared} */
export const { rules: RULES, shared: SHARED } = JSON.parse(readFileSync(new URL("../fixtures/rules.json", import.meta.url), "utf8"));
