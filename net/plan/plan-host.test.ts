import { readFileSync, writeFileSync } from "node:fs";
import { expect } from "chai";
import { ROUTE_PROTOCOL } from "#net/model/host-state.ts";
import { LINK_GROUP } from "#net/model/ifname.ts";
import { EXAMPLES, type Example } from "#net/plan/example-hosts.ts";
import { planHost } from "#net/plan/plan-host.ts";
import { renderPlan } from "#net/plan/render.ts";
import { emptyHost } from "#net/plan/testdata.ts";

const GOLDEN = new URL("../../docs/reference/plans.md", import.meta.url);

const HEAD = `# What is made on a node

For each driver: what the agent makes in the kernel, in order, and the nftables table of each namespace (the whole of \`table
inet tswarm\`; when backends change, the elements of their maps do, in any order, and the \`mod\` that goes with them). \`host\`
is the node's own namespace, \`c-…\` a container's, \`o-…\` an overlay's; these are mounted in \`netns/\` of the agent's run
directory (\`nsenter --net=/run/tswarm/netns/o-4097 ip link\`). Lines read like iproute2's commands.

Links of tswarm have aliases that start with \`tswarm:\` and are in group ${LINK_GROUP}; its routes and rules have protocol ${ROUTE_PROTOCOL}. Names are
digests of ids, so a link's alias says what it belongs to. Every base chain ends with a comment that holds the digest of the
whole table but for the backends. What has none of these marks is not touched, and what has them is put right when somebody
changes it.

The node here has the address 192.0.2.1 on \`uplink\` and nothing of tswarm's yet. This page is written by the tests
(\`UPDATE_GOLDENS=1 npx mocha net/plan/plan-host.test.ts\`), which fail when it differs from what is made.
`;

const block = (language: string, text: string): string => `\`\`\`${language}\n${text.trimEnd()}\n\`\`\`\n`;

const written = ({ title, about, desired, limits }: Example): string => {
  const ops = planHost(desired, emptyHost(), limits);
  const rulesets = ops.flatMap((op) =>
    op.op === "nft-set" ? [`Rules of ${op.ns === "" ? "the host" : op.ns}:\n\n${block("", op.ruleset)}`] : [],
  );
  const plan = ops.length === 0 ? "Nothing.\n" : block("", renderPlan(ops));
  return `\n${[`## ${title}\n`, `${about}\n`, plan, ...rulesets].join("\n")}`;
};

const overlay = EXAMPLES.find(({ title }) => title === "overlay")!.desired;

describe("planHost", () => {
  it("makes what the reference says (UPDATE_GOLDENS=1 writes it)", () => {
    const got = HEAD + EXAMPLES.map(written).join("");
    if (process.env.UPDATE_GOLDENS) writeFileSync(GOLDEN, got);
    expect(got).to.equal(readFileSync(GOLDEN, "utf8"));
  });

  it("refuses an overlay when no link has the VTEP address", () => {
    const desired = { ...overlay, node: { vtep: "192.0.2.77", dataPathPort: 4789 } };
    expect(() => planHost(desired, emptyHost())).to.throw(/192\.0\.2\.77/);
  });

  it("takes 70 bytes for a VTEP of IPv6, and the MTU of the link that carries it", () => {
    const state = emptyHost();
    state.namespaces
      .get("")!
      .links.set("uplink", { ...state.namespaces.get("")!.links.get("uplink")!, mtuBytes: 9000 });
    state.namespaces.get("")!.addresses.set("uplink 2001:db8::1/64", { link: "uplink", address: "2001:db8::1/64" });
    const ops = planHost({ ...overlay, node: { vtep: "2001:db8::1", dataPathPort: 4789 } }, state);
    const mtus = ops.flatMap((op) => (op.op === "link-add" ? [op.link.mtuBytes] : []));
    expect(mtus).to.deep.equal([8930, 8930, 8930, 8930]);
  });
});
