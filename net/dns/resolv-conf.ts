// resolv.conf(5): the nameservers that names outside are forwarded to. Search domains and options are the container's affair.
import { isIP } from "node:net";

export type Upstream = { readonly address: string; readonly port: number };

/** At most three, as in libc. A zone index (fe80::1%eth0) is kept. Lines that can't be read are skipped. */
export const parseResolvConf = (text: string): Upstream[] =>
  text
    .split("\n")
    .flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? [])
    .filter((address) => isIP(address) !== 0)
    .slice(0, 3)
    .map((address) => ({ address, port: 53 }));
