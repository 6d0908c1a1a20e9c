import { refuseAll } from "#base/errors.ts";
import { blockOf, overlap } from "#net/ipam/prefix.ts";
import { CREATABLE_DRIVERS, canonicalOptions } from "#net/model/driver-options.ts";
import { type IpamConfig, NetworkSpec } from "#proto/gen/types.ts";
import { Issues } from "./issues.ts";
import { checkName } from "./names.ts";
import { checkIpam } from "./subnet.ts";

/** IPv6 needs so much on every link (RFC 8200 §5). */
const IPV6_MTU = 1280;
const MTU = "com.docker.network.driver.mtu";

const checkDriver = (issues: Issues, spec: NetworkSpec): Record<string, string> => {
  const { driver } = spec;
  const remedy = `Use ${CREATABLE_DRIVERS.slice(0, -1).join(", ")} or ${CREATABLE_DRIVERS.at(-1)}`;
  // A template may leave the driver to the networks that are made from it: its options are judged then.
  if (driver === "" && spec.configOnly) return spec.options;
  if (driver === "host" || driver === "none") {
    issues.add("driver", `the network ${driver} exists once in every cluster`, remedy);
    return spec.options;
  }
  if (
    !issues.check(CREATABLE_DRIVERS.includes(driver), "driver", `there is no driver ${JSON.stringify(driver)}`, remedy)
  )
    return spec.options;
  const { options, issues: found } = canonicalOptions(driver, spec.options);
  for (const { option, reason, remedy: hint } of found) issues.add(`options.${option}`, reason, hint);
  const mtu = Number(options[MTU] ?? IPV6_MTU);
  issues.check(
    !spec.ipv6 || mtu >= IPV6_MTU,
    `options.${MTU}`,
    `IPv6 needs an MTU of ${IPV6_MTU}, not ${mtu}`,
    `Use ${IPV6_MTU} or more, or leave out IPv6`,
  );
  return options;
};

const checkSubnets = (issues: Issues, spec: NetworkSpec): void => {
  const seen: { readonly at: number; readonly config: IpamConfig }[] = [];
  for (const [at, config] of spec.ipam.entries()) {
    const family = checkIpam(issues, `ipam[${at}]`, config);
    if (family === undefined) continue;
    const field = `ipam[${at}].subnet`;
    const other = seen.find((s) => overlap(blockOf(s.config.subnet), blockOf(config.subnet)));
    if (other !== undefined)
      issues.add(field, `${config.subnet} overlaps ${other.config.subnet} of the same network`, "Name it once");
    seen.push({ at, config });
    if (family === 6) issues.check(spec.ipv6, field, "it is IPv6, but the network has no IPv6", "Add --ipv6");
    else issues.check(spec.ipv4, field, "it is IPv4, but the network has no IPv4", "Leave out --no-ipv4");
  }
};

const checkRoles = (issues: Issues, spec: NetworkSpec): void => {
  const { driver, ingress, configOnly } = spec;
  if (ingress) {
    const why = "the ingress network carries what nodes accept for published ports";
    issues.check(driver === "overlay", "ingress", `${why}: it is an overlay`, "Use --driver overlay");
    issues.check(!spec.attachable, "attachable", why, "Leave out --attachable");
    issues.check(!spec.internal, "internal", why, "Leave out --internal");
  }
  if (configOnly) {
    const why = "a config-only network is only a template";
    for (const field of ["ingress", "internal", "attachable"] as const)
      issues.check(!spec[field], field, why, `Leave out --${field}; give it to the networks that are made from it`);
    issues.check(spec.configFrom === "", "configFrom", `${why} and has none itself`, "Leave out --config-from");
  }
  for (const key of Object.keys(spec.ipamOptions))
    issues.add(`ipamOptions.${key}`, "addresses are given out by the managers, which have no options", "Leave it out");
};

/**
 * The spec as it is stored: driver overlay and IPv4 unless said otherwise, options under their canonical names. Throws
 * TswarmError `invalid` with every issue.
 */
export const checkNetworkSpec = (given: NetworkSpec | undefined): NetworkSpec => {
  const base = given ?? NetworkSpec.fromPartial({});
  const spec = { ...base, driver: base.driver || (base.configOnly ? "" : "overlay"), ipv4: base.ipv4 || !base.ipv6 };
  const issues = new Issues();
  checkName(issues, spec.annotations, "object");
  const options = checkDriver(issues, spec);
  checkRoles(issues, spec);
  checkSubnets(issues, spec);
  refuseAll("The network", issues.list);
  return { ...spec, options };
};

/**
 * The spec with the settings of its template (`configFrom`): options, subnets and families are the template's, labels are
 * added. Throws TswarmError `invalid` for settings of its own.
 */
export const applyTemplate = (spec: NetworkSpec, template: NetworkSpec): NetworkSpec => {
  const issues = new Issues();
  const remedy = `Leave it out, or make the network without --config-from ${spec.configFrom}`;
  const why = `it comes from the config-only network ${spec.configFrom}`;
  issues.check(!spec.configOnly, "configFrom", "a config-only network is a template and has none itself", remedy);
  issues.check(Object.keys(spec.options).length === 0, "options", why, remedy);
  issues.check(spec.ipam.length === 0, "ipam", why, remedy);
  issues.check(!spec.ipv6, "ipv6", why, remedy);
  issues.check(
    spec.driver === "" || template.driver === "" || spec.driver === template.driver,
    "driver",
    `the config-only network ${spec.configFrom} is for driver ${template.driver}`,
    `Use --driver ${template.driver}, or another template`,
  );
  refuseAll("The network", issues.list);
  return {
    ...spec,
    driver: spec.driver || template.driver,
    options: template.options,
    ipam: template.ipam,
    ipv4: template.ipv4,
    ipv6: template.ipv6,
    annotations: {
      name: spec.annotations?.name ?? "",
      labels: { ...template.annotations?.labels, ...spec.annotations?.labels },
    },
  };
};
