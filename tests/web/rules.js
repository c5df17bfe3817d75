/** The engine's rules as `/api/rules` serves them; pytest holds the file to them. */

import { readFileSync } from "node:fs";

/** @type {import("../../web/lib/schema.js").Rules} */
export const RULES = JSON.parse(readFileSync(new URL("../fixtures/rules.json", import.meta.url), "utf8"));
