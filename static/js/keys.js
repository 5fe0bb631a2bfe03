// SPDX-License-Identifier: Apache-2.0
// Keys: every control with data-key answers to it; j and k walk through [data-rows].
"use strict";
{
  function typing(event) {
    return (
      event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented ||
      event.target.closest("input, textarea, select, [contenteditable]")
    );
  }

  function walk(step) {
    const links = [...document.querySelectorAll("[data-rows] [data-row-link]")];
    if (!links.length) return;
    const here = links.indexOf(document.activeElement);
    const next = here < 0 ? (step > 0 ? 0 : links.length - 1) : here + step;
    const link = links[Math.min(Math.max(next, 0), links.length - 1)];
    link.focus();
    link.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if (typing(event)) return;
    // Behind an open sheet nothing is pressed; the browser closes it on Escape.
    const sheet = document.querySelector("[popover]:popover-open");
    if (sheet) {
      if (event.key === "?" && sheet.id === "keys-sheet") sheet.hidePopover();
      return;
    }
    if (event.key === "j" || event.key === "k") {
      walk(event.key === "j" ? 1 : -1);
      event.preventDefault();
      return;
    }
    if (event.key === "x") {
      document.activeElement?.closest("tr")?.querySelector("td input[type='checkbox']")?.click();
      return;
    }
    // A page's own controls come before those of the frame around it.
    const controls = ["main [data-key]", "[data-key]"];
    for (const control of controls.flatMap((found) => [...document.querySelectorAll(found)])) {
      if (control.dataset.key === event.key && !control.disabled) {
        event.preventDefault();
        if (control.matches("input, textarea")) control.focus();
        else control.click();
        return;
      }
    }
  });
}
