// Uploads and downloads one file with Node: transfer.mjs fetch|http2 URL SOURCE TARGET. Trusts NODE_EXTRA_CA_CERTS.
import { createReadStream, createWriteStream, openAsBlob, statSync } from "node:fs";
import { connect } from "node:http2";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const [how, url, source, target] = process.argv.slice(2);

function check(status, method) {
  if (Math.floor(status / 100) !== 2) throw new Error(`${method} ${url}: ${status}`);
}

async function withFetch() {
  const put = await fetch(url, { method: "PUT", body: await openAsBlob(source) });
  await put.arrayBuffer();
  check(put.status, "PUT");
  const get = await fetch(url);
  check(get.status, "GET");
  await pipeline(Readable.fromWeb(get.body), createWriteStream(target));
}

function head(stream) {
  return new Promise((resolve, reject) => stream.on("response", resolve).on("error", reject));
}

async function withHttp2() {
  const session = connect(url);
  const path = new URL(url).pathname;
  const put = session.request({ ":method": "PUT", ":path": path, "content-length": statSync(source).size });
  const answer = head(put);
  await pipeline(createReadStream(source), put);
  check((await answer)[":status"], "PUT");
  const get = session.request({ ":path": path });
  check((await head(get))[":status"], "GET");
  await pipeline(get, createWriteStream(target));
  session.close();
}

await (how === "http2" ? withHttp2() : withFetch());
