// The DNS servers of this node's containers, one in each namespace. A task is served once, whoever asks first, and what was
// still starting when its task went is closed as well.
import type { Random } from "#base/random.ts";
import type { Forwarder } from "#net/dns/forwarder.ts";
import { DnsServer } from "#net/dns/server.ts";
import { tcpListenerIn, udpSocketIn } from "#net/kernel/sockets.ts";
import type { Zones } from "#node-agent/wiring/zones.ts";
import type { Task } from "#proto/gen/types.ts";

const DNS_ADDRESS = "127.0.0.11";
const DNS_PORT = 53;

export type Names = {
  /** Resolves when the container's names are answered. Does nothing for a task that is served already. */
  serve(task: Task): Promise<void>;
  stop(taskId: string): Promise<void>;
  /** From now on the answers come from these zones. */
  update(zones: Zones): void;
  stopAll(): Promise<void>;
};

export type NamesOptions = {
  readonly netnsPath: (taskId: string) => string;
  readonly forwarder: Forwarder;
  readonly random: Random;
  readonly zones: Zones;
};

export const createNames = ({ netnsPath, forwarder, random, zones: first }: NamesOptions): Names => {
  const served = new Map<string, { readonly task: Task; readonly server: Promise<DnsServer>; ready?: DnsServer }>();
  let zones = first;

  const start = async (task: Task): Promise<DnsServer> => {
    const netns = netnsPath(task.id);
    return DnsServer.start({
      udpFd: udpSocketIn(netns, DNS_ADDRESS, DNS_PORT),
      tcpFd: tcpListenerIn(netns, DNS_ADDRESS, DNS_PORT),
      zone: zones.of(task),
      forwarder,
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
  };

  return {
    stop,
    async serve(task) {
      const known = served.get(task.id);
      if (known) {
        await known.server;
        return;
      }
      const entry: { task: Task; server: Promise<DnsServer>; ready?: DnsServer } = { task, server: start(task) };
      served.set(task.id, entry);
      try {
        const server = await entry.server;
        entry.ready = server;
        // The zones may have changed while it started.
        server.update(zones.of(task));
      } catch (error) {
        if (served.get(task.id) === entry) served.delete(task.id);
        throw error;
      }
    },
    update(next) {
      zones = next;
      for (const { task, ready } of served.values()) ready?.update(zones.of(task));
    },
    async stopAll() {
      await Promise.all([...served.keys()].map(stop));
    },
  };
};
