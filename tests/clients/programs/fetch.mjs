// Node's own fetch against the router: events as they come, an abort, an early refusal.
// Arguments: address of the router, key, address of the admin port; the endpoint is `chat`.
import assert from "node:assert/strict";

const [address, key, admin] = process.argv.slice(2);
const base = `http://${address}/api/v1/endpoint/chat`;
const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };

async function busy() {
  const replicas = await (await fetch(`http://${admin}/api/v1/replicas`)).json();
  return replicas.filter((r) => r.version === "one").reduce((sum, r) => sum + r.busy, 0);
}

async function until(what, condition, limitMs = 5000) {
  const end = Date.now() + limitMs;
  while (!(await condition())) {
    assert(Date.now() < end, what);
    await new Promise((done) => setTimeout(done, 20));
  }
}

const scored = await fetch(`${base}/score`, { method: "POST", headers, body: '{"a":1}' });
assert.equal(scored.status, 200);
assert.equal((await scored.json()).requestBytes, 7);

const times = [];
const stream = await fetch(`${base}/stream?chunks=10&interval=50ms`, { method: "POST", headers });
assert.equal(stream.headers.get("content-type"), "text/event-stream");
for await (const chunk of stream.body) if (chunk.length) times.push(Date.now());
assert(times.at(-1) - times[0] > 250, `the events came at once: ${times}`);

const leaving = new AbortController();
const endless = await fetch(`${base}/stream?chunks=100000&interval=20ms`, {
  method: "POST", headers, signal: leaving.signal,
});
await endless.body.getReader().read();
assert.equal(await busy(), 1);
leaving.abort();
await until("an aborted stream frees its slot", async () => (await busy()) === 0);

const refused = await fetch(`${base}/score`, { method: "POST", body: new Uint8Array(3_000_000) });
assert.equal(refused.status, 401);
assert.equal((await refused.json()).error.code, "credential_missing");
console.log("ok");
