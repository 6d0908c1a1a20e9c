// A UDP server in the network of a container, and a client that asks again and again from one port.
import { type ChildProcess, spawn } from "node:child_process";
import type { LiveContainer } from "#test-cluster/netns/containers.ts";
import { sleep } from "#test-cluster/netns/system.ts";

const PORT = 5353;
const PERIOD_MS = 20;
const FIRST_ANSWER_MS = 5_000;

const SERVER = `
const s = require("node:dgram").createSocket("udp4");
s.on("message", (_, from) => s.send(process.argv[1], from.port, from.address)).bind(${PORT});
`;
const CLIENT = `
const s = require("node:dgram").createSocket("udp4");
s.on("message", (name) => process.stdout.write(name + "\\n")).on("error", () => {});
s.bind(() => setInterval(() => s.send("?", ${PORT}, process.argv[1]), ${PERIOD_MS}));
`;

const inNetworkOf = (container: LiveContainer, script: string, argument: string): ChildProcess =>
  spawn("nsenter", [`--net=/proc/${container.pid}/ns/net`, process.execPath, "-e", script, argument], {
    stdio: ["ignore", "pipe", "inherit"],
  });

/** Answers every datagram with `name`. */
export const startUdpServer = (container: LiveContainer, name: string): ChildProcess =>
  inNetworkOf(container, SERVER, name);

/** Resolves when the first datagram was answered. `last`: who answered the last one that was. */
export const startUdpClient = async (container: LiveContainer, address: string) => {
  const child = inNetworkOf(container, CLIENT, address);
  let from = "";
  child.stdout!.on("data", (data: Buffer) => {
    from = String(data).trim().split("\n").at(-1)!;
  });
  const stop = () => void child.kill("SIGKILL");
  for (const deadline = Date.now() + FIRST_ANSWER_MS; from === ""; await sleep(PERIOD_MS))
    if (Date.now() > deadline) {
      stop();
      throw new Error(`${address} does not answer`);
    }
  return { last: () => ({ from }), stop };
};
