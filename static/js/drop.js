// SPDX-License-Identifier: Apache-2.0
// A file that is dropped, chosen or pasted as text goes to upload.js; one that is thrown
// away goes from the site, too.
"use strict";
{
  const form = document.querySelector("[data-upload]");
  const zone = form.querySelector("[data-drop]");
  const input = zone.querySelector("input[type=file]");
  const hand = (file) => document.dispatchEvent(new CustomEvent("upload-file", { detail: file }));
  const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

  input.addEventListener("change", () => {
    const [file] = input.files;
    // Empty again, so that the same file can be chosen once more.
    if (file) hand(file);
    input.value = "";
  });

  // On the whole page: a file that misses the zone would replace the page.
  document.addEventListener("dragover", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    zone.classList.add("is-over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.classList.remove("is-over");
  });
  document.addEventListener("drop", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    zone.classList.remove("is-over");
    const [file] = event.dataTransfer.files;
    if (file) hand(file);
  });

  // An upload that is not told of this ends by itself, after an hour.
  document.addEventListener("upload-discard", ({ detail: id }) => {
    const headers = { "X-CSRFToken": form.csrfmiddlewaretoken.value };
    if (id) fetch(`${form.dataset.upload}${id}/cancel/`, { method: "POST", headers }).catch(() => {});
  });

  form.addEventListener("submit", (event) => {
    const text = form.text.value;
    if (!text.trim()) return;
    event.preventDefault();
    hand(new File([text], "pasted.jsonl", { lastModified: 0 }));
  });

  const before = globalThis.sending.kept();
  if (before) {
    const note = form.querySelector("[data-unfinished]");
    const share = Math.floor((100 * before.parts.length * before.piece) / before.size);
    note.querySelector("span").textContent = `“${before.name}” stopped at ${share} %. Choose the same file again within an hour, and it goes on from there.`;
    note.hidden = false;
  }
}
