// SPDX-License-Identifier: Apache-2.0
// The keyboard of the review screen: questions, answers, submit, undo. Before keys.js,
// which knows nothing of questions; what is not named here is left to it.
"use strict";
{
  const form = () => document.getElementById("judgement");
  const questions = () => [...document.querySelectorAll("#judgement .question")];
  const isText = (node) =>
    node.closest("textarea, select, input:not([type='radio']):not([type='checkbox'])");
  const sheet = () => document.querySelector("[popover]:popover-open");

  const here = () =>
    questions().find((one) => one.contains(document.activeElement)) ??
    questions().find((one) => one.hasAttribute("data-here")) ?? questions()[0];

  function mark(question) {
    for (const one of questions()) one.toggleAttribute("data-here", one === question);
  }

  function go(question) {
    if (!question) return;
    mark(question);
    question.scrollIntoView({ block: "nearest" });
    const fields = "input:not([type='hidden']), textarea, button";
    const first = question.querySelector("input:checked") ?? question.querySelector(fields);
    // Into a text only by its own key: the keys would be letters there.
    if (first && !isText(first)) first.focus({ preventScroll: true });
    else document.activeElement?.blur();
  }

  function step(by) {
    const all = questions();
    go(all[Math.min(Math.max(all.indexOf(here()) + by, 0), all.length - 1)]);
  }

  function submit() {
    // A click: htmx sends the value of the button that was clicked.
    form()?.querySelector("[data-submit]").click();
  }

  // An answer of the marked question, or of the only one that has such a key.
  function answer(key) {
    const of = (one) => one.querySelector(`[data-option="${CSS.escape(key)}"]`);
    const all = questions().map(of).filter(Boolean);
    const option = (here() && of(here())) ?? (all.length === 1 ? all[0] : null);
    if (!option) return false;
    const question = option.closest(".question");
    mark(question);
    option.click();
    if (option.matches("input")) option.focus({ preventScroll: true });
    if (option.type === "radio" && !form().hasAttribute("data-advance")) {
      const next = questions()[questions().indexOf(question) + 1];
      if (next) go(next);
    }
    return true;
  }

  function command(event) {
    if (event.key === "Enter") submit();
    else if (event.key === "s") document.dispatchEvent(new Event("review:keep"));
    else if (event.key === "z" && !isText(event.target)) {
      document.querySelector("[data-undo]")?.click();
    } else return false;
    return true;
  }

  function press(key) {
    if (key === "ArrowDown" || key === "ArrowUp") step(key === "ArrowDown" ? 1 : -1);
    else if (key === "Enter" && isText(here() ?? document.body) === null) {
      const text = here()?.querySelector("textarea, input:not([type='hidden'])");
      if (!text || !isText(text)) return false;
      text.focus();
    } else if (/^[a-z0-9]$/.test(key) && answer(key)) return true;
    else {
      const control = document.querySelector(`main [data-key="${CSS.escape(key)}"]`);
      if (!control || control.disabled) return false;
      if (control.matches("input, textarea")) control.focus();
      else control.click();
    }
    return true;
  }

  document.addEventListener(
    "keydown",
    (event) => {
      if (!form() || event.altKey || event.isComposing) return;
      const typing = isText(event.target);
      let done = false;
      if (event.ctrlKey || event.metaKey) done = command(event);
      else if (typing && event.key === "Escape" && !sheet()) {
        event.target.blur();
        done = true;
      } else if (typing && sheet() && event.key === "Enter") {
        sheet().querySelector("[type='submit']")?.click();
        done = true;
      } else if (!typing && !sheet()) done = press(event.key);
      if (!done) return;
      event.preventDefault();
      event.stopImmediatePropagation();
    },
    true,
  );

  document.addEventListener("focusin", (event) => {
    const question = event.target.closest?.(".question");
    if (question) mark(question);
  });

  document.addEventListener("change", (event) => {
    if (event.target.type === "radio" && form()?.hasAttribute("data-advance")) submit();
  });

  function begin() {
    if (form()) mark(document.querySelector(".question:has(.errorlist)") ?? questions()[0]);
  }

  document.addEventListener("DOMContentLoaded", begin);
  document.addEventListener("htmx:afterSwap", (event) => {
    // What was swapped out still is the target; the new one is in the page.
    if (event.detail.target.id === "review") begin();
  });
}
