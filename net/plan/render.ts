// An op as one line that a person who knows iproute2 can read. For logs, reports, dry runs and goldens.

import { MAIN_TABLE } from "#net/model/host-state.ts";
import { backendsOf, type ChoiceChange } from "#net/plan/nat/choices.ts";
import type { LinkChange, NetOp, NewLink } from "#net/plan/op.ts";

export const render = (op: NetOp): string => {
  const where = op.ns === "" ? "host" : op.ns;
  switch (op.op) {
    case "netns-add":
    case "netns-del":
      return `${where}: ${words(op.op)}`;
    case "sysctl-set":
      return `${where}: sysctl ${op.key}=${op.value}`;
    case "link-add":
      return `${where}: link add ${op.name} ${renderNewLink(op.link)}`;
    case "link-del":
      return `${where}: link del ${op.name}`;
    case "link-set":
      return `${where}: link set ${op.name} ${renderChange(op.change)}`;
    case "link-up":
      return `${where}: link set ${op.name} up`;
    case "addr-add":
    case "addr-del":
      return `${where}: ${words(op.op)} ${op.address} dev ${op.link}`;
    case "route-set":
    case "route-del":
      return `${where}: ${words(op.op)} ${op.destination}${op.via === "" ? "" : ` via ${op.via}`} dev ${op.link}${op.table === MAIN_TABLE ? "" : ` table ${op.table}`}`;
    case "rule-add":
    case "rule-del":
      return `${where}: ${words(op.op)} priority ${op.priority} from ${op.from || (op.family === 4 ? "0.0.0.0/0" : "::/0")}${op.mark === 0 ? "" : ` fwmark ${op.mark}`} lookup ${op.table}`;
    case "neigh-set":
    case "neigh-del":
      return `${where}: ${words(op.op)} ${op.ip} lladdr ${op.mac} dev ${op.link}`;
    case "fdb-set":
    case "fdb-del":
      return `${where}: ${words(op.op)} ${op.mac} dev ${op.link} dst ${op.vtep}`;
    case "nft-set":
      return `${where}: nft ${op.replaces ? "replace" : "set"} ${op.digest}`;
    case "nft-choices":
      return `${where}: nft choose ${op.changes.map(renderChoice).join(", ")}`;
    case "nft-del":
      return `${where}: nft del`;
  }
};

export const renderPlan = (ops: readonly NetOp[]): string => ops.map((op) => `${render(op)}\n`).join("");

/** "vip_10_1_0_100 + 10.1.0.9 - 10.1.0.2". */
const renderChoice = (change: ChoiceChange): string => {
  const { added, removed } = backendsOf(change);
  return [change.choice.name, ...added.map((b) => `+ ${b}`), ...removed.map((b) => `- ${b}`)].join(" ");
};

const words = (name: string): string => name.replace("-", " ");

const renderNewLink = (link: NewLink): string => {
  const common = [`mtu ${link.mtuBytes}`];
  if (link.mac !== "") common.push(`address ${link.mac}`);
  if ("master" in link && link.master !== "") common.push(`master ${link.master}`);
  if (link.kind === "veth") {
    const { ns, name, mac } = link.peer;
    common.push(`peer ${name} netns ${ns === "" ? "host" : ns}${mac === "" ? "" : ` address ${mac}`}`);
  }
  if (link.kind === "vxlan") common.push(`id ${link.vxlan.vni} local ${link.vxlan.local} dstport ${link.vxlan.port}`);
  if ("upper" in link) common.push(`link ${link.upper.lower} mode ${link.upper.mode}`);
  return `type ${link.kind} ${common.join(" ")}`;
};

const renderChange = (change: LinkChange): string => {
  const parts: string[] = [];
  if (change.mtuBytes !== undefined) parts.push(`mtu ${change.mtuBytes}`);
  if (change.mac !== undefined) parts.push(`address ${change.mac}`);
  if (change.master !== undefined) parts.push(change.master === "" ? "nomaster" : `master ${change.master}`);
  if (change.isolated !== undefined) parts.push(`isolated ${change.isolated ? "on" : "off"}`);
  if (change.hairpin !== undefined) parts.push(`hairpin ${change.hairpin ? "on" : "off"}`);
  if (change.noBroadcast !== undefined) parts.push(`bcast_flood ${change.noBroadcast ? "off" : "on"}`);
  if (change.alias !== undefined) parts.push(`alias ${change.alias}`);
  return parts.join(" ");
};
