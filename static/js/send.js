// SPDX-License-Identifier: Apache-2.0
// Sends to the site and tries again while the connection is broken, and keeps what was
// sent of an upload; for upload.js.
"use strict";
{
  const WAITS = [1, 2, 4, 8, 15, 15];
  const KEPT = "batchsite-upload";
  const SIGNED_OUT = "You were signed out. Sign in, and choose the file again: it goes on.";

  // What trying again does not mend.
  class Refused extends Error {}

  // A GET without fields. `turn` has `stopped`, and gets the request that can be aborted.
  function send(address, fields, turn) {
    const body = fields && new FormData();
    for (const [name, value] of fields ?? []) body.append(name, value);
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      turn.request = request;
      request.open(fields ? "POST" : "GET", address);
      request.setRequestHeader("X-CSRFToken", turn.token);
      request.upload.onprogress = (event) => turn.onprogress?.(event.loaded);
      request.onerror = request.onabort = () => reject(new Error());
      request.onload = () => {
        let told = null;
        try {
          told = JSON.parse(request.responseText);
        } catch {
          // A page instead of an answer: told below.
        }
        const { status } = request;
        if (status === 200 && told) resolve(told);
        else if (status === 429 || status >= 500) reject(new Error(told?.error));
        else if (status === 200) reject(new Refused(SIGNED_OUT));
        else reject(new Refused(told?.error ?? `The site answered ${status}. Load the page again.`));
      };
      request.send(body);
    });
  }

  async function patiently(address, fields, turn) {
    for (const wait of [...WAITS, null]) {
      try {
        return await send(address, fields, turn);
      } catch (error) {
        if (error instanceof Refused || turn.stopped || wait === null) throw error;
        turn.say(`${error.message || "The connection was lost."} Trying again in ${wait} s.`);
        await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
        if (turn.stopped) throw error;
      }
    }
  }

  // The upload that is under way, so that it outlives the page; null when it has ended.
  function keep(state) {
    if (state) localStorage.setItem(KEPT, JSON.stringify(state));
    else localStorage.removeItem(KEPT);
  }

  function kept() {
    return JSON.parse(localStorage.getItem(KEPT) ?? "null");
  }

  globalThis.sending = { patiently, Refused, keep, kept };
}
