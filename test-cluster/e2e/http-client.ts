// A client that opens HTTP connections one after the other as fast as it can, from any network namespace, and says what went
// wrong with each that failed.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { sleep } from "#test-cluster/netns/system.ts";

export type HttpResult = {
  readonly answered: number;
  /** Task ids (as hostnames) that answered. */
  readonly servers: readonly string[];
  /** "ECONNRESET 17:04:05.123": what and when. */
  readonly failed: readonly string[];
};

/** Each loop has one connection at a time. Node's own client takes the time that there is: no tool is quicker with one core. */
const LOOPS = 4;
/** Ends by itself when nobody ends it. */
const LONGEST_MS = 120_000;
const TIMEOUT_MS = 10_000;

const SCRIPT = `
const http = require("node:http");
const [host, port] = process.argv.slice(1);
const servers = new Set(), failed = [];
let answered = 0, stopped = false;
process.once("SIGTERM", () => { stopped = true; });
setTimeout(() => { stopped = true; }, ${LONGEST_MS}).unref();
const get = () => new Promise((resolve) => {
  const began = Date.now();
  const fail = (what) => {
    failed.push(what + " " + new Date().toISOString().slice(11, 23) + " after " + (Date.now() - began) + " ms");
    // A server that is not there would be asked thousands of times a second.
    setTimeout(resolve, 100);
  };
  const request = http.get({ host, port, agent: false, path: "/", headers: { connection: "close" } }, (response) => {
    let body = "";
    response.on("data", (data) => { body += data; });
    response.on("end", () => {
      if (response.statusCode !== 200 || !/ \\d /.test(body)) return fail("status " + response.statusCode + " " + body);
      answered++;
      servers.add(body.split(" ")[0]);
      if (answered === 1) process.stdout.write("ready\\n");
      resolve();
    });
    response.on("error", (error) => fail("response " + error.code));
  });
  request.setTimeout(${TIMEOUT_MS}, () => request.destroy(Object.assign(new Error(), { code: "timeout" })));
  request.on("error", (error) => fail(error.code));
});
Promise.all(Array.from({ length: ${LOOPS} }, async () => { while (!stopped) await get(); })).then(() => {
  process.stdout.write(JSON.stringify({ answered, servers: [...servers], failed }) + "\\n");
});
`;

/** `netns`: file of the namespace. Resolves when the first request was answered. */
export const startHttpClient = async (
  netns: string,
  host: string,
  port = 80,
): Promise<{ stop(): Promise<HttpResult> }> => {
  const child = spawn("nsenter", [`--net=${netns}`, process.execPath, "-e", SCRIPT, host, String(port)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.on("data", (data: Buffer) => {
    said += data;
  });
  const stop = async (): Promise<HttpResult> => {
    child.kill("SIGTERM");
    if (child.exitCode === null) await once(child, "close");
    return JSON.parse(said.trim().split("\n").at(-1)!);
  };
  for (const deadline = Date.now() + TIMEOUT_MS; !said.includes("ready"); await sleep(20))
    if (Date.now() > deadline || child.exitCode !== null)
      throw new Error(`${host} does not answer: ${JSON.stringify(await stop())}`);
  return { stop };
};
