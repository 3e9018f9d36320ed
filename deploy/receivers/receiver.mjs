// Takes Comporta's deliveries and believes only genuine ones. Node.js 18+, nothing to install.
//
// WEBHOOK_SECRET=whsec_… node receiver.mjs 9000    and have the webhook post to http://HOST:9000/

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { gunzipSync } from "node:zlib";

const SECRET = process.env.WEBHOOK_SECRET;
if (!SECRET) throw new Error("WEBHOOK_SECRET is not set"); // an empty key is anybody's
const TOLERANCE = 5 * 60; // seconds a delivery may be old: what is older may be a recording

/** Whether `body` (a Buffer, after gzip) was signed with `secret`, just now. See standardwebhooks.com. */
export function verify(secret, headers, body) {
  const id = headers["webhook-id"] ?? "";
  const when = headers["webhook-timestamp"] ?? "";
  if (!/^\d+$/.test(when) || Math.abs(Date.now() / 1000 - Number(when)) > TOLERANCE) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const wanted = createHmac("sha256", key).update(`${id}.${when}.`).update(body).digest();
  // Several while a secret is being rotated.
  return (headers["webhook-signature"] ?? "").split(" ").some((signature) => {
    const [version, value = ""] = signature.split(",");
    const given = Buffer.from(value, "base64");
    return version === "v1" && given.length === wanted.length && timingSafeEqual(given, wanted);
  });
}

async function receive(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  let body = Buffer.concat(chunks);
  if (request.headers["content-encoding"] === "gzip") body = gunzipSync(body);
  if (!verify(SECRET, request.headers, body)) return 401;
  const event = JSON.parse(body);
  // Put it into a queue or table of yours and answer at once. The id is the same on every try:
  // what you have already is a repetition.
  console.log(event.id, event.event);
  return 204;
}

createServer(async (request, response) => {
  const status = await receive(request).catch(() => 400);
  response.writeHead(status).end();
}).listen(Number(process.argv[2]));
