// The ports of one node that programs of its host and tasks in mode host have. The same number is free on another node, for
// another protocol and on another address.
import { collide, hostPorts, portText } from "#control-plane/specs/ports.ts";
import type { Node, PortConfig, PortProtocol, Task } from "#proto/gen/types.ts";

/** Where Linux takes the ports of outgoing connections from (ip_local_port_range), and Docker free published ones. */
const FIRST_FREE = 32_768;
const LAST_FREE = 60_999;

type Taken = Pick<PortConfig, "protocol" | "published" | "hostIp">;
/** Is it a port that every node accepts? */
export type InMesh = (protocol: PortProtocol, published: number) => boolean;

export class HostPorts {
  readonly #taken = new Map<number, Taken[]>();
  readonly #inMesh: InMesh;

  /** `tasks`: all of the node, ended ones too; those that have not ended are added by `add`. */
  constructor(node: Node, tasks: readonly Task[], inMesh: InMesh) {
    this.#inMesh = inMesh;
    // What a container on network host listens on may still be told after its end: it is no stranger's.
    const ours = tasks.flatMap((task) => task.ports);
    for (const { protocol, port, hostIp } of node.description?.hostPorts ?? []) {
      const listener = { protocol, published: port, hostIp };
      if (!ours.some((own) => collide(own, listener))) this.#take(listener);
    }
  }

  /** The ports of a task that is on this node and has not ended. */
  add(task: Task): void {
    for (const port of task.ports) if (port.published !== 0) this.#take(port);
  }

  #take(port: Taken): void {
    const others = this.#taken.get(port.published);
    if (others === undefined) this.#taken.set(port.published, [port]);
    else others.push(port);
  }

  #isFree(port: Taken): boolean {
    return !this.#taken.get(port.published)?.some((other) => collide(other, port));
  }

  /**
   * The ports as the task gets them: those without a number get a free one, searched for from `start` on so that one that was just
   * given back is not used at once. Undefined: one of them is not free.
   */
  choose(ports: readonly PortConfig[], start: number): PortConfig[] | undefined {
    const chosen: PortConfig[] = ports.filter((port) => port.published !== 0);
    if (!chosen.every((port) => this.#isFree(port))) return undefined;
    const all: PortConfig[] = [];
    for (const port of ports) {
      const found = port.published !== 0 ? port : this.#find(port, start, chosen);
      if (found === undefined) return undefined;
      all.push(found);
      if (port.published === 0) chosen.push(found);
    }
    return all;
  }

  #find(port: PortConfig, start: number, chosen: readonly PortConfig[]): PortConfig | undefined {
    const count = LAST_FREE - FIRST_FREE + 1;
    for (let i = 0; i < count; i++) {
      const candidate = { ...port, published: FIRST_FREE + ((start + i) % count) };
      const free = this.#isFree(candidate) && !chosen.some((other) => collide(other, candidate));
      if (free && !this.#inMesh(port.protocol, candidate.published)) return candidate;
    }
    return undefined;
  }
}

/** "port 8080/tcp", "ports 8080/tcp, 9090/tcp", "free ports". */
export const portsText = (ports: readonly PortConfig[]): string => {
  const fixed = hostPorts(ports).filter((port) => port.published !== 0);
  if (fixed.length === 0) return "all free ports";
  return `port${fixed.length === 1 ? "" : "s"} ${fixed.map(portText).join(", ")}`;
};
