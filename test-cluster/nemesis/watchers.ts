// A client of each node that watches all networks and looks at what it is told: changes in order, each after the one before it,
// and none left out.
import { TswarmError } from "#base/errors.ts";
import { ControlDefinition, type WatchResponse } from "#proto/gen/control.ts";
import type { Network } from "#proto/gen/types.ts";
import { createClient, openChannel } from "#proto/rpc/client.ts";
import type { Written } from "#test-cluster/nemesis/workload.ts";
import type { TestCluster } from "#test-cluster/netns/cluster.ts";
import { sleep } from "#test-cluster/netns/system.ts";

/** One stream from its first message to its end. */
type Stream = {
  readonly node: string;
  readonly since: number;
  until: number;
  /** `id version` of each network that it told. */
  readonly told: Set<string>;
};

export type Watchers = {
  readonly wrong: string[];
  readonly streams: Stream[];
  stop(): Promise<void>;
  /** Acknowledged writes that happened while a stream stood and that it did not tell. */
  missed(written: readonly Written[]): string[];
};

const networkOf = (object: WatchResponse["events"][number]["object"]): Network | undefined =>
  object?.object?.$case === "network" ? object.object.value : undefined;

export const startWatchers = (cluster: TestCluster): Watchers => {
  const wrong: string[] = [];
  const streams: Stream[] = [];
  const abort = new AbortController();

  const follow = async (node: string, responses: AsyncIterable<WatchResponse>): Promise<void> => {
    let stream: Stream | undefined;
    const versions = new Map<string, number>();
    for await (const { version, events } of responses) {
      if (stream === undefined) {
        stream = { node, since: version, until: version, told: new Set() };
        streams.push(stream);
        continue;
      }
      if (version <= stream.until) wrong.push(`${node}: version ${version} came after ${stream.until}`);
      stream.until = version;
      for (const event of events) {
        const network = networkOf(event.object);
        if (network === undefined) continue;
        const before = networkOf(event.previous)?.meta?.version ?? 0;
        const known = versions.get(network.id);
        if (known !== undefined && known !== before)
          wrong.push(
            `${node}: network ${network.id} went from ${before} to ${version}, but the last that was told is ${known}`,
          );
        if (network.meta!.version !== version)
          wrong.push(`${node}: network ${network.id} of version ${network.meta!.version} came as ${version}`);
        versions.set(network.id, network.meta!.version);
        stream.told.add(`${network.id} ${network.meta!.version}`);
      }
    }
  };

  const watch = async (node: string, socket: string): Promise<void> => {
    const channel = openChannel(`unix:${socket}`);
    const client = createClient(ControlDefinition, channel);
    while (!abort.signal.aborted) {
      const selectors = [{ table: "network", id: "", serviceId: "", nodeId: "" }];
      await follow(node, client.watch({ selectors }, { signal: abort.signal })).catch((error) => {
        const { code, message } = TswarmError.from(error);
        if (["internal", "invalid"].includes(code) && !/connection|RST_STREAM/i.test(message))
          wrong.push(`${node}: the watch ended with ${code}: ${message}`);
      });
      await sleep(100);
    }
    channel.close();
  };

  const all = cluster.layout.nodes.map((node) => watch(node.name, node.socket));
  return {
    wrong,
    streams,
    async stop() {
      abort.abort();
      await Promise.all(all);
    },
    missed: (written) =>
      streams.flatMap((stream) =>
        written
          .filter(
            (w) => w.version > stream.since && w.version < stream.until && !stream.told.has(`${w.id} ${w.version}`),
          )
          .map(
            (w) =>
              `${stream.node}: version ${w.version} of network ${w.id} was not told between ${stream.since} and ${stream.until}`,
          ),
      ),
  };
};
