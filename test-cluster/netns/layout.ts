// Names and addresses of a cluster of network namespaces on one machine. Several clusters may exist side by side: each has
// a name and a number, and the number is in its addresses.
import { join } from "node:path";

export type NodeLayout = {
  readonly name: string;
  readonly netns: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly dir: string;
  readonly socket: string;
  /** Of the node's own processes; its containers are in `<cgroup>/containers`. */
  readonly cgroup: string;
};

export type ClusterLayout = {
  readonly name: string;
  readonly dir: string;
  readonly switchNetns: string;
  readonly cgroup: string;
  readonly nodes: readonly NodeLayout[];
};

const ROOT = "/var/lib/tswarm-test";

/** `number` 1–254 tells clusters apart: their underlays are 192.168.<number>.0/24 and fd77:<number>::/64. */
export const layout = (name: string, number: number, count: number): ClusterLayout => {
  const dir = join(ROOT, name);
  const cgroup = `tswarm-${name}`;
  return {
    name,
    dir,
    switchNetns: `${name}-switch`,
    cgroup,
    nodes: Array.from({ length: count }, (_, i) => {
      const node = `node${i + 1}`;
      return {
        name: node,
        netns: `${name}-${node}`,
        ipv4: `192.168.${number}.${i + 1}`,
        ipv6: `fd77:${number}::${i + 1}`,
        dir: join(dir, node),
        socket: join(dir, node, "run/tswarm.sock"),
        cgroup: `${cgroup}/${node}`,
      };
    }),
  };
};
