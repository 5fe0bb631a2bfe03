// SPDX-License-Identifier: Apache-2.0
// Nothing that is typed on the review screen is lost: it is kept in the browser at once
// (review_store.js) and as a draft on the server after two seconds, and again when the
// connection is back.
"use strict";
{
  const SOON = 2000;
  const AGAIN = 5000;
  // What keeps the item held for somebody who reads.
  const ALIVE = 60000;
  let timer = 0;
  let changed = false;
  let active = false;

  const form = () => document.getElementById("judgement");
  const store = window.reviewStore;

  function say(words, late) {
    const node = document.querySelector("[data-said]");
    if (!node) return;
    node.textContent = words;
    node.classList.toggle("is-amber", Boolean(late));
  }

  function plan(milliseconds) {
    clearTimeout(timer);
    timer = setTimeout(save, milliseconds);
  }

  async function save() {
    const node = form();
    if (!node || node.hasAttribute("data-submitted")) return;
    clearTimeout(timer);
    changed = active = false;
    const data = new FormData(node);
    data.set("act", "draft");
    let told = null;
    try {
      const answer = await fetch(node.action, {
        method: "POST",
        body: data,
        headers: { Accept: "application/json", "HX-Request": "true" },
      });
      if (answer.headers.get("HX-Redirect")) {
        say("you are signed out; what you typed is kept in this browser", true);
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      told = await answer.json();
    } catch {
      changed = true;
      say("not saved: the site does not answer; kept in this browser", true);
      plan(AGAIN);
      return;
    }
    if (node !== form()) return;
    const why = Object.values(told.why)[0];
    if (!told.saved) say(why ?? "not saved", true);
    else if (!told.held) say("saved; others may have the item by now", true);
    else say("saved");
    if (told.saved && !changed) store.forget(node);
  }

  function begin() {
    const node = form();
    clearTimeout(timer);
    changed = active = false;
    if (!node || !store.take(node)) return;
    changed = true;
    plan(SOON);
  }

  document.addEventListener("input", (event) => {
    const node = form();
    if (!node?.contains(event.target) || !event.target.name?.startsWith("a-")) return;
    changed = true;
    store.put(node);
    if (!node.hasAttribute("data-submitted")) plan(SOON);
  });

  document.addEventListener("review:keep", save);
  addEventListener("online", () => changed && save());
  for (const sign of ["pointermove", "keydown", "scroll"]) {
    document.addEventListener(sign, () => (active = true), { capture: true, passive: true });
  }
  setInterval(() => active && !document.hidden && save(), ALIVE);
  // A draft that is sent beside the judgement would only take its words from the screen.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.elt === form()) clearTimeout(timer);
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr, elt } = event.detail;
    if (target.id !== "review" || xhr.status !== 200 || elt !== form()) return;
    // What came back is another item, or the same one with what is wrong: see begin().
    const next = new DOMParser().parseFromString(xhr.responseText, "text/html");
    const kept = next.getElementById("judgement")?.dataset.keep;
    if (kept !== elt.dataset.keep) store.forget(elt);
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id === "review") begin();
  });
  for (const sign of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(sign, (event) => {
      if (event.detail.elt !== form()) return;
      store.put(form());
      say("not submitted: the site does not answer; kept in this browser", true);
    });
  }
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.elt === form()) say("the site could not take it; try again", true);
  });
  document.addEventListener("DOMContentLoaded", begin);
}
