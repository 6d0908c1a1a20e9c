import { expect } from "chai";
import { naturalOrder } from "#tsctl/output/natural-order.ts";

describe("natural order", () => {
  it("counts numbers, and orders the rest by character", () => {
    const names = ["web.10", "web", "web.2", "api", "web.1", "node10", "node9", "node09", ""];
    expect(names.sort(naturalOrder)).to.deep.equal([
      "",
      "api",
      "node09",
      "node9",
      "node10",
      "web",
      "web.1",
      "web.2",
      "web.10",
    ]);
  });
});
