// SPDX-License-Identifier: Apache-2.0
// Marked parts of an answer, and how long it was before the eyes. Parts are counted in
// characters as Python counts them: a letter outside the first plane is one.
"use strict";
{
  const field = () => document.querySelector("[data-spans]");
  const text = () => document.querySelector("[data-spans-of]");
  const count = (string) => [...string].length;

  function spans() {
    try {
      const found = JSON.parse(field().value || "[]");
      return Array.isArray(found) ? found : [];
    } catch {
      return [];
    }
  }

  function keep(found) {
    field().value = JSON.stringify(found);
    field().dispatchEvent(new Event("input", { bubbles: true }));
  }

  function chosen() {
    const selection = getSelection();
    if (!selection.rangeCount || selection.isCollapsed) return null;
    const range = selection.getRangeAt(0);
    if (!text()?.contains(range.commonAncestorContainer)) return null;
    const before = document.createRange();
    before.setStart(text(), 0);
    before.setEnd(range.startContainer, range.startOffset);
    const start = count(before.toString());
    return { start, end: start + count(range.toString()) };
  }

  // The text is drawn anew with its marks; one that begins within another is cut there.
  function draw() {
    if (!field() || !text()) return;
    const letters = [...text().textContent];
    const list = document.querySelector("[data-marked]");
    text().replaceChildren();
    list.replaceChildren();
    let at = 0;
    for (const [n, one] of spans().entries()) {
      const from = Math.max(one.start, at);
      text().append(letters.slice(at, from).join(""));
      const mark = document.createElement("mark");
      mark.textContent = letters.slice(from, one.end).join("");
      text().append(mark);
      at = Math.max(at, one.end);
      const row = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet";
      button.textContent = "take away";
      button.addEventListener("click", () => keep(spans().filter((_, m) => m !== n)));
      const quote = letters.slice(one.start, one.end).join("");
      row.append(`${one.label}: “${quote.length > 60 ? `${quote.slice(0, 60)}…` : quote}” `, button);
      list.append(row);
    }
    text().append(letters.slice(at).join(""));
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-mark]");
    const part = button && chosen();
    if (!part) return;
    const found = [...spans(), { ...part, label: button.dataset.mark }];
    found.sort((a, b) => a.start - b.start || a.end - b.end);
    keep(found);
  });
  document.addEventListener("input", (event) => event.target === field() && draw());

  let since = Date.now();
  function begin() {
    const clock = document.querySelector("[data-seconds]");
    if (clock) since = Date.now() - Number(clock.value) * 1000;
    draw();
  }
  setInterval(() => {
    const clock = document.querySelector("[data-seconds]");
    if (document.hidden) since += 1000;
    else if (clock) clock.value = String(Math.round((Date.now() - since) / 1000));
  }, 1000);
  document.addEventListener("DOMContentLoaded", begin);
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id === "review") begin();
  });
}
