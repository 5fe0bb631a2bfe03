// SPDX-License-Identifier: Apache-2.0
// Uploads in pieces: one that was lost is sent again, and after a reload the same file
// goes on. Started by the event "upload-file" with a File; without scripts the form works.
"use strict";
{
  const form = document.querySelector("[data-upload]");
  const part = (name) => form.querySelector(`[data-progress${name}]`);
  const signs = (file) => [form.team.value, file.name, file.size, file.lastModified].join("/");
  let turn = null;
  let last = null;

  function show(done, size) {
    part("-figure").textContent = `${Math.floor((100 * done) / Math.max(size, 1))} %`;
    part("-bar").value = size ? done / size : 1;
  }

  function say(words) {
    if (part("-words").textContent !== words) part("-words").textContent = words;
  }

  function offer(...names) {
    for (const name of ["-stop", "-again", "-discard"]) part(name).hidden = !names.includes(name);
  }

  // What an earlier page began of this file, as the site has it; else a new upload.
  async function begun(file) {
    const { patiently, kept } = globalThis.sending;
    const before = kept();
    if (before?.signs === signs(file)) {
      const address = `${form.dataset.upload}${before.id}/`;
      const state = await patiently(address, null, turn).catch(() => null);
      const known = new Set(state?.parts);
      if (state?.status === "pending" && before.parts.every((id) => known.has(id))) return before;
    }
    const { name, size } = file;
    const fields = [["team", form.team.value], ["filename", name], ["bytes", size]];
    const made = await patiently(form.dataset.upload, fields, turn);
    return { signs: signs(file), name, size, id: made.id, piece: made.piece, parts: [] };
  }

  async function sendAll(file) {
    const { patiently, keep } = globalThis.sending;
    const state = await begun(file);
    const address = `${form.dataset.upload}${state.id}/`;
    for (let at = state.parts.length * state.piece; at < file.size; at += state.piece) {
      say("Sending. A broken connection costs nothing: it goes on from there.");
      turn.onprogress = (sent) => show(Math.min(at + sent, file.size), file.size);
      const piece = file.slice(at, at + state.piece);
      const stored = await patiently(`${address}parts/`, [["data", piece, "part"]], turn);
      state.parts.push(stored.id);
      keep(state);
    }
    show(file.size, file.size);
    say("All of it arrived. Checking every line…");
    turn.onprogress = null;
    const ids = state.parts.map((id) => ["part", id]);
    const done = await patiently(`${address}complete/${location.search}`, ids, turn);
    keep(null);
    location.assign(done.next);
  }

  async function upload(file) {
    if (turn) return;
    last = file;
    turn = { stopped: false, token: form.csrfmiddlewaretoken.value, say };
    part("").hidden = false;
    offer("-stop");
    form.querySelector("[data-unfinished]").hidden = true;
    part("-name").textContent = file.name;
    show(0, file.size);
    try {
      await sendAll(file);
    } catch (error) {
      say(error.message || (turn.stopped ? "Stopped." : "The connection is lost."));
      if (error instanceof globalThis.sending.Refused) offer();
      else offer("-again", "-discard");
    }
    turn = null;
  }

  document.addEventListener("upload-file", (event) => upload(event.detail));
  part("-again").addEventListener("click", () => upload(last));
  part("-stop").addEventListener("click", () => {
    turn.stopped = true;
    turn.request?.abort();
  });

  part("-discard").addEventListener("click", () => {
    const { kept, keep } = globalThis.sending;
    document.dispatchEvent(new CustomEvent("upload-discard", { detail: kept()?.id }));
    keep(null);
    part("").hidden = true;
  });
}
