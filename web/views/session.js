/** Logging in and out: offered where it changes what one may do. */

import { getSession } from "../api.js";
import { find } from "./dom.js";

/**
 * @param {HTMLElement} bar
 * @param {import("../store.js").Store} store
 */
export function sessionView(bar, store) {
  const login = find(bar, "#log-in", HTMLAnchorElement);
  const logout = find(bar, "#log-out", HTMLFormElement);
  const toLogin = () => `login${location.search}`;
  login.addEventListener("click", () => (login.href = toLogin()));
  const show = async () => {
    const session = await getSession();
    const hasToken = session.logged_in || session.login !== "nothing";
    const loginHelps = hasToken && !session.logged_in;
    login.hidden = !loginHelps;
    if (loginHelps !== store.loginHelps || hasToken !== store.hasToken) store.setLogin({ loginHelps, hasToken });
    logout.hidden = !session.logged_in;
    if (session.login === "viewing" && !session.logged_in) location.assign(toLogin());
  };
  /** @type {import("../store.js").Connection | null} */
  let asked = null;
  store.watch(["connection"], () => {
    if (store.connection === asked) return; // what is known of the login has changed, not the connection
    asked = store.connection;
    show().catch(() => {}); // the server is away: the connection says so, and when it is back this is asked again
  });
}
