/** The help: how to read the charts, three questions answered with the run's own numbers, and the keys. */

import { answers } from "../lib/answers.js";
import { find, make, setText } from "./dom.js";

/**
 * @param {HTMLDialogElement} dialog
 * @param {import("../store.js").Store} store
 * @returns {() => void}  opens it
 */
export function helpView(dialog, store) {
  const list = find(dialog, "#questions", HTMLElement);
  const entries = answers(store.table, "").map(({ question, answer, sources }) => {
    const here = make("b");
    const links = sources.map(({ title, url }) => make("a", { href: url, target: "_blank", rel: "noreferrer" }, title));
    const text = make("p", {}, `${answer} `, here, " ", ...links.flatMap((link, i) => (i ? [", ", link] : [link])));
    list.append(make("details", { name: "question" }, make("summary", {}, question), text));
    return here;
  });
  return () => {
    const now = answers(store.table, String(store.run?.control.mode ?? ""));
    entries.forEach((here, i) => setText(here, now[i].here));
    dialog.showModal();
  };
}
