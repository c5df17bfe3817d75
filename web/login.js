/** The login page's theme, and its shortcut: after a link on a foreign page, a browser shows its cookie only now. */

import { kept } from "./lib/storage.js";
import { find } from "./views/dom.js";
import { themeView } from "./views/theme.js";

themeView(find(document, "[data-testid=theme]", HTMLButtonElement), kept(() => localStorage), () => {});
const session = await (await fetch("api/session")).json();
if (session.logged_in) location.replace(`./${location.search}`);
