// resolv.conf(5): what the host's resolver uses.
import { isIP } from "node:net";

export type Upstream = { readonly address: string; readonly port: number };

export type ResolvConf = {
  /** At most three, as in libc. A zone index (fe80::1%eth0) is kept. */
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
};

const DNS_PORT = 53;

/** Lines that can't be read are skipped. The last `search` or `domain` counts; options add up. */
export const parseResolvConf = (text: string): ResolvConf => {
  const nameservers: string[] = [];
  const options: string[] = [];
  let search: string[] = [];
  for (const line of text.split("\n")) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    if (keyword === "nameserver" && isIP(values[0] ?? "") !== 0) nameservers.push(values[0]!);
    else if (keyword === "search") search = values;
    else if (keyword === "domain") search = values.slice(0, 1);
    else if (keyword === "options") options.push(...values);
  }
  return { nameservers: nameservers.slice(0, 3), search: search.filter((domain) => domain !== "."), options };
};

export const upstreamsOf = ({ nameservers }: ResolvConf): Upstream[] =>
  nameservers.map((address) => ({ address, port: DNS_PORT }));
