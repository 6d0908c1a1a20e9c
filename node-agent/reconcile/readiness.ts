// When a started task runs: its first connection must not be refused, and who is told that it runs sends some at once.
import type { ContainerSockets } from "#node-agent/reconcile/container-sockets.ts";
import type { View } from "#node-agent/session/view.ts";
import { PortProtocol, type Task } from "#proto/gen/types.ts";

/** An image may name ports that the command does not serve: the task runs then, after this time. */
const LISTEN_MS = 5_000;
const FIRST_LOOK_MS = 10;
const LOOK_MS = 100;

/**
 * TCP ports on which clients of its service will ask for it: what is published, and what its image exposes, unless it runs
 * another command than the image's, of which the image knows nothing.
 */
export const servedPorts = (
  task: Task,
  exposed: readonly string[],
  published: Pick<View, "published">["published"],
): ReadonlySet<number> => {
  if (task.serviceId === "") return new Set();
  const targets = [...(published.get(`publish/${task.serviceId}`)?.ports ?? []), ...task.ports]
    .filter((port) => port.protocol === PortProtocol.TCP)
    .map((port) => port.target);
  const { command = [], args = [] } = task.spec?.container ?? {};
  if (command.length > 0 || args.length > 0) return new Set(targets);
  const tcp = exposed.filter((port) => !/\/(udp|sctp)$/.test(port)).map((port) => Number.parseInt(port, 10));
  return new Set([...targets, ...tcp]);
};

/** Resolves when one of the ports is listened on, when `sleep` says that the wait is of no more use, or after 5 s. */
export const untilItListens = async (
  sockets: ContainerSockets,
  pid: number,
  ports: ReadonlySet<number>,
  sleep: (ms: number) => Promise<boolean>,
): Promise<void> => {
  if (ports.size === 0) return;
  for (let waited = 0, pause = FIRST_LOOK_MS; waited < LISTEN_MS; waited += pause, pause = Math.min(2 * pause, LOOK_MS))
    if ((await sockets.listens(pid, ports)) || !(await sleep(pause))) return;
};
