// What the ways to a service cost: by its virtual address against a backend's own, and by a published port (of the
// backend's node, and of another) against a server on a node itself. Throughput by iperf3, connections per second by a client
// that opens one after the other and one that keeps 16 open, in turns. Usage, as root: node bench/paths.ts [seconds a run = 2] [runs = 3]
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";
import { PortMode, PortProtocol, ServiceSpec } from "#proto/gen/types.ts";
import { withCluster } from "./measure/cluster.ts";
import { spread, tell } from "./measure/figures.ts";
import { createOverlay, isRunning, sleepers, watchTasks } from "./measure/tasks.ts";

const SECONDS = Number(process.argv[2] ?? 2);
const RUNS = Number(process.argv[3] ?? 3);
const IPERF = 5201;
/** One port of the server for each way: two ways to one port would make the same connections in the server's eyes, and a
 * client's port that one way used would be waited for (TIME_WAIT) on the other. */
const ACCEPT = [7000, 7001, 7002] as const;
/** Published ports are that much above their targets. */
const PUBLISHED = 10_000;
const run = promisify(execFile);

const SERVER = `
let listening = 0;
for (const port of [${ACCEPT}]) require("net").createServer((s) => s.on("error", () => {}).end("x"))
  .listen(port, "0.0.0.0", 1024, () => ++listening === ${ACCEPT.length} && console.log("ready"));`;
/** Opens a connection, waits for its answer and its end, opens the next; says how many it made. */
const CLIENT = `
const [address, port, at, ms] = process.argv.slice(1);
const end = performance.now() + Number(ms);
let made = 0, open = 0;
const next = () => {
  if (performance.now() > end) { if (open === 0) console.log(made); return; }
  open++;
  const s = require("net").connect({ host: address, port: Number(port) });
  s.on("error", (e) => { console.error(e.message); process.exit(1); });
  s.resume().on("close", () => { made++; open--; next(); });
};
for (let i = 0; i < Number(at); i++) next();`;

type Way = {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly ports: { iperf: number; accept: number };
};

const inside = async (ns: string, ...command: string[]): Promise<string> =>
  (await run("nsenter", [`--net=${ns}`, ...command], { timeout: 60_000 })).stdout;

const throughput = async ({ from, to, ports }: Way): Promise<number> => {
  const out = await inside(
    from,
    "iperf3",
    "--json",
    "--time",
    String(SECONDS),
    "--client",
    to,
    "--port",
    String(ports.iperf),
  );
  return JSON.parse(out).end.sum_received.bits_per_second / 1e9;
};

const connections = async ({ from, to, ports }: Way, at: number): Promise<number> => {
  const ms = SECONDS * 1000;
  const out = await inside(from, process.execPath, "-e", CLIENT, to, String(ports.accept), String(at), String(ms));
  return Number(out) / SECONDS;
};

await withCluster(3, async (cluster, control) => {
  const [one, two, three] = cluster.layout.nodes;
  const watch = await watchTasks(control);
  const network = await createOverlay(control, "bench");
  const start = async (name: string, node: string, ports: ServiceSpec["ports"] = []) => {
    const base = sleepers(name, network, 1);
    const placement = { constraints: [`node.hostname==${node}`], spread: [], maxReplicasPerNode: 0 };
    const { service } = await control.createService({ spec: { ...base, ports, task: { ...base.task!, placement } } });
    await watch.until(`${name} running`, (tasks) => tasks.some(isRunning), service!.id);
    const { tasks } = await control.listTasks({ filters: [{ key: "service", values: [name] }] });
    const { service: made } = await control.getService({ ref: name });
    return { task: tasks[0]!, vip: made!.vips.find((v) => v.networkId === network)!.ipv4 };
  };
  const ports = ServiceSpec.fromPartial({
    ports: [IPERF, ...ACCEPT].map((target) => ({
      protocol: PortProtocol.TCP,
      mode: PortMode.INGRESS,
      target,
      published: PUBLISHED + target,
    })),
  }).ports;
  const server = await start("server", two!.name, ports);
  const client = await start("client", one!.name);
  watch.close();
  const nsOf = (pid: number): string => `/proc/${pid}/ns/net`;
  const serverNs = nsOf(server.task.status!.pid);
  const clientNs = nsOf(client.task.status!.pid);
  const outside = `/run/netns/${three!.netns}`;
  const nodeNs = `/run/netns/${two!.netns}`;
  const direct = server.task.attachments.find((a) => a.networkId === network)!.ipv4.split("/")[0]!;
  const own = (way: 0 | 1 | 2) => ({ iperf: IPERF, accept: ACCEPT[way] });
  const published = (way: 0 | 1 | 2) => ({ iperf: PUBLISHED + IPERF, accept: PUBLISHED + ACCEPT[way] });
  const groups: readonly (readonly Way[])[] = [
    [
      { name: "container, backend's own address", from: clientNs, to: direct, ports: own(0) },
      { name: "container, virtual address", from: clientNs, to: server.vip, ports: own(1) },
    ],
    [
      { name: "outside, a server on the node itself", from: outside, to: two!.ipv4, ports: own(0) },
      { name: "outside, published port of its node", from: outside, to: two!.ipv4, ports: published(1) },
      { name: "outside, published port of another node", from: outside, to: one!.ipv4, ports: published(2) },
    ],
  ];
  const children: ChildProcess[] = [];
  try {
    for (const ns of [serverNs, nodeNs]) {
      children.push(spawn("nsenter", [`--net=${ns}`, "iperf3", "--server"], { stdio: "ignore" }));
      const accept = spawn("nsenter", [`--net=${ns}`, process.execPath, "-e", SERVER]);
      children.push(accept);
      await once(accept.stdout, "data");
    }
    for (const ways of groups) {
      const measured = ways.map(() => ({ rate: [] as number[], one: [] as number[], many: [] as number[] }));
      for (let i = 0; i < RUNS; i++)
        for (const [w, way] of ways.entries()) {
          measured[w]!.rate.push(await throughput(way));
          measured[w]!.one.push(await connections(way, 1));
          measured[w]!.many.push(await connections(way, 16));
        }
      for (const [w, { name }] of ways.entries()) {
        tell(`${name}: TCP`, measured[w]!.rate, "Gbit/s");
        tell("  connections, one after the other", measured[w]!.one, "/s", 0);
        tell("  connections, 16 at a time", measured[w]!.many, "/s", 0);
        if (w === 0) continue;
        const ratio = (of: "rate" | "one" | "many"): string =>
          (spread(measured[w]![of]).median / spread(measured[0]![of]).median).toFixed(2);
        console.log(
          `  against the first: ${ratio("rate")} of the throughput, ${ratio("one")} and ${ratio("many")} of the connections`,
        );
      }
    }
  } finally {
    for (const child of children) child.kill();
  }
});
