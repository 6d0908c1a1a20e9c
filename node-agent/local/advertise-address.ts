// Which of the host's addresses the others shall use, and where a manager listens.

import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { refuse } from "#base/errors.ts";

export const MANAGER_PORT = 2377;

export const hostPort = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

/** As the system writes it: "2001:DB8:0::1" is "2001:db8::1". */
const canonical = (host: string): string =>
  isIP(host) === 6 ? (URL.parse(`http://[${host}]`)?.hostname.slice(1, -1) ?? host) : host;

const split = (text: string, defaultPort = MANAGER_PORT): { host: string; port: number } => {
  if (isIP(text)) return { host: canonical(text), port: defaultPort };
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text);
  if (!match) return { host: text, port: defaultPort };
  return { host: canonical(match[1] ?? match[2]!), port: match[3] === undefined ? defaultPort : Number(match[3]) };
};

/** `given` is an address, with or without port, or empty: every address of the family that the others use. */
export const listenAddress = (given: string, advertised: { readonly host: string; readonly port: number }): string => {
  const { host, port } = split(given || (isIP(advertised.host) === 6 ? "::" : "0.0.0.0"), advertised.port);
  return hostPort(host, port);
};

/** Addresses of this host that another host could reach, by interface. */
export const hostAddresses = (): Map<string, string[]> => {
  const found = new Map<string, string[]>();
  for (const [name, infos] of Object.entries(networkInterfaces()))
    for (const info of infos ?? [])
      if (!info.internal && !info.address.startsWith("fe80:"))
        found.set(name, [...(found.get(name) ?? []), info.address]);
  return found;
};

/**
 * `given` is an address, an interface, either with ":port", or empty; `own` what the host has. Returns host and port.
 * Throws `invalid` when nothing was given and the host has several addresses, or what was given is not this host's.
 */
export const advertiseAddress = (
  given: string,
  own: ReadonlyMap<string, readonly string[]>,
): { readonly host: string; readonly port: number } => {
  const all = [...own.values()].flat();
  const field = "advertise-addr";
  if (given === "") {
    const [only, ...others] = all.filter((a) => isIP(a) === 4).length > 0 ? all.filter((a) => isIP(a) === 4) : all;
    if (only === undefined)
      throw refuse(
        "invalid",
        field,
        "this host has no address but loopback",
        "Bring an interface up, or name an address",
      );
    if (others.length > 0)
      throw refuse(
        "invalid",
        field,
        `this host has several addresses (${[only, ...others].join(", ")})`,
        "Name one with --advertise-addr",
      );
    return { host: only, port: MANAGER_PORT };
  }
  const { host, port } = split(given);
  if (!(port > 0 && port < 65536)) throw refuse("invalid", field, `${port} is not a port`, "Use 1 to 65535");
  const ofInterface = own.get(host);
  if (ofInterface) return { host: ofInterface[0]!, port };
  if (!isIP(host))
    throw refuse(
      "invalid",
      field,
      `${host} is neither an address nor an interface of this host`,
      `It has ${[...own.keys()].join(", ") || "none"}`,
    );
  if (!all.includes(host))
    throw refuse(
      "invalid",
      field,
      `${host} is not an address of this host`,
      `Use one of ${all.join(", ") || "its interfaces' addresses"}`,
    );
  return { host, port };
};
