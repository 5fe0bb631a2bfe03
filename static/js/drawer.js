// SPDX-License-Identifier: Apache-2.0
// One result beside the table: opens with its link, j and k go on to the next row, the
// address names the row. Without this file the link opens a page of its own.
"use strict";
{
  const drawer = () => document.getElementById("row-drawer");
  const typing = (event) =>
    event.ctrlKey || event.metaKey || event.altKey ||
    event.target.closest("textarea, select, input:not([type='checkbox'])");

  let opener = null;

  function mark(link) {
    for (const other of document.querySelectorAll("[data-row-link][aria-current]")) {
      other.removeAttribute("aria-current");
    }
    if (link) link.setAttribute("aria-current", "true");
  }

  function close() {
    if (!drawer()?.open) return;
    drawer().close();
    mark(null);
    history.replaceState(null, "", location.pathname + location.search);
    opener?.focus();
  }

  function next(step) {
    const links = [...document.querySelectorAll("[data-rows] [data-row-link]")];
    const link = links[links.indexOf(opener) + step];
    if (!link) return;
    link.scrollIntoView({ block: "nearest" });
    link.click();
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.elt.matches?.("[data-row-link]")) opener = event.detail.elt;
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target !== drawer()) return;
    drawer().dataset.reader = "";
    drawer().querySelector("[data-close-drawer]").hidden = false;
    if (!drawer().open) drawer().show();
    drawer().scrollTop = 0;
    if (!drawer().contains(document.activeElement)) {
      drawer().querySelector(".drawer-body").focus({ preventScroll: true });
    }
    mark(opener);
    if (opener) history.replaceState(null, "", `#${opener.id}`);
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-close-drawer]")) close();
  });

  // Before keys.js, which would only move the focus.
  document.addEventListener(
    "keydown",
    (event) => {
      // An open sheet lies above: its keys are its own.
      const sheet = document.querySelector("[popover]:popover-open");
      if (!drawer()?.open || sheet) return;
      if (event.key === "x" && !typing(event)) {
        opener?.closest("tr").querySelector("td input[type='checkbox']")?.click();
      } else
      if (event.key === "Escape") close();
      else if ((event.key === "j" || event.key === "k") && !typing(event)) {
        next(event.key === "j" ? 1 : -1);
      } else return;
      event.preventDefault();
      event.stopImmediatePropagation();
    },
    true,
  );

  document.addEventListener("DOMContentLoaded", () => {
    // A link to a row of this page opens it.
    const link = document.getElementById(location.hash.slice(1));
    if (link?.matches("[data-row-link]")) setTimeout(() => link.click());
  });
}
