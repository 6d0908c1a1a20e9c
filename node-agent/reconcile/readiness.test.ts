import { expect } from "chai";
import { servedPorts } from "#node-agent/reconcile/readiness.ts";
import { emptyView } from "#node-agent/session/view.ts";
import { type ContainerSpec, PortConfig, PortProtocol, Task } from "#proto/gen/types.ts";

describe("ports that a task is expected to listen on", () => {
  const exposed = ["80/tcp", "443", "53/udp", "9/sctp"];
  const published = [
    PortConfig.fromPartial({ target: 8080, protocol: PortProtocol.TCP }),
    PortConfig.fromPartial({ target: 53, protocol: PortProtocol.UDP }),
  ];
  const portsOf = (container: Partial<ContainerSpec>, serviceId = "s", ports = published) =>
    [
      ...servedPorts(
        Task.fromPartial({ id: "t", serviceId, spec: { container }, ports }),
        exposed,
        emptyView.published,
      ),
    ].sort((a, b) => a - b);

  it("are the published ones and those that its image exposes, of TCP", () => {
    expect(portsOf({ image: "web" })).to.deep.equal([80, 443, 8080]);
  });

  it("are only the published ones when its command is not the image's", () => {
    expect(portsOf({ image: "web", args: ["sleep", "infinity"] })).to.deep.equal([8080]);
    expect(portsOf({ image: "web", command: ["/bin/sleep"] })).to.deep.equal([8080]);
    expect(portsOf({ image: "web", args: ["sleep", "infinity"] }, "s", [])).to.deep.equal([]);
  });

  it("are none without a service", () => {
    expect(portsOf({ image: "web" }, "")).to.deep.equal([]);
  });
});
