// A container's DNS server under 1 and 100 clients, each with one question in flight: questions per second and latency for
// its own names. Beside it in the same namespace, in turns: a socket in Node that sends back what it gets (the floor of any
// server in this process), and dnsmasq with the same name where it is installed.
// Usage, as root: node bench/dns.ts [questions per round]
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { existsSync } from "node:fs";
import { realClock, systemRandom } from "#base/node/system.ts";
import { flood } from "#net/dns/flood.ts";
import { Forwarder } from "#net/dns/forwarder.ts";
import { NetworkNames } from "#net/dns/network-names.ts";
import { DnsServer } from "#net/dns/server.ts";
import { createNetns, deleteNetns } from "#net/kernel/netns.ts";
import { Rtnl } from "#net/kernel/rtnl.ts";
import { tcpListenerIn, udpSocketIn } from "#net/kernel/sockets.ts";
import { spread, tell } from "./measure/figures.ts";

const ROUNDS = 5;
const OURS = "127.0.0.11";
const FLOOR = "127.0.0.12";
const DNSMASQ = "127.0.0.13";
const DNSMASQ_PATH = "/usr/sbin/dnsmasq";

const name = `tswarm-bench-${process.pid}`;
const netnsPath = `/run/netns/${name}`;
const questions = Number(process.argv[2] ?? 20_000);

const startFloor = async (): Promise<() => void> => {
  const socket = createSocket({ type: "udp4", lookup: (address, _, found) => found(null, address, 4) });
  await new Promise<void>((done) => socket.bind({ fd: udpSocketIn(netnsPath, FLOOR, 53) }, () => done()));
  socket.on("message", (message: Buffer, from) => {
    // One answer, as the client counts.
    message[7] = 1;
    socket.send(message, from.port, from.address);
  });
  return () => socket.close();
};

const startDnsmasq = async (): Promise<() => void> => {
  const options = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"];
  const own = [
    "--bind-interfaces",
    `--listen-address=${DNSMASQ}`,
    "--except-interface=none",
    "--address=/web/10.0.0.2",
  ];
  const child = spawn("ip", ["netns", "exec", name, DNSMASQ_PATH, ...options, ...own, "--pid-file="], {
    stdio: "inherit",
  });
  await new Promise((done) => setTimeout(done, 500));
  return () => child.kill();
};

createNetns(netnsPath);
const forwarder = new Forwarder({ upstreams: [], clock: realClock, timeoutMs: 1000 });
const stops: (() => void)[] = [];
try {
  const rtnl = Rtnl.open(netnsPath);
  rtnl.linkSet("lo", { up: true });
  rtnl.close();
  const names = new NetworkNames();
  names.update([
    { name: "web", stack: "", aliases: [], mode: "vip", vip4: "10.0.0.2", vip6: "", backends: [], ports: [] },
  ]);
  const server = await DnsServer.start({
    udpFd: udpSocketIn(netnsPath, OURS, 53),
    tcpFd: tcpListenerIn(netnsPath, OURS, 53),
    zone: { stack: "", networks: [{ name: "n", suffixes: ["n"], internal: true, subnets: [], names }] },
    outside: { forwarder, always: false, singleLabels: true },
    random: systemRandom,
  });
  stops.push(() => void server.close(), await startFloor());
  const servers: [what: string, address: string][] = [
    ["tswarm", OURS],
    ["floor (echo in Node)", FLOOR],
  ];
  if (existsSync(DNSMASQ_PATH)) {
    stops.push(await startDnsmasq());
    servers.push(["dnsmasq", DNSMASQ]);
  }
  for (const clients of [1, 100]) {
    const rates = new Map<string, number[]>(servers.map(([what]) => [what, []]));
    const p99 = new Map<string, number[]>(servers.map(([what]) => [what, []]));
    // In turns, so that what else the machine does meets all alike; the first round warms up.
    for (let round = -1; round < ROUNDS; round++) {
      for (const [what, server] of servers) {
        const result = await flood({ netnsPath, server, name: "web", questions, clients, inFlight: 1 });
        if (result.answered < questions) throw new Error(`${what} answered ${result.answered} of ${questions}`);
        if (round < 0) continue;
        rates.get(what)!.push(questions / result.seconds);
        p99.get(what)!.push(result.microseconds.sort()[Math.floor(questions * 0.99)]!);
      }
    }
    const median = (list: Map<string, number[]>, what: string) => spread(list.get(what)!).median;
    for (const [what] of servers) {
      tell(`${what}, ${clients} in flight`, rates.get(what)!, "questions/s", 0);
      tell(`${what}, ${clients} in flight, 99th percentile`, p99.get(what)!, "µs", 0);
    }
    for (const [what] of servers.slice(1)) {
      const times = (median(rates, "tswarm") / median(rates, what)).toFixed(2);
      const slower = (median(p99, "tswarm") / median(p99, what)).toFixed(2);
      console.log(`${clients} in flight: ${times} × the rate of ${what}, ${slower} × its 99th percentile`);
    }
  }
} finally {
  for (const stop of stops) stop();
  forwarder.close();
  deleteNetns(netnsPath);
}
