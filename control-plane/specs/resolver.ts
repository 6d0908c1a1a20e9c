// What containers get in /etc/resolv.conf and /etc/hosts.
import { parseAddress } from "#net/model/cidr.ts";
import type { ContainerSpec } from "#proto/gen/types.ts";
import type { Issues } from "./issues.ts";

/** RFC 1035 with the underscores that people use; "." is the root: no search at all, as in Docker. */
const DOMAIN =
  /^(?:\.|(?=.{1,253}$)[a-zA-Z0-9_](?:[a-zA-Z0-9_-]*[a-zA-Z0-9_])?(?:\.[a-zA-Z0-9_](?:[a-zA-Z0-9_-]*[a-zA-Z0-9_])?)*\.?)$/;
/** resolv.conf(5). */
const OPTION = /^[a-z][a-z0-9-]*(?::\d+)?$/;
const HOST = /^([^:\s]+):(\S+)$/;

const isAddress = (text: string): boolean => {
  try {
    parseAddress(text);
    return true;
  } catch {
    return false;
  }
};

export const checkResolver = (issues: Issues, { dns, dnsSearch, dnsOptions, hosts }: ContainerSpec): void => {
  const at = "task.container";
  for (const server of dns)
    issues.check(isAddress(server), `${at}.dns`, `${JSON.stringify(server)} is no address`, "Use an IP address");
  for (const domain of dnsSearch)
    issues.check(
      DOMAIN.test(domain),
      `${at}.dnsSearch`,
      `${JSON.stringify(domain)} is no domain`,
      "Use a domain as example.org, or . for none",
    );
  for (const option of dnsOptions)
    issues.check(
      OPTION.test(option),
      `${at}.dnsOptions`,
      `${JSON.stringify(option)} is no option of resolv.conf`,
      "Write it as ndots:1; see resolv.conf(5)",
    );
  for (const host of hosts) {
    const [, name = "", address = ""] = HOST.exec(host) ?? [];
    issues.check(
      DOMAIN.test(name) && name !== "." && isAddress(address),
      `${at}.hosts`,
      `${JSON.stringify(host)} is no host`,
      "Write it as name:10.0.0.5",
    );
  }
};
