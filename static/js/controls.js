// SPDX-License-Identifier: Apache-2.0
// Theme switch, copy buttons, closing of messages. All but copying works without this file.
"use strict";
{
  const YEAR = 365 * 24 * 3600;

  function chooseTheme(theme) {
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `theme=${theme}; path=/; max-age=${YEAR}; samesite=lax${secure}`;
    document.documentElement.dataset.theme = theme;
    for (const button of document.querySelectorAll(".themes button")) {
      button.setAttribute("aria-pressed", String(button.value === theme));
    }
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copyFrom);
    const text = button.dataset.copy ?? source?.textContent ?? "";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Browsers give the clipboard to https and localhost only.
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "visually-hidden";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const label = button.getAttribute("aria-label");
    button.dataset.copied = "";
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      delete button.dataset.copied;
      button.setAttribute("aria-label", label);
    }, 1500);
  }

  document.addEventListener("submit", (event) => {
    if (!event.target.matches(".themes") || !event.submitter) return;
    event.preventDefault();
    chooseTheme(event.submitter.value);
  });

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-copy], [data-copy-from], [data-dismiss]");
    if (!target) return;
    if (target.hasAttribute("data-dismiss")) target.closest(".message").remove();
    else copy(target);
  });

  // A click for a new tab or window is the browser's: htmx would take it for its own.
  document.addEventListener(
    "click",
    (event) => {
      const elsewhere = event.ctrlKey || event.metaKey || event.shiftKey;
      if (elsewhere && event.target.closest("a[hx-get]")) event.stopPropagation();
    },
    true,
  );

  document.addEventListener("keydown", (event) => {
    if (event.key !== "t" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select")) return;
    const themes = [...document.querySelectorAll(".themes button")].map((b) => b.value);
    const now = themes.indexOf(document.documentElement.dataset.theme);
    if (themes.length) chooseTheme(themes[(now + 1) % themes.length]);
  });
}
