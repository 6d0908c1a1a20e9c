import { expect } from "chai";
import {
  bridgeOptions,
  canonicalOptions,
  ipvlanOptions,
  macvlanOptions,
  overlayOptions,
  parentFor,
  vlanOf,
} from "./driver-options.ts";

describe("driver options", () => {
  it("stores canonical names and values", () => {
    expect(canonicalOptions("bridge", { mtu: "01400", icc: "0", "bridge-name": "br-lab" })).to.deep.equal({
      options: {
        "com.docker.network.driver.mtu": "1400",
        "com.docker.network.bridge.enable_icc": "false",
        "com.docker.network.bridge.name": "br-lab",
      },
      issues: [],
    });
    expect(canonicalOptions("overlay", { vxlanid: "5001", replicate: "all" }).options).to.deep.equal({
      "com.docker.network.driver.overlay.vxlanid_list": "5001",
      replicate: "all",
    });
    expect(canonicalOptions("macvlan", { "parent@alpha": "eth1.50", "parent@rack:a": "eth2" }).issues).to.be.empty;
  });

  const refused: [driver: string, options: Record<string, string>, option: string, text: RegExp][] = [
    ["bridge", { nonsense: "1" }, "nonsense", /no such option.*Known are: com\.docker\.network\.bridge\.name/],
    ["bridge", { mtu: "99" }, "mtu", /no MTU.*576/],
    ["bridge", { mtu: "1400", "com.docker.network.driver.mtu": "1" }, "com.docker.network.driver.mtu", /given already/],
    ["bridge", { icc: "maybe" }, "icc", /true or false/],
    ["bridge", { "bridge-name": "ts-mine" }, "bridge-name", /tswarm's own/],
    ["bridge", { "bridge-name": "a-name-too-long-" }, "bridge-name", /1 to 15/],
    ["bridge", { "host-binding-ipv4": "::1" }, "host-binding-ipv4", /IPv4 address/],
    ["bridge", { "gateway-mode-ipv4": "isolated" }, "gateway-mode-ipv4", /Use nat, routed/],
    ["bridge", { "com.docker.network.enable_ipv6": "1" }, "com.docker.network.enable_ipv6", /--ipv6/],
    ["bridge", { replicate: "all" }, "replicate", /no such option/],
    ["overlay", { encrypted: "" }, "encrypted", /not supported by this version/],
    ["overlay", { vxlanid: "1,2" }, "vxlanid", /one VNI/],
    ["overlay", { vxlanid: "16777216" }, "vxlanid", /1 to 16777215/],
    ["overlay", { replicate: "yes" }, "replicate", /none, multicast, broadcast, all/],
    ["overlay", { parent: "eth0" }, "parent", /no such option/],
    ["overlay", { "parent@alpha": "eth0" }, "parent@alpha", /no such option/],
    ["macvlan", {}, "parent", /needs the interface/],
    ["macvlan", { parent: "eth 0" }, "parent", /no interface name/],
    ["macvlan", { parent: "eth0.4095" }, "parent", /VLAN 4095.*1 to 4094/],
    ["macvlan", { "parent@": "eth0" }, "parent@", /Known are:.*parent@HOSTNAME/],
    ["macvlan", { "parent@rack:": "eth0" }, "parent@rack:", /no such option/],
    ["macvlan", { parent: "eth0", macvlan_mode: "l2" }, "macvlan_mode", /bridge, private, vepa, passthru/],
    ["macvlan", { parent: "eth0", "host-access": "on" }, "host-access", /true or false/],
    ["ipvlan", { parent: "eth0", ipvlan_mode: "bridge" }, "ipvlan_mode", /l2, l3, l3s/],
    ["ipvlan", { parent: "eth0", ipvlan_flag: "l2" }, "ipvlan_flag", /bridge, private, vepa/],
  ];
  for (const [driver, options, option, text] of refused)
    it(`refuses for ${driver}: ${JSON.stringify(options)}`, () => {
      const [issue, ...more] = canonicalOptions(driver, options).issues;
      expect(more).to.deep.equal([]);
      expect(issue?.option).to.equal(option);
      expect(`${issue?.reason}. ${issue?.remedy}.`).to.match(text);
    });

  it("reads stored options, with the drivers' defaults", () => {
    expect(bridgeOptions({})).to.deep.equal({
      name: "",
      icc: true,
      masquerade: true,
      hostBindingIpv4: "",
      gatewayModeIpv4: "nat",
      gatewayModeIpv6: "nat",
      mtuBytes: 0,
    });
    const routed = canonicalOptions("bridge", { "gateway-mode-ipv6": "routed", "ip-masquerade": "false", mtu: "1300" });
    expect(bridgeOptions(routed.options)).to.include({
      gatewayModeIpv6: "routed",
      gatewayModeIpv4: "nat",
      masquerade: false,
      mtuBytes: 1300,
    });
    expect(overlayOptions({})).to.deep.equal({ mtuBytes: 0, vni: 0, replicate: "none" });
    expect(overlayOptions(canonicalOptions("overlay", { vxlanid: "77", replicate: "broadcast" }).options)).to.include({
      vni: 77,
      replicate: "broadcast",
    });
    expect(macvlanOptions({})).to.deep.equal({ mode: "bridge", hostAccess: false, mtuBytes: 0 });
    expect(
      macvlanOptions(canonicalOptions("macvlan", { parent: "e", "host-access": "1" }).options).hostAccess,
    ).to.equal(true);
    expect(ipvlanOptions({ ipvlan_mode: "l3s", ipvlan_flag: "vepa" })).to.deep.equal({
      mode: "l3s",
      flag: "vepa",
      mtuBytes: 0,
    });
    expect(ipvlanOptions({})).to.include({ mode: "l2", flag: "bridge" });
  });

  it("finds a node's parent: by hostname, then by label, then the one for all", () => {
    const options = { parent: "eth0", "parent@alpha": "eth1", "parent@rack:b": "eth3", "parent@disk:ssd": "eth2" };
    const of = (hostname: string, labels: Record<string, string> = {}) => parentFor(options, { hostname, labels });
    expect(of("alpha", { rack: "b" })).to.equal("eth1");
    expect(of("beta", { rack: "b" })).to.equal("eth3");
    expect(of("beta", { rack: "b", disk: "ssd" })).to.equal("eth2");
    expect(of("beta", { rack: "a" })).to.equal("eth0");
    expect(parentFor({ "parent@alpha": "eth1" }, { hostname: "beta", labels: {} })).to.equal(undefined);
  });

  it("knows VLANs by their name", () => {
    expect(vlanOf("eth0.50")).to.deep.equal({ parent: "eth0", id: 50 });
    expect([vlanOf("eth0"), vlanOf("eth0.0"), vlanOf("eth0.4095"), vlanOf("eth0.x")]).to.deep.equal([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});
