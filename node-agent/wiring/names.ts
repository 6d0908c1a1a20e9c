// The DNS servers of this node's containers, one in each namespace. A task is served once, whoever asks first, and what was
// still starting when its task went is closed as well.
import { realClock } from "#base/node/system.ts";
import type { Random } from "#base/random.ts";
import { Forwarder } from "#net/dns/forwarder.ts";
import { outletIn } from "#net/dns/outlet.ts";
import { DnsServer, type Outside } from "#net/dns/server.ts";
import { tcpListenerIn, udpSocketIn } from "#net/kernel/sockets.ts";
import { Zones, type ZoneView } from "#node-agent/wiring/zones.ts";
import type { Task } from "#proto/gen/types.ts";

const DNS_ADDRESS = "127.0.0.11";
const DNS_PORT = 53;
/** Some 5,000 questions that wait while the agent does something else. */
const RECEIVE_BYTES = 4 * 1024 * 1024;
const UPSTREAM_TIMEOUT_MS = 2_000;

export type Names = {
  /** Resolves when the container's names are answered. Does nothing for a task that is served already. */
  serve(task: Task): Promise<void>;
  stop(taskId: string): Promise<void>;
  /** From now on the answers come from this view. */
  update(view: ZoneView): void;
  stopAll(): Promise<void>;
};

export type NamesOptions = {
  readonly netnsPath: (taskId: string) => string;
  /** For containers without resolvers of their own. */
  readonly forwarder: Forwarder;
  readonly random: Random;
  readonly view: ZoneView;
};

type Served = {
  task: Task;
  readonly own: Forwarder | undefined;
  readonly server: Promise<DnsServer>;
  ready?: DnsServer;
};

export const createNames = ({ netnsPath, forwarder, random, view: first }: NamesOptions): Names => {
  const served = new Map<string, Served>();
  const zones = new Zones(first);

  /** `--dns` replaces the host's resolvers, and is reached as the container reaches it: on its networks, or inside it. */
  const ownForwarder = (task: Task): Forwarder | undefined => {
    const dns = task.spec?.container?.dns ?? [];
    if (dns.length === 0) return undefined;
    return new Forwarder({
      upstreams: dns.map((address) => ({ address, port: DNS_PORT })),
      clock: realClock,
      timeoutMs: UPSTREAM_TIMEOUT_MS,
      outlet: outletIn(netnsPath(task.id)),
    });
  };

  const start = async (task: Task, outside: Outside): Promise<DnsServer> => {
    const netns = netnsPath(task.id);
    return DnsServer.start({
      udpFd: udpSocketIn(netns, DNS_ADDRESS, DNS_PORT, RECEIVE_BYTES),
      tcpFd: tcpListenerIn(netns, DNS_ADDRESS, DNS_PORT),
      zone: zones.of(task),
      outside,
      random,
    });
  };

  const stop = async (taskId: string): Promise<void> => {
    const entry = served.get(taskId);
    served.delete(taskId);
    // One that never came up holds nothing.
    await entry?.server.then(
      (server) => server.close(),
      () => {},
    );
    entry?.own?.close();
  };

  return {
    stop,
    async serve(task) {
      const known = served.get(task.id);
      if (known) {
        await known.server;
        return;
      }
      const own = ownForwarder(task);
      const outside: Outside = {
        forwarder: own ?? forwarder,
        always: own !== undefined,
        singleLabels: ndotsOf(task.spec?.container?.dnsOptions ?? []) === 0,
      };
      const entry: Served = { task, own, server: start(task, outside) };
      served.set(task.id, entry);
      try {
        const server = await entry.server;
        entry.ready = server;
        // The zones may have changed while it started.
        server.update(zones.of(entry.task));
      } catch (error) {
        if (served.get(task.id) === entry) served.delete(task.id);
        throw error;
      }
    },
    update(view) {
      const renewed = zones.update(view);
      for (const entry of served.values()) {
        const task = view.tasks.get(entry.task.id) ?? entry.task;
        if (!renewed && task === entry.task) continue;
        entry.task = task;
        entry.ready?.update(zones.of(task));
      }
    },
    async stopAll() {
      await Promise.all([...served.keys()].map(stop));
    },
  };
};

/** The last one counts, as in libc. */
const ndotsOf = (options: readonly string[]): number =>
  Number(options.findLast((o) => /^ndots:\d+$/.test(o))?.slice("ndots:".length) ?? 0);
