// SPDX-License-Identifier: Apache-2.0
// Polling manners: stop on demand, slow down while hidden, swap nothing that is unchanged,
// say how old the page is, keep relative times true.
"use strict";
{
  const HIDDEN_MS = 30000;
  const etags = new Map();
  let paused = false;
  let updated = Date.now();
  const sent = new Map();
  let failing = false;
  let before = new Map();

  const fresh = () => document.querySelector("[data-fresh]");

  function ago(seconds) {
    if (seconds < 5) return "just now";
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} d ago`;
  }

  function say() {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const seconds = Math.floor((now - Date.parse(time.dateTime)) / 1000);
      const text = ago(seconds);
      if (seconds >= 0 && time.textContent !== text) time.textContent = text;
    }
    const text = document.querySelector("[data-fresh-text]");
    if (!text) return;
    const age = ago(Math.floor((now - updated) / 1000));
    const words = failing ? `no answer from the site; read ${age}` : `updated ${age}`;
    const whole = paused ? `not updating; read ${age}` : words;
    if (text.textContent !== whole) text.textContent = whole;
    fresh().classList.toggle("is-late", failing && !paused);
  }

  function figures() {
    return new Map(
      [...document.querySelectorAll("[data-figure]")].map((node) => [
        node.dataset.figure,
        node.textContent,
      ]),
    );
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-pause]");
    if (!button) return;
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    button.firstChild.textContent = paused ? "update again " : "stop updating ";
    say();
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    const poll = event.detail.elt.id;
    const hidden = document.hidden && Date.now() - (sent.get(poll) ?? 0) < HIDDEN_MS;
    if (paused || hidden) event.preventDefault();
    else sent.set(poll, Date.now());
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target, serverResponse } = event.detail;
    failing = xhr.status >= 500;
    if (xhr.status !== 200) return;
    if (target.id !== "alarms") updated = Date.now();
    const etag = xhr.getResponseHeader("ETag");
    if (!etag || !serverResponse || !target.id) return;
    // Who has ticked rows is about to do something with them.
    if (target.querySelector("td input:checked")) {
      event.detail.shouldSwap = false;
      return;
    }
    if (etags.get(target.id) === etag) event.detail.shouldSwap = false;
    etags.set(target.id, etag);
    before = figures();
  });

  document.addEventListener("htmx:afterSettle", () => {
    for (const node of document.querySelectorAll("[data-figure]")) {
      const old = before.get(node.dataset.figure);
      if (old !== undefined && old !== node.textContent) node.classList.add("changed");
    }
    say();
  });

  document.addEventListener("htmx:sendError", () => {
    failing = true;
    say();
  });

  setInterval(say, 1000);
}
