// SPDX-License-Identifier: Apache-2.0
// What is typed on the review screen, kept in the browser under the item, its version and
// the person, until the server has it.
"use strict";
{
  const place = (node) => `review.${node.dataset.keep}`;
  const answers = (node) => [...new FormData(node)].filter(([name]) => name.startsWith("a-"));

  // The browser's place may be full, or closed to pages: the server's draft is left then.
  function quietly(work) {
    try {
      return work();
    } catch {
      return null;
    }
  }

  window.reviewStore = {
    put: (node) =>
      quietly(() => localStorage.setItem(place(node), JSON.stringify(answers(node)))),

    forget: (node) => quietly(() => localStorage.removeItem(place(node))),

    // Put what is kept into the form; whether there was something.
    take(node) {
      const kept = quietly(() => JSON.parse(localStorage.getItem(place(node))));
      if (!Array.isArray(kept)) return false;
      for (const field of node.querySelectorAll("[name^='a-']")) {
        const values = kept.filter(([name]) => name === field.name).map(([, one]) => one);
        if (field.type === "radio" || field.type === "checkbox") {
          field.checked = values.includes(field.value);
        } else if (values.length) field.value = values[0];
        field.dispatchEvent(new Event("input"));
      }
      return true;
    },
  };
}
