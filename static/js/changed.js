// SPDX-License-Identifier: Apache-2.0
// Marks the fields that differ from the batch that a new one is like.
"use strict";
{
  document.addEventListener("input", (event) => {
    const field = event.target.closest("[data-was]");
    if (!field) return;
    const { type, checked, value } = event.target;
    const now = type === "checkbox" ? (checked ? "yes" : "no") : value;
    field.classList.toggle("is-changed", now !== field.dataset.was);
  });
}
