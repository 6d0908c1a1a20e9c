// Puts of 256 bytes by 1, 16, 64 and 256 clients: three members in three processes on real disks, Debian's etcd beside them
// when it is installed (apt-get install etcd-server), and the floor under both. Systems take turns, so that what else the
// machine does meets all alike; everything runs in a network namespace of its own.
//   node bench/raft.ts [seconds a run = 2] [rounds = 5] [clients = 1,16,64,256]
import fs from "node:fs";
import path from "node:path";
import { spread } from "./measure/figures.ts";
import { floorLoad, startFloor } from "./measure/floor.ts";
import { type Load, openPutClient } from "./measure/put-client.ts";
import { cpuMicros, grpcPort, http2Port, leaderOf, MEMBERS, startEtcd, startMember } from "./measure/put-cluster.ts";
import { enterOwnNamespace, inSandbox } from "./measure/sandbox.ts";

const OWN = 2100;
const ETCD = 2200;
const FLOOR = 2300;
/** Until the hot paths of members and client are compiled: at full load, and a little at each number of clients. */
const WARM_UP_SECONDS = { all: 6, each: 3 };

type System = {
  readonly name: string;
  readonly pids: readonly number[];
  load(clients: number, seconds: number): Promise<Load>;
};
type Result = Load & { readonly serverMicros: number; readonly othersCores: number };

/** CPU time of the whole machine, in microseconds (proc(5), /proc/stat without idle and iowait). */
const machineMicros = (): number => {
  const [, ...fields] = fs.readFileSync("/proc/stat", "utf8").split("\n", 1)[0]!.split(/ +/);
  const [user, nice, system, , , irq, softirq] = fields.map(Number);
  return (user! + nice! + system! + irq! + softirq!) * 10_000;
};

const run = async (system: System, clients: number, seconds: number): Promise<Result> => {
  const used = () => system.pids.reduce((sum, pid) => sum + cpuMicros(pid), 0);
  const [before, machine] = [used(), machineMicros()];
  const load = await system.load(clients, seconds);
  const server = used() - before;
  const others = machineMicros() - machine - server - load.cpuMicros;
  return { ...load, serverMicros: server, othersCores: others / (seconds * 1e6) };
};

const row = (cells: readonly string[]): string =>
  cells.map((cell, i) => (i === 0 ? cell.padEnd(22) : cell.padStart([0, 7, 24, 9, 9, 11, 12, 9][i]!))).join(" ");

const report = (name: string, clients: number, results: readonly Result[]): void => {
  const of = (value: (r: Result) => number) => spread(results.map(value));
  const rate = of((r) => r.perSecond);
  console.log(
    row([
      name,
      String(clients),
      [rate.min, rate.median, rate.max].map((v) => v.toFixed(0)).join(" / "),
      of((r) => r.p50).median.toFixed(2),
      of((r) => r.p99).median.toFixed(1),
      of((r) => r.cpuMicros / r.count).median.toFixed(0),
      of((r) => r.serverMicros / r.count).median.toFixed(0),
      of((r) => r.othersCores).median.toFixed(2),
    ]),
  );
};

enterOwnNamespace();
await inSandbox(async ({ dir, children }) => {
  const [seconds, rounds] = [Number(process.argv[2] ?? 2), Number(process.argv[3] ?? 5)];
  const counts = (process.argv[4] ?? "1,16,64,256").split(",").map(Number);
  const members = await Promise.all(MEMBERS.map((id) => startMember(id, dir, OWN)));
  children.push(...members.map((m) => m.child));
  const leader = await leaderOf(members);
  const { term } = await leader.status();
  const pids = children.map((c) => c.pid!);
  const own = await openPutClient(http2Port(OWN, leader.raftId));
  const ownGrpc = await openPutClient(grpcPort(OWN, leader.raftId));
  const systems: System[] = [
    { name: "tswarm (http2 edge)", pids, load: own.load },
    { name: "tswarm (grpc-js edge)", pids, load: ownGrpc.load },
  ];
  const etcd = await startEtcd(dir, ETCD);
  if (etcd) {
    children.push(...etcd.map((m) => m.child));
    const { load } = await openPutClient(etcd[0]!.clientPort);
    systems.push({ name: "etcd", pids: etcd.map((m) => m.child.pid!), load });
  } else console.log("no etcd here: apt-get install etcd-server puts it beside ours");
  const floor = await startFloor(path.join(dir, "floor"), FLOOR);
  children.push(floor);
  systems.push({ name: "floor", pids: [floor.pid!], load: (c, s) => floorLoad(FLOOR, c, s) });

  for (const system of systems) await run(system, 64, WARM_UP_SECONDS.all);
  const p50 = "p50 ms";
  console.log(
    row(["", "clients", "puts/s min/median/max", p50, "p99 ms", "client µs", "members µs", "others"]),
    " (µs of CPU a put; cores that others used)",
  );
  for (const clients of counts) {
    const results = systems.map((): Result[] => []);
    for (const system of systems) await run(system, clients, WARM_UP_SECONDS.each);
    for (let round = 0; round < rounds; round++)
      for (let i = 0; i < systems.length; i++) {
        const turn = (i + round) % systems.length;
        results[turn]!.push(await run(systems[turn]!, clients, seconds));
      }
    for (const [i, { name }] of systems.entries()) report(name, clients, results[i]!);
    const rate = (i: number) => spread(results[i]!.map((r) => r.perSecond)).median;
    const late = (i: number) => spread(results[i]!.map((r) => r.p50)).median;
    const last = systems.length - 1;
    const beside = etcd ? `${(rate(0) / rate(2)).toFixed(2)} (grpc-js ${(rate(1) / rate(2)).toFixed(2)}) × etcd, ` : "";
    const floors = `${(rate(0) / rate(last)).toFixed(3)} × the floor's puts, ${(late(0) / late(last)).toFixed(1)} × its latency`;
    console.log(`${"".padEnd(22)} ${String(clients).padStart(7)} tswarm: ${beside}${floors}`);
  }
  const after = await Promise.all(members.map((m) => m.status()));
  console.log(`changes of the leader under load: ${Math.max(...after.map((s) => s.term)) - term}`);
});
