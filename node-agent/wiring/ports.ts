// The ports of this host that are published: taken before anything is translated to a backend, so that no program of the
// host loses its connections to us, and none can take them later.
import { TswarmError } from "#base/errors.ts";
import { type Listener, releasePort, takePort } from "#net/kernel/listeners.ts";
import type { PublishedPort } from "#net/model/host-networks.ts";

export type Ports = {
  /** Takes what is new, gives back what is not wanted any more; returns those that this host has now. */
  hold(wanted: readonly PublishedPort[]): readonly PublishedPort[];
  /** Why a port of the last `hold` can't be had; undefined when it can. */
  refusal(port: Pick<PublishedPort, "protocol" | "port" | "hostIp">): TswarmError | undefined;
  /** One line for each port that can't be had. */
  errors(): readonly string[];
  releaseAll(): void;
};

const keyOf = ({ protocol, port, hostIp }: Pick<PublishedPort, "protocol" | "port" | "hostIp">): string =>
  `${protocol} ${hostIp} ${port}`;

/** Why a program that binds the port itself can't have it; undefined when nobody listens there. */
export const takenBy = (
  listeners: readonly Listener[],
  { protocol, port, hostIp }: Pick<PublishedPort, "protocol" | "port" | "hostIp">,
): TswarmError | undefined => {
  const found = listeners.find(
    (l) => l.protocol === protocol && l.port === port && (hostIp === "" || l.hostIp === "" || l.hostIp === hostIp),
  );
  if (found === undefined) return undefined;
  const owner = found.owner === "" ? "another program" : found.owner;
  return new TswarmError("conflict", `port ${port}/${protocol} of this host is in use by ${owner}`);
};

export const createPorts = (netnsPath: string | null): Ports => {
  /** Port → the descriptor that keeps it; undefined when the kernel has nothing to keep. */
  const held = new Map<string, number | undefined>();
  const refused = new Map<string, TswarmError>();

  const release = (key: string): void => {
    const fd = held.get(key);
    held.delete(key);
    if (fd !== undefined) releasePort(fd);
  };

  const take = (port: PublishedPort): boolean => {
    const key = keyOf(port);
    if (held.has(key)) return true;
    try {
      held.set(key, takePort(netnsPath, port));
      return true;
    } catch (error) {
      refused.set(key, TswarmError.from(error));
      return false;
    }
  };

  return {
    hold(wanted) {
      refused.clear();
      const keys = new Set(wanted.map(keyOf));
      for (const key of [...held.keys()]) if (!keys.has(key)) release(key);
      return wanted.filter(take);
    },
    refusal: (port) => refused.get(keyOf(port)),
    errors: () => [...refused.values()].map((error) => error.message).toSorted(),
    releaseAll: () => [...held.keys()].forEach(release),
  };
};
