import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import {
  type DeepPartial,
  EndpointMode,
  type NetworkAttachmentConfig,
  type PortConfig,
  PortMode,
  PortProtocol,
  ServiceSpec,
  UpdateOrder,
} from "#proto/gen/types.ts";
import { checkServiceSpec } from "./service.ts";

const { HOST } = PortMode;
const spec = (task: DeepPartial<ServiceSpec["task"]>, rest: DeepPartial<ServiceSpec> = {}): ServiceSpec =>
  ServiceSpec.fromPartial({
    annotations: { name: "web" },
    replicas: 1,
    task: { container: { image: "localhost/web:1" }, ...task },
    ...rest,
  });
const refusals = (given: ServiceSpec): string[] => {
  try {
    checkServiceSpec(given);
  } catch (error) {
    if (!(error instanceof TswarmError)) throw error;
    for (const issue of error.issues) expect(issue.remedy).not.to.equal("");
    return error.issues.map((issue) => `${issue.field}: ${issue.reason}`);
  }
  return [];
};
const ports = (...list: DeepPartial<PortConfig>[]): ServiceSpec => spec({}, { ports: list });
const attached = (config: DeepPartial<NetworkAttachmentConfig>, rest: DeepPartial<ServiceSpec> = {}): ServiceSpec =>
  spec({ networks: [{ target: "back", ...config }] }, rest);
const container = (fields: DeepPartial<NonNullable<NonNullable<ServiceSpec["task"]>["container"]>>): ServiceSpec =>
  spec({ container: { image: "localhost/web:1", ...fields } });

const REFUSED: [ServiceSpec, string][] = [
  [ports({ target: 0 }), "ports[0].target: 0 is no port of the container"],
  [ports({ target: 70_000 }), "ports[0].target: 70000 is no port of the container"],
  [ports({ target: 80, published: 70_000 }), "ports[0].published: 70000 is no port"],
  [ports({ target: 80, protocol: 9 as PortProtocol }), "ports[0].protocol: it is unknown"],
  [ports({ target: 80, mode: 9 as PortMode }), "ports[0].mode: it is unknown"],
  [ports({ target: 80, name: "a b" }), 'ports[0].name: "a b" is no name of a port'],
  [ports({ target: 80, hostIp: "localhost" }), 'ports[0].hostIp: "localhost" is no address'],
  [ports({ target: 80, published: 1 }, { target: 81, published: 1 }), "ports[1]: 1/tcp is published twice"],
  [
    ports({ target: 80, published: 1, hostIp: "127.0.0.1" }, { target: 80, published: 1, hostIp: "127.0.0.2" }),
    "ports[1]: 127.0.0.2:1/tcp is published twice",
  ],
  [
    ports({ target: 80, published: 1, hostIp: "::1", mode: HOST }, { target: 81, published: 1 }),
    "ports[1]: 1/tcp is published twice",
  ],
  [
    ports({ target: 80, published: 1, mode: HOST }, { target: 81, published: 1, hostIp: "0:0::1", mode: HOST }),
    "ports[1]: [::1]:1/tcp is published twice",
  ],
  [
    spec({}, { ports: Array.from({ length: 1001 }, (_, i) => ({ target: 80, published: i + 1 })) }),
    "ports: 1001 are too many for one service",
  ],
  [
    spec({}, { ports: [{ target: 80 }], endpointMode: EndpointMode.DNSRR }),
    "endpointMode: a port published in mode ingress can't be used with endpoint mode dnsrr",
  ],
  [spec({ drainMs: 90_000_000 }), "task.drainMs: it is longer than a day"],
  [attached({ aliases: ["a b"] }), 'task.networks[0].aliases: "a b" is no DNS name'],
  [attached({ target: "" }), "task.networks[0].target: it is empty"],
  [attached({ ipv4: ["10.0.0.300"] }), 'task.networks[0].ipv4: "10.0.0.300" is no IPv4 address'],
  [attached({ ipv4: ["fd00::1"] }), 'task.networks[0].ipv4: "fd00::1" is no IPv4 address'],
  [attached({ ipv6: ["10.0.0.3"] }), 'task.networks[0].ipv6: "10.0.0.3" is no IPv6 address'],
  [attached({ ipv4: ["10.0.0.3", "10.0.0.3"] }), "task.networks[0].ipv4: 10.0.0.3 is named twice"],
  [attached({ ipv4: ["10.0.0.3"] }, { replicas: 2 }), "task.networks[0].ipv4: 1 address is pinned for 2 replicas"],
  [
    attached({ ipv6: ["fd00::3"] }, { update: { order: UpdateOrder.START_FIRST } }),
    "update.order: the new task of a slot can't start first: the address is still its predecessor's",
  ],
  [
    attached({ mac: "02:42:0a:00:00:05" }, { rollback: { order: UpdateOrder.START_FIRST } }),
    "update.order: the new task of a slot can't start first: the MAC is still its predecessor's",
  ],
  [attached({ mac: "01:00:5e:00:00:01" }), 'task.networks[0].mac: "01:00:5e:00:00:01" is no MAC of one interface'],
  [attached({ mac: "02:42" }), 'task.networks[0].mac: "02:42" is no MAC of one interface'],
  [attached({ mac: "02:42:0a:00:00:05" }, { replicas: 2 }), "task.networks[0].mac: 2 replicas can't have the same MAC"],
  [attached({ interfaceName: "lo" }), 'task.networks[0].interfaceName: "lo" is no name for it'],
  [
    attached({ interfaceName: "sixteen-letters-" }),
    'task.networks[0].interfaceName: "sixteen-letters-" is no name for it',
  ],
  [attached({ gatewayPriority: 3e9 }), "task.networks[0].gatewayPriority: 3000000000 is no priority"],
  [
    attached({ sysctls: { "net.core.somaxconn": "1" } }),
    'task.networks[0].sysctls: "net.core.somaxconn" is no setting of an interface',
  ],
  [
    spec({ networks: ["a", "b"].map((target) => ({ target, interfaceName: "data" })) }),
    "task.networks[1].interfaceName: two interfaces are called data",
  ],
  [container({ dns: ["localhost"] }), 'task.container.dns: "localhost" is no address'],
  [container({ dnsSearch: ["a b"] }), 'task.container.dnsSearch: "a b" is no domain'],
  [container({ dnsOptions: ["ndots 1"] }), 'task.container.dnsOptions: "ndots 1" is no option of resolv.conf'],
  [container({ hosts: ["db"] }), 'task.container.hosts: "db" is no host'],
  [container({ hosts: ["db:localhost"] }), 'task.container.hosts: "db:localhost" is no host'],
];

describe("spec of a service", () => {
  for (const [given, expected] of REFUSED)
    it(`refuses ${expected}`, () => expect(refusals(given)).to.deep.equal([expected]));

  it("accepts one number in mode host on two addresses, of two protocols, and free ones as often as one likes", () => {
    const one = { target: 80, published: 1, mode: HOST };
    const { INGRESS } = PortMode;
    const given = ports(
      { ...one, hostIp: "127.0.0.1" },
      { ...one, hostIp: "::1" },
      { ...one, protocol: PortProtocol.UDP },
      { ...one, protocol: PortProtocol.SCTP, mode: INGRESS },
      { target: 80 },
      { target: 80 },
    );
    expect(refusals(given)).to.deep.equal([]);
  });

  it("has defaults for ports, and one spelling of addresses and MACs", () => {
    const { task, ports: checked } = checkServiceSpec(
      spec(
        { networks: [{ target: "back", ipv6: ["FD00:0::03"], mac: "02-42-0A-00-00-05" }] },
        {
          ports: [
            { target: 80, hostIp: "::" },
            { target: 80, hostIp: "0:0::1" },
          ],
        },
      ),
    );
    expect(task!.networks[0]).to.deep.include({ ipv6: ["fd00::3"], mac: "02:42:0a:00:00:05" });
    const port = { name: "", protocol: PortProtocol.TCP, mode: PortMode.INGRESS, target: 80, published: 0 };
    expect(checked).to.deep.equal([
      { ...port, hostIp: "" },
      { ...port, hostIp: "::1" },
    ]);
  });

  it("accepts all that an attachment and a resolver can have", () => {
    const attachment = {
      ipv4: ["10.0.0.3", "10.0.0.4"],
      interfaceName: "data0",
      gatewayPriority: -1,
      sysctls: { "net.ipv4.conf.IFNAME.log_martians": "1", "net.ipv6.neigh.IFNAME.gc_stale_time": "9" },
    };
    expect(refusals(attached(attachment, { replicas: 2 }))).to.deep.equal([]);
    const fields = { dns: ["10.0.0.1", "fd00::1"], dnsSearch: ["example.org", "."], dnsOptions: ["ndots:1", "use-vc"] };
    expect(refusals(container({ ...fields, hosts: ["a:10.0.0.1", "b.example:fd00::1"] }))).to.deep.equal([]);
    expect(refusals(spec({ drainMs: 0 }))).to.deep.equal([]);
  });
});
