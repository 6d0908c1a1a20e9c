// Throughput and round trip between containers on two hosts over an overlay network, against a VXLAN pair made by hand on
// the same two hosts, in turns. iperf3 and ping. Usage, as root: node bench/overlay.ts [seconds a run = 2] [runs = 5]
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { TestCluster } from "#test-cluster/netns/cluster.ts";
import { sleep } from "#test-cluster/netns/system.ts";
import { type Control, withCluster } from "./measure/cluster.ts";
import { spread, tell } from "./measure/figures.ts";
import { createOverlay, isRunning, sleepers, watchTasks } from "./measure/tasks.ts";

const SECONDS = Number(process.argv[2] ?? 2);
const RUNS = Number(process.argv[3] ?? 5);
const PINGS = 2_000;
const start = promisify(execFile);

/** Where a program runs: a process whose network namespace is joined. */
type Place = { readonly pid: number; readonly address: string };

const inside = async (pid: number, ...command: string[]): Promise<string> =>
  (await start("nsenter", [`--net=/proc/${pid}/ns/net`, ...command], { timeout: 60_000 })).stdout;

const throughput = async (from: Place, to: Place): Promise<number> => {
  const server = inside(to.pid, "iperf3", "--server", "--one-off");
  server.catch(() => {});
  for (let tries = 0; !(await inside(to.pid, "ss", "-Htln", "sport = :5201")).includes("5201"); tries++) {
    if (tries > 100) throw new Error("iperf3 does not listen");
    await sleep(20);
  }
  const result = JSON.parse(
    await inside(from.pid, "iperf3", "--json", "--time", String(SECONDS), "--client", to.address),
  );
  await server;
  return result.end.sum_received.bits_per_second / 1e9;
};

/** Mean round trip in microseconds, pinging as fast as the answers come. */
const roundTrip = async (from: Place, to: Place): Promise<number> => {
  const text = await inside(from.pid, "ping", "-q", "-A", "-c", String(PINGS), to.address);
  return Number(/= [\d.]+\/([\d.]+)\//.exec(text)![1]) * 1000;
};

/** A namespace on each of the first two hosts: veth, bridge and VXLAN with one static entry, as an overlay has them. */
const handMade = (cluster: TestCluster): Place[] => {
  const [one, two] = cluster.layout.nodes;
  const mac = (i: number) => `02:00:00:00:77:0${i + 1}`;
  const address = (i: number) => `10.77.77.${i + 1}`;
  return [one!, two!].map((node, i) => {
    const other = [two!, one!][i]!;
    const script = `
      unshare --net sleep 600 > /dev/null 2>&1 &
      inner=$!
      while [ "$(readlink /proc/$inner/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do sleep 0.01; done
      ip link add hand0 mtu 1450 type bridge
      ip link add hand1 mtu 1450 type vxlan id 77 dstport 4790 local ${node.ipv4} nolearning
      bridge fdb append ${mac(1 - i)} dev hand1 dst ${other.ipv4}
      ip link add hand2 mtu 1450 type veth peer name eth0 mtu 1450 address ${mac(i)} netns $inner
      ip link set hand0 up
      for port in hand1 hand2; do ip link set $port master hand0 up; done
      into="nsenter --net=/proc/$inner/ns/net ip"
      $into link set eth0 up
      $into addr add ${address(i)}/24 dev eth0
      $into neigh add ${address(1 - i)} lladdr ${mac(1 - i)} dev eth0
      echo $inner`;
    return { pid: Number(cluster.onHost(node.name, "sh", "-ec", script)), address: address(i) };
  });
};

const overlay = async (control: Control): Promise<Place[]> => {
  const watch = await watchTasks(control);
  const network = await createOverlay(control, "bench");
  const { service } = await control.createService({ spec: sleepers("bench", network, 2) });
  await watch.until("both running", (tasks) => tasks.filter(isRunning).length === 2, service!.id);
  watch.close();
  const { tasks } = await control.listTasks({ filters: [] });
  if (new Set(tasks.map((t) => t.nodeId)).size !== 2) throw new Error("both containers are on one host");
  return tasks.map((t) => ({ pid: t.status!.pid, address: t.attachments[0]!.ipv4.split("/")[0]! }));
};

await withCluster(2, async (cluster, control) => {
  const ours = await overlay(control);
  const theirs = handMade(cluster);
  const rate: [number[], number[]] = [[], []];
  const delay: [number[], number[]] = [[], []];
  try {
    for (let run = 0; run < RUNS; run++)
      for (const [i, [a, b]] of [ours, theirs].entries()) {
        delay[i]!.push(await roundTrip(a!, b!));
        rate[i]!.push(await throughput(a!, b!));
      }
  } finally {
    for (const { pid } of theirs) process.kill(pid);
  }
  for (const [i, who] of ["overlay", "hand-made VXLAN"].entries()) {
    tell(`${who}: TCP`, rate[i]!, "Gbit/s", 2);
    tell(`${who}: round trip`, delay[i]!, "µs", 1);
  }
  const ratio = (of: readonly number[][]) => (spread(of[0]!).median / spread(of[1]!).median).toFixed(2);
  console.log(`overlay against hand-made: ${ratio(rate)} of the throughput, ${ratio(delay)} of the round trip`);
});
