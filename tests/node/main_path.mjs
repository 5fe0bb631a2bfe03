// SPDX-License-Identifier: Apache-2.0
// OpenAI's client for Node, from upload to answers, against the site that
// OPENAI_BASE_URL and OPENAI_API_KEY name. Prints one line of JSON when all is well.
import assert from "node:assert/strict";
import { createReadStream, writeFileSync } from "node:fs";
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const FINAL = ["completed", "failed", "expired", "cancelled"];

function line(customId, body = {}) {
  const messages = [{ role: "user", content: `say ${customId}` }];
  return JSON.stringify({
    custom_id: customId,
    method: "POST",
    url: "/v1/chat/completions",
    body: { model: "tiny", messages, ...body },
  });
}

async function upload(name, lines) {
  writeFileSync(name, lines.map((one) => `${one}\n`).join(""));
  return client.files.create({ file: createReadStream(name), purpose: "batch" });
}

function create(file, more = {}) {
  return client.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
    ...more,
  });
}

async function waited(batch, statuses = FINAL) {
  while (!statuses.includes(batch.status)) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    batch = await client.batches.retrieve(batch.id);
  }
  return batch;
}

async function rows(fileId) {
  const text = await (await client.files.content(fileId)).text();
  return text.trimEnd().split("\n").map((one) => JSON.parse(one));
}

// Upload from a stream, create, poll, download.
const lines = [...Array(30).keys()].map((n) => line(`r${n}`));
const file = await upload("in.jsonl", [...lines, line("bad", { max_tokens: 100000 })]);
assert.equal(file.filename, "in.jsonl");
assert.equal(file.purpose, "batch");
const done = await waited(await create(file, { metadata: { from: "node" } }));
assert.equal(done.status, "completed");
assert.deepEqual(done.metadata, { from: "node" });
assert.deepEqual(done.request_counts, { total: 31, completed: 30, failed: 1 });
const answers = await rows(done.output_file_id);
assert.equal(answers.length, 30);
const seventh = answers.find((row) => row.custom_id === "r7");
assert.equal(seventh.response.body.choices[0].message.content, "say r7");
const [failed] = await rows(done.error_file_id);
assert.equal(failed.custom_id, "bad");
assert.equal(failed.response.status_code, 400);

// Cancel a batch that runs.
const slow = [...Array(300).keys()].map((n) => line(`s${n}`, { test: { delay: 1 } }));
const running = await waited(await create(await upload("slow.jsonl", slow)), ["in_progress"]);
assert.equal((await client.batches.cancel(running.id)).status, "cancelling");
assert.equal((await waited(running)).status, "cancelled");

// Page through both lists, one object at a time.
const batches = [];
for await (const batch of client.batches.list({ limit: 1 })) batches.push(batch.id);
assert.deepEqual(batches, [running.id, done.id]);
const uploaded = [];
for await (const one of client.files.list({ purpose: "batch", limit: 1 })) {
  uploaded.push(one.filename);
}
assert.deepEqual(uploaded, ["slow.jsonl", "in.jsonl"]);

// Parts.
const announced = await client.uploads.create({
  filename: "parts.jsonl",
  purpose: "batch",
  bytes: 18,
  mime_type: "application/jsonl",
});
const parts = await Promise.all(
  ['{"a": 1}\n', '{"b": 2}\n'].map(async (text, number) => {
    writeFileSync(`part${number}`, text);
    const data = createReadStream(`part${number}`);
    return client.uploads.parts.create(announced.id, { data });
  }),
);
const completed = await client.uploads.complete(announced.id, {
  part_ids: parts.map((part) => part.id),
});
assert.equal(completed.status, "completed");
const joined = await (await client.files.content(completed.file.id)).text();
assert.equal(joined, '{"a": 1}\n{"b": 2}\n');

// Delete, and the client's own classes of errors.
assert.equal((await client.files.delete(file.id)).deleted, true);
await assert.rejects(client.files.retrieve(file.id), OpenAI.NotFoundError);
await assert.rejects(client.batches.cancel(done.id), OpenAI.ConflictError);
await assert.rejects(create(file, { endpoint: "/v1/nothing" }), (error) => {
  assert(error instanceof OpenAI.BadRequestError);
  assert.equal(error.param, "endpoint");
  assert.equal(error.code, "invalid_value");
  assert.match(error.requestID, /^req_/);
  return true;
});
const stranger = new OpenAI({ apiKey: "sk-bs-wrong", maxRetries: 0 });
await assert.rejects(stranger.files.list(), OpenAI.AuthenticationError);

console.log(JSON.stringify({ batches: batches.length, answers: answers.length }));
