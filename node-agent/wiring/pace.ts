// Which services to wire now. Every container of a node has the backends of every service on its networks, so while a large
// service starts, each new backend would be a change in the namespaces of all containers. A service that only gained backends may
// wait a little: its connections go to those that it has. Whatever makes a connection fail does not wait. Pure.
import type { ServiceEndpoint } from "#proto/gen/dispatcher.ts";

type Services = ReadonlyMap<string, ServiceEndpoint>;

/** `wanted` (the same object when nothing waits), where a service that only gained backends since `wired` stays as it was then. */
export const withoutNewBackends = (wanted: Services, wired: Services): Services => {
  const services = new Map(wanted);
  let waits = false;
  for (const [key, service] of wanted) {
    const before = wired.get(key);
    if (before === undefined || before === service || !onlyGained(service, before)) continue;
    services.set(key, before);
    waits = true;
  }
  return waits ? services : wanted;
};

const onlyGained = (service: ServiceEndpoint, before: ServiceEndpoint): boolean => {
  if (before.backends.length === 0 || service.vip4 !== before.vip4 || service.vip6 !== before.vip6) return false;
  if (service.backends.length === before.backends.length) return false;
  const addresses = new Map(service.backends.map((b) => [b.taskId, b]));
  return before.backends.every(({ taskId, ipv4, ipv6 }) => {
    const now = addresses.get(taskId);
    return now?.ipv4 === ipv4 && now.ipv6 === ipv6;
  });
};

const SHARE = 9;
const LONGEST_MS = 1_000;

/** How long new backends wait after an apply that took `durationUs`: applies of them take a tenth of the time. */
export const pauseMs = (durationUs: number): number => Math.min((SHARE * durationUs) / 1_000, LONGEST_MS);
