// Runs calls of dicomweb-client in node: `node client.mjs BASE`, on standard input a JSON list of
// [method, options], on standard output the list of their results. Bytes become {"base64": ...},
// a call that fails becomes {"status": ...}.
import { text } from "node:stream/consumers";
import { api } from "dicomweb-client";
import xhr2 from "xhr2";

globalThis.XMLHttpRequest = xhr2; // the client expects the one that browsers have

const client = new api.DICOMwebClient({ url: process.argv[2], verbose: false });

function plain(result) {
  if (result instanceof ArrayBuffer || ArrayBuffer.isView(result)) {
    return { base64: Buffer.from(result).toString("base64") };
  }
  return Array.isArray(result) ? result.map(plain) : result;
}

const results = [];
for (const [method, options] of JSON.parse(await text(process.stdin))) {
  try {
    results.push(plain(await client[method](options)));
  } catch (error) {
    if (error.status === undefined) throw error;
    results.push({ status: error.status });
  }
}
process.stdout.write(JSON.stringify(results));
