// Queries per second of a container's DNS server for its own names: `node bench/dns.ts [queries per round]`, as root.
// A client in a worker keeps 1 and then 32 queries in flight; five rounds each; prints minimum, median and maximum.
import { createSocket } from "node:dgram";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { encode, RECURSION_DESIRED } from "dns-packet";
import { realClock, systemRandom } from "#base/node/system.ts";
import { Forwarder } from "#net/dns/forwarder.ts";
import { NetworkNames } from "#net/dns/network-names.ts";
import { DnsServer } from "#net/dns/server.ts";
import { createNetns, deleteNetns } from "#net/kernel/netns.ts";
import { Rtnl } from "#net/kernel/rtnl.ts";
import { tcpListenerIn, udpSocketIn } from "#net/kernel/sockets.ts";

const ROUNDS = 5;

const ask = async (netns: string, count: number, inFlight: number): Promise<number> => {
  const socket = createSocket("udp4");
  await new Promise<void>((done) => socket.bind({ fd: udpSocketIn(netns, "127.0.0.1", 0) }, () => done()));
  const query = encode({ type: "query", id: 1, flags: RECURSION_DESIRED, questions: [{ type: "A", name: "web" }] });
  const started = performance.now();
  await new Promise<void>((done) => {
    let sent = 0;
    let received = 0;
    const next = () => {
      if (sent++ < count) socket.send(query, 53, "127.0.0.11");
    };
    socket.on("message", () => (++received === count ? done() : next()));
    for (let i = 0; i < inFlight; i++) next();
  });
  const seconds = (performance.now() - started) / 1000;
  socket.close();
  return count / seconds;
};

const measure = async (netns: string, count: number): Promise<void> => {
  for (const inFlight of [1, 32]) {
    const rates: number[] = [];
    for (let round = 0; round < ROUNDS; round++) rates.push(await ask(netns, count, inFlight));
    const [min, , median, , max] = rates.sort((a, b) => a - b).map((r) => Math.round(r).toLocaleString("en"));
    parentPort!.postMessage(`${inFlight} in flight: ${min} / ${median} / ${max} queries/s (min / median / max)`);
  }
};

const main = async (): Promise<void> => {
  const netns = `/run/netns/tswarm-bench-${process.pid}`;
  createNetns(netns);
  const forwarder = new Forwarder({ upstreams: [], clock: realClock, timeoutMs: 1000 });
  try {
    const rtnl = Rtnl.open(netns);
    rtnl.linkSet("lo", { up: true });
    rtnl.close();
    const names = new NetworkNames();
    names.update([
      { name: "web", stack: "", aliases: [], mode: "vip", vip4: "10.0.0.2", vip6: "", backends: [], ports: [] },
    ]);
    const server = await DnsServer.start({
      udpFd: udpSocketIn(netns, "127.0.0.11", 53),
      tcpFd: tcpListenerIn(netns, "127.0.0.11", 53),
      zone: { stack: "", networks: [{ name: "n", suffixes: ["n"], internal: true, subnets: [], names }] },
      outside: { forwarder, always: false, singleLabels: true },
      random: systemRandom,
    });
    const count = Number(process.argv[2] ?? 20_000);
    const worker = new Worker(new URL(import.meta.url), { workerData: { netns, count } });
    worker.on("message", (line: string) => console.log(line));
    await new Promise((done, fail) => worker.once("exit", done).once("error", fail));
    await server.close();
  } finally {
    forwarder.close();
    deleteNetns(netns);
  }
};

if (isMainThread) await main();
else await measure(workerData.netns, workerData.count);
