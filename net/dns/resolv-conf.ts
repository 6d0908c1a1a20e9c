// resolv.conf(5): the nameservers that names outside are forwarded to. Search domains and options are the container's affair.
import { addressBytes } from "#net/codec/address.ts";

export type Upstream = { readonly address: string; readonly port: number };

/** At most three, as in libc. A zone index (fe80::1%eth0) is kept. Lines that can't be read are skipped. */
export const parseResolvConf = (text: string): Upstream[] =>
  text
    .split("\n")
    .flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? [])
    .filter(isAddress)
    .slice(0, 3)
    .map((address) => ({ address, port: 53 }));

const isAddress = (text: string): boolean => {
  try {
    addressBytes(text.split("%")[0]!);
    return true;
  } catch {
    return false;
  }
};
