/** Light or dark: as the system has it until a person chooses. */

const KEY = "clipcore.theme";

/**
 * @param {HTMLElement} button
 * @param {import("../lib/storage.js").Keeper} storage
 * @param {() => void} onChange
 */
export function themeView(button, storage, onChange) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const chosen = storage.getItem(KEY);
  if (chosen) root.dataset.theme = chosen;
  button.addEventListener("click", () => {
    const theme = (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark" ? "light" : "dark";
    root.dataset.theme = theme;
    storage.setItem(KEY, theme);
    onChange();
  });
  dark.addEventListener("change", onChange);
}
