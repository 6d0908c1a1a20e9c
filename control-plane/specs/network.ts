import { refuseAll } from "#base/errors.ts";
import { NetworkSpec } from "#proto/gen/types.ts";
import { Issues } from "./issues.ts";
import { checkName } from "./names.ts";
import { checkIpam } from "./subnet.ts";

/** Options of each driver that users may create networks with; host and none exist already. */
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  overlay: ["com.docker.network.driver.mtu", "mtu", "encrypted"],
  bridge: [
    "com.docker.network.driver.mtu",
    "mtu",
    "com.docker.network.bridge.enable_icc",
    "com.docker.network.bridge.enable_ip_masquerade",
  ],
};
const MTU = new Set(["mtu", "com.docker.network.driver.mtu"]);

const checkOptions = (issues: Issues, driver: string, options: Record<string, string>): void => {
  const known = OPTIONS[driver] ?? [];
  for (const [key, value] of Object.entries(options)) {
    const field = `options.${key}`;
    if (
      !issues.check(known.includes(key), field, `driver ${driver} has no such option`, `Known are: ${known.join(", ")}`)
    )
      continue;
    if (MTU.has(key)) {
      const mtu = /^\d+$/.test(value) ? Number(value) : 0;
      issues.check(
        mtu >= 576 && mtu <= 65535,
        field,
        `${JSON.stringify(value)} is no MTU`,
        "Use 576 to 65535; 1280 or more with IPv6",
      );
    }
  }
};

/** The spec as it is stored: driver overlay and IPv4 unless said otherwise. Throws TswarmError `invalid` with every issue. */
export const checkNetworkSpec = (given: NetworkSpec | undefined): NetworkSpec => {
  const base = given ?? NetworkSpec.fromPartial({});
  const spec = { ...base, driver: base.driver || "overlay", ipv4: base.ipv4 || !base.ipv6 };
  const issues = new Issues();
  checkName(issues, spec.annotations, "object");
  const remedy = `Use ${Object.keys(OPTIONS).join(" or ")}`;
  if (spec.driver === "host" || spec.driver === "none")
    issues.add("driver", `the network ${spec.driver} exists once in every cluster`, remedy);
  else if (issues.check(spec.driver in OPTIONS, "driver", `there is no driver ${JSON.stringify(spec.driver)}`, remedy))
    checkOptions(issues, spec.driver, spec.options);
  const seen = new Set<number>();
  for (const [i, config] of spec.ipam.entries()) {
    const family = checkIpam(issues, `ipam[${i}]`, config);
    if (family === undefined) continue;
    const field = `ipam[${i}].subnet`;
    issues.check(!seen.has(family), field, `it is the second IPv${family} subnet`, "Use one subnet of each family");
    seen.add(family);
    if (family === 6) issues.check(spec.ipv6, field, "it is IPv6, but the network has no IPv6", "Add --ipv6");
    else issues.check(spec.ipv4, field, "it is IPv4, but the network has no IPv4", "Add --ipv4");
  }
  refuseAll("The network", issues.list);
  return spec;
};
