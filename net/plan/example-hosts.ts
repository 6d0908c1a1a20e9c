// Hosts whose plans are in docs/reference/plans.md, with what an operator should know of each: one source for that page and
// for the tests that compare it.

import type { HostNetwork, HostNetworks, MeshMember } from "#net/model/host-networks.ts";
import type { Limits } from "#net/plan/plan-host.ts";
import {
  attach,
  bridgeNetwork,
  container,
  host,
  macOf,
  NODE,
  OTHER_VTEP,
  overlayNetwork,
  remote,
  virtualService,
} from "#net/plan/testdata.ts";

export type Example = {
  readonly title: string;
  /** Markdown. */
  readonly about: string;
  readonly desired: HostNetworks;
  readonly limits?: Limits;
};

const app = overlayNetwork(1);
const both = virtualService(app, "web", 100, [2]);
const web = { ...both, backends: [...both.backends, { ipv4: "10.1.0.9", ipv6: "" }] };
const idle = { ...virtualService(app, "idle", 101), ipv6: "" };
const overlay = { ...app, services: [web, idle] };
const internal = overlayNetwork(2, { internal: true, options: { "com.docker.network.driver.mtu": "1400" } });
const bridge = bridgeNetwork(1);
const routed: HostNetwork = {
  ...bridge,
  subnets: [...bridge.subnets, { subnet: "2001:db8:1::/64", gateway: "2001:db8:1::1" }],
  options: { "com.docker.network.bridge.gateway_mode_ipv6": "routed" },
};
const quiet = bridgeNetwork(2, { internal: true, options: { "com.docker.network.bridge.enable_icc": "false" } });

const member = (n: number, vtep: string): MeshMember => ({
  ipv4: `10.3.0.${n}`,
  ipv6: `fd00:3::${n}`,
  mac: macOf(n),
  vtep,
});
const mesh = {
  ...overlayNetwork(3),
  mesh: { self: member(200, NODE.vtep), others: [member(201, OTHER_VTEP)] },
};
const addresses = (n: number) => ({ ipv4: `10.3.0.${n}`, ipv6: `fd00:3::${n}` });

const lan: HostNetwork = {
  ...bridgeNetwork(5),
  driver: "macvlan",
  parent: "uplink",
  options: { "host-access": "true" },
};
const ipvlan = (mode: string): HostNetwork => ({
  ...lan,
  driver: "ipvlan",
  options: { ipvlan_mode: mode, ipvlan_flag: "private" },
});

export const EXAMPLES: readonly Example[] = [
  {
    title: "none",
    about: `The container's namespace and its \`lo\`: 127.0.0.1, and no IPv6 because it has no IPv6 address. The namespaces of
all other containers start like this.`,
    desired: host({ containers: [container("t1")] }),
  },
  {
    title: "host",
    about: "The container runs in the host's namespace, where nothing is made for it.",
    desired: host({ containers: [{ taskId: "t1", netns: "", attachments: [] }] }),
  },
  {
    title: "bridge",
    about: `One bridge per network in the host's namespace, with the gateway's address; one veth per attachment. The rules:
nobody passes from one network to another (\`between\`), into or out of an internal one, or in from outside unless a port is
published (\`forward\`); what leaves the host has its address (\`postrouting\`).

Here \`t1\` is on two bridges, the second with \`--internal\` and \`icc=false\`: its port is \`isolated\`, so it reaches only the
bridge itself, and the container has no default route over it. In a container with several networks, answers leave over the
bridge that the question came in by (table 1000): ports may be published there.`,
    desired: host({
      networks: [bridge, quiet],
      containers: [container("t1", attach(bridge, 2), attach(quiet, 2, "eth1"))],
    }),
  },
  {
    title: "bridge, IPv6 routed",
    about: `\`gateway-mode-ipv6=routed\`: containers keep their IPv6 addresses outside, and the network around must know the
way to the subnet. Nothing is translated; from outside they can be pinged, and reached on published ports at their own
address (here 80/tcp).`,
    desired: host({
      networks: [routed],
      containers: [container("t1", { ...attach(routed, 2), ipv6: "2001:db8:1::2/64" })],
      published: [
        {
          protocol: "tcp",
          port: 8080,
          hostIp: "",
          target: 80,
          backends: [{ ipv4: "172.20.1.2", ipv6: "2001:db8:1::2" }],
        },
      ],
    }),
  },
  {
    title: "default bridge",
    about: "The network `bridge`: its link is `ts0`, else as above.",
    desired: host({
      networks: [{ ...bridge, name: "bridge" }],
      containers: [container("t1", attach(bridge, 2))],
    }),
  },
  {
    title: "overlay",
    about: `A namespace \`o-<VNI>\` with a bridge, the VXLAN device and the outer ends of the veths. Where a container of
another node is comes from the cluster (\`neigh\`, \`fdb\`), nothing is learned or flooded. The gateway has the same address
and MAC on every node. The way out is the veth \`up0\` – \`tse…\` between addresses that mean nothing elsewhere; packets are
translated to them, and on the host to the host's address. MTU: 50 bytes less than the way to the peers.

In the container's own namespace virtual addresses are translated to those of a running task (\`web\` has two for IPv4, one
for IPv6); a service without any (\`idle\`) is refused at once.`,
    desired: host({
      networks: [overlay],
      containers: [container("t1", attach(overlay, 2))],
      remotes: [remote(overlay, 9)],
    }),
  },
  {
    title: "internal overlay",
    about: "No way out: no `up0`, no default route, no rules. Here with `mtu=1400`.",
    desired: host({ networks: [internal], containers: [container("t1", attach(internal, 2))] }),
  },
  {
    title: "overlay that replicates multicast",
    about:
      "`replicate=multicast`: multicast goes to each node that has a container on the network, copied at the sender.",
    desired: host({
      networks: [{ ...internal, options: { replicate: "multicast" } }],
      containers: [container("t1", attach(internal, 2))],
      remotes: [remote(internal, 8), remote(internal, 9, "192.0.2.3")],
    }),
  },
  {
    title: "overlay with more containers than a bridge has ports",
    about: "Further bridges, each joined to `br0` by a veth. A bridge takes 1,000 containers; here 2.",
    desired: host({
      networks: [internal],
      containers: [2, 3, 4].map((n) => container(`t${n}`, attach(internal, n))),
    }),
    limits: { portsPerBridge: 2 },
  },
  {
    title: "published ports",
    about: `On the host a connection to a published port is translated to a backend, source untouched (\`published\` and the
chains it leads to). 8080/tcp has a backend here and one on another node, 53/udp accepts on one address only, 8090/tcp is in
mode \`host\` for a container on a bridge.

Backends of other nodes are reached over the ingress network, the only one with a *mesh*: each node has an address there,
and routes lead to remote containers by their nodes. The node of the backend marks the connection with the node that it came
from (its MAC), and answers go back there (\`rule … fwmark\`), because only that node can translate them.`,
    desired: host({
      networks: [mesh, bridge],
      containers: [container("t1", attach(mesh, 2)), container("t2", attach(bridge, 2))],
      remotes: [remote(mesh, 9)],
      published: [
        { protocol: "tcp", port: 8080, hostIp: "", target: 80, backends: [addresses(2), addresses(9)] },
        { protocol: "udp", port: 53, hostIp: "192.0.2.1", target: 53, backends: [addresses(9)] },
        { protocol: "tcp", port: 8090, hostIp: "", target: 80, backends: [{ ipv4: "172.20.1.2", ipv6: "" }] },
      ],
    }),
  },
  {
    title: "macvlan",
    about: `A link of its own on top of the host's, made in the container's namespace; the gateway is a router out there. With
\`host-access=true\` the host has a macvlan too (\`tsm…\`) and routes to its containers over it, because the kernel passes
nothing between a parent and the macvlans on it.`,
    desired: host({ networks: [lan], containers: [container("t1", attach(lan, 2))] }),
  },
  {
    title: "macvlan on a VLAN, passthru",
    about:
      "The parent `uplink.50` is made when the host does not have it. In mode passthru the container has the parent's MAC.",
    desired: host({
      networks: [{ ...lan, parent: "uplink.50", options: { macvlan_mode: "passthru" } }],
      containers: [container("t1", attach(lan, 2))],
    }),
  },
  {
    title: "ipvlan l2",
    about: "As macvlan, with the parent's MAC for all containers.",
    desired: host({ networks: [ipvlan("l2")], containers: [container("t1", attach(lan, 2))] }),
  },
  {
    title: "ipvlan l3s",
    about:
      "The parent routes: the default route has no gateway, and the network around must know the way to the subnet.",
    desired: host({ networks: [ipvlan("l3s")], containers: [container("t1", attach(lan, 2))] }),
  },
];
