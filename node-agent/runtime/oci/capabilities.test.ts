import { expect } from "chai";
import { ALL_CAPABILITIES, capabilitiesOfMask, containerCapabilities } from "./capabilities.ts";

const code = (run: () => unknown): string => {
  try {
    run();
    return "none";
  } catch (e) {
    return (e as { code: string }).code;
  }
};

describe("containerCapabilities", () => {
  it("are Docker's by default", () => {
    expect(containerCapabilities([], [])).to.deep.equal(capabilitiesOfMask("a80425fb"));
  });
  it("add and drop by names in any form", () => {
    const changed = containerCapabilities(["net_admin", "CAP_SYS_TIME"], ["CAP_CHOWN", "mknod"]);
    expect(changed).to.include.members(["CAP_NET_ADMIN", "CAP_SYS_TIME"]);
    expect(changed).to.not.include.oneOf(["CAP_CHOWN", "CAP_MKNOD"]);
  });
  it("know ALL on either side", () => {
    expect(containerCapabilities(["ALL"], ["SYS_ADMIN"])).to.deep.equal(
      ALL_CAPABILITIES.filter((c) => c !== "CAP_SYS_ADMIN"),
    );
    expect(containerCapabilities(["KILL"], ["all"])).to.deep.equal(["CAP_KILL"]);
  });
  it("refuse unknown names, and what the agent does not have", () => {
    expect(code(() => containerCapabilities(["FLY"], []))).to.equal("invalid");
    expect(code(() => containerCapabilities(["SYS_RESOURCE"], [], capabilitiesOfMask("a80425fb")))).to.equal(
      "unsupported",
    );
    expect(containerCapabilities(["ALL"], [], ["CAP_KILL"])).to.deep.equal(["CAP_KILL"]);
  });
});
